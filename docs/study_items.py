"""The tables of items of the studies' pages, from the tables beside the studies.

python docs/study_items.py      writes them into docs/study-*.md
"""

from pathlib import Path

from regard.studies import STUDIES
from regard.studies.items import BEGIN, with_items


def main() -> None:
    """Write the table of every page that has a place for it."""
    for name in STUDIES:
        page = Path(__file__).parent / f"study-{name}.md"
        text = page.read_text(encoding="utf-8")
        if BEGIN in text:
            page.write_text(with_items(text, STUDIES.load(name).items), encoding="utf-8")


if __name__ == "__main__":
    main()
