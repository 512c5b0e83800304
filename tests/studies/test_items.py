"""Items are written once: what is shown, and the table of the page, are made from one table."""

import csv
import json
from pathlib import Path

import pytest

from regard.cli import main
from regard.core.errors import CardError
from regard.studies import STUDIES
from regard.studies.items import BEGIN, END, Item, items_table, read_items, with_items

DOCS = Path(__file__).parents[2] / "docs"
TABLES = [name for name in STUDIES if BEGIN in (DOCS / f"study-{name}.md").read_text(encoding="utf-8")]
"""Studies whose items are a table beside them."""


def test_the_pilot_has_a_table() -> None:
    assert "bone-suppression" in TABLES


@pytest.mark.parametrize("name", TABLES)
def test_what_is_shown_and_the_page_say_what_the_table_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[2] / "src/regard/studies" / name.replace("-", "_")
    with (folder / "items.tsv").open(encoding="utf-8", newline="") as stream:
        wanted = [list(row.values()) for row in csv.DictReader(stream, dialect="excel-tab", quoting=csv.QUOTE_NONE)]
    assert main(["study", "show", name, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["items"]
    assert [[i["what"], i["state"], i["how"]] for i in shown] == wanted
    page = (DOCS / f"study-{name}.md").read_text(encoding="utf-8")
    lines = page.partition(BEGIN)[2].partition(END)[0].strip().splitlines()[2:]
    assert [line.strip("| ").split(" | ") for line in lines] == wanted, "run python docs/study_items.py"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no line"),
        ("what\tstate\n", "the columns"),
        ("in the paper\tstate\there\na\tperhaps\tb\n", "line 2"),
        ("in the paper\tstate\there\na\tdone\tb\nc\tabsent\n", "line 3"),
        ("in the paper\tstate\there\na\tdone\t \n", "line 2"),
    ],
)
def test_a_table_that_is_not_one_is_told(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_paper").mkdir()
    (tmp_path / "a_paper" / "__init__.py").touch()
    (tmp_path / "a_paper" / "items.tsv").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "a_paper", raising=False)
    with pytest.raises(CardError, match=words):
        read_items("a_paper")


def test_a_page_keeps_what_stands_around_its_table() -> None:
    items = (Item("a | b", "done", "c"),)
    page = with_items(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n", items)
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "old" not in page
    assert r"| a \| b | done | c |" in items_table(items) and items_table(items) in page
    assert with_items(page, items) == page
    with pytest.raises(CardError, match="once each"):
        with_items("nothing", items)
