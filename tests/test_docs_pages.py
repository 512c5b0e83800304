"""The pages of the docs: each in one part of the contents, the choice of a method as measured."""

import re
from pathlib import Path

import pytest

from regard.explainers import METHODS

DOCS = Path(__file__).parents[1] / "docs"
PARTS = ["Tutorials", "How-to", "Concepts", "Studies", "Reference"]


def contents() -> dict[str, list[str]]:
    text = (DOCS / "index.md").read_text(encoding="utf-8")
    found = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return {re.search(r":caption: (.+)", part)[1]: part.partition("\n\n")[2].split() for part in found}  # type: ignore[index]


def test_each_page_stands_once_in_one_of_five_parts() -> None:
    parts = contents()
    assert list(parts) == PARTS
    listed = [page for pages in parts.values() for page in pages]
    written = [p.relative_to(DOCS).with_suffix("") for s in ("*.md", "*.rst") for p in DOCS.rglob(s)]
    notebooks = {str(p.relative_to(DOCS).with_suffix("")) for p in (DOCS / "notebooks").glob("*.py")}
    there = {str(p) for p in written if p.parts[0] != "_build"} - {"index"}
    # methods.md and the notebooks' pages are written when the site is built
    assert sorted(listed) == sorted(there | {"methods"} | notebooks)


def rows(page: str) -> dict[str, list[list[str]]]:
    """Cells of every row of a page's tables, by the row's first word."""
    found: dict[str, list[list[str]]] = {}
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.setdefault(cells[0].strip("`").removesuffix(" (control)"), []).append(cells[1:])
    return found


@pytest.mark.parametrize("name", ["rise", "layer-cam", "gradient", "grad-ram", "image", "smooth surrogate"])
def test_the_choice_shows_what_the_bench_measured(name: str) -> None:
    shown = rows("choose-a-method.md")[name][0]
    first, doses = (next(r for r in rows("bench.md")[name] if len(r) == n) for n in (6, 4))
    assert shown == [first[1], first[5], first[4], doses[3]]


def test_every_method_of_the_benchs_table_is_in_the_choice() -> None:
    ranked = {name for name, found in rows("bench.md").items() if any("method" in r[:1] and len(r) == 6 for r in found)}
    assert len(ranked) > 5
    assert ranked <= set(rows("choose-a-method.md"))


def test_the_choice_names_methods_that_exist() -> None:
    text = (DOCS / "choose-a-method.md").read_text(encoding="utf-8")
    asked = text[: text.index("## What was measured")]
    table = [line for line in asked.splitlines() if line.startswith("| ")][2:]
    named = {name for line in table for name in re.findall(r"`([a-z+-]+)`", line)}
    assert len(named) > 10
    assert named <= set(METHODS)
