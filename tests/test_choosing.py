"""The page that helps choose a method tells the stored figures of the benchmark, and no others."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
FIGURE = re.compile(r"\d\.\d\d \(\d\.\d\d to \d\.\d\d\)")


def tables(path: Path) -> list[dict[str, list[str]]]:
    """Tables of a page: of each row the figures, by the name in its first cell; the columns under an empty name."""
    found: list[dict[str, list[str]]] = []
    before = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            cells = [c.strip().strip("`") for c in line.strip("|").split("|")]
            if not before.startswith("|"):
                found.append({"": cells})
            elif set(cells[0]) != {"-"}:
                found[-1][cells[0]] = cells
        before = line
    return found


CHOICE = [
    t for t in tables(DOCS / "how-to" / "choose-a-method.md") if any(FIGURE.search(c) for r in t.values() for c in r)
]
BENCH = [t for t in tables(DOCS / "bench.md") if any(FIGURE.search(c) for r in t.values() for c in r)]
COLUMNS = {
    "as it comes": "average-precision", "matched": "average-precision@matched",
    "at 0.3": "decoy-0.3", "at 0.6": "decoy-0.6", "at 0.9": "decoy-0.9",
}  # fmt: skip


@pytest.mark.parametrize(("choice", "bench"), [(0, 0), (1, "forty"), (2, "decoy")])
def test_every_figure_is_that_of_the_leaderboard(choice, bench):
    table = CHOICE[choice]
    if bench == "forty":
        (stored,) = [t for t in BENCH if t.get("layer-cam", [""] * 3)[2].startswith("0.68")]
    elif bench == "decoy":
        (stored,) = [t for t in BENCH if "decoy-0.9" in t[""]]
    else:
        stored = BENCH[0]
    checked = 0
    for name, cells in table.items():
        if not name:
            continue
        row = stored["image" if name == "the image itself" else name]
        for column, cell in zip(table[""], cells, strict=True):
            if column in COLUMNS:
                assert cell == row[stored[""].index(COLUMNS[column])], (name, column)
                checked += 1
    assert checked >= 2 * (len(table) - 1)


def test_the_order_is_that_of_the_figures():
    for table in CHOICE:
        column = table[""].index("at 0.9" if "at 0.9" in table[""] else "as it comes")
        values = [float(c[column][:4]) for n, c in table.items() if n and n != "the image itself"]
        assert values == sorted(values, reverse=True)


def test_every_page_is_in_one_group_of_the_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    groups = re.findall(r":caption: (\S+)\n\n(.*?)```", index, re.DOTALL)
    assert [name for name, _ in groups] == ["Tutorials", "How-to", "Concepts", "Studies", "Reference"]
    listed = [page for _, pages in groups for page in pages.split()]
    pages = {p.relative_to(DOCS).with_suffix("").as_posix() for p in DOCS.rglob("*.md") if "_build" not in p.parts}
    pages |= {p.stem for p in DOCS.glob("*.rst")}
    assert len(listed) == len(set(listed))
    # methods.md and the notebooks' pages are written when the site is built
    written = {"methods", *(f"notebooks/{p.stem}" for p in (DOCS / "notebooks").glob("*.py"))}
    assert set(listed) | {"index"} == pages | written
