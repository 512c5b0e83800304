"""The table of the page that helps to choose a method, from the page of the bench: python docs/choose_a_method.py."""

import re
from pathlib import Path

DOCS = Path(__file__).parent
MARKS = ("<!-- leaderboard -->", "<!-- end of leaderboard -->")


def table(text: str, first: str) -> list[dict[str, str]]:
    """Rows of the first table of a page whose header starts with some columns, by column."""
    found = re.search(rf"^({re.escape(first)}.*)\n\|[ \-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"got no table that starts with '{first}', expected one; make the page of the bench anew")
    header, *rows = (
        [cell.strip() for cell in line.strip("|\n").split("|")] for line in (found[1], *found[2].splitlines())
    )
    return [dict(zip(header, row, strict=True)) for row in rows]


def leaderboard(bench: str) -> str:
    """Methods and controls of the bench, best first, with what they see of a shortcut."""
    seen = {row["map"]: row["decoy-0.9"] for row in table(bench, "| map | decoy-0 |")}
    lines = ["| map | as it comes | matched | pointing game | sees a shortcut |", "| --- | --- | --- | --- | --- |"]
    for row in table(bench, "| map | kind | average-precision | average-precision@data |"):
        name = f"`{row['map']}`" if row["kind"] == "method" else f"{row['map']} (control)"
        cells = row["average-precision"], row["average-precision@matched"], row["pointing-game"], seen[row["map"]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def written(page: str, bench: str) -> str:
    """The page with the table between its marks."""
    before, _, rest = page.partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    return f"{before}{MARKS[0]}\n\n{leaderboard(bench)}\n{MARKS[1]}{after}"


if __name__ == "__main__":
    place = DOCS / "choose-a-method.md"
    place.write_text(written(place.read_text(), (DOCS / "bench.md").read_text()))
