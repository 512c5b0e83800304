"""The figures of a finished benchmark in the documentation: ``python -m regard.bench.markdown FOLDER docs/bench.md``.

What stands in the page between the lines ``<!-- figures -->`` and ``<!-- end of figures -->`` is written anew, and the
pictures are copied beside it, into ``images/``.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from regard.bench.cell import Cell
from regard.bench.page import leaderboard_rows, network_rows, shortcut_rows
from regard.bench.plan import SIZES, BenchPlan
from regard.bench.run import cell_path
from regard.bench.statistics import resampled
from regard.bench.table import Row, dose_of, rows
from regard.core.errors import FileError
from regard.io.atomic import write_text
from regard.io.records import read_run
from regard.io.schema import read_json

__all__ = ["figures_section", "opened"]

_BEGIN, _END = "<!-- figures -->", "<!-- end of figures -->"
_LEFT_OUT = ("relevance-rank", "relevance-rank@data", "relevance-mass@data", "pointing-game@data")
"""Columns that the page has no room for; ``bench.tsv`` has them."""
_PICTURES = ("leaderboard", "shortcuts")


def opened(folder: Path) -> tuple[BenchPlan, list[Cell]]:
    """The plan of a finished benchmark, and its cells.

    Raises
    ------
    FileError
        If the folder holds no benchmark, or not all of its cells.
    """
    record = read_run(folder)
    said: dict[str, Any] = {f.name: record[f.name] for f in fields(BenchPlan) if f.name in record}
    said |= {k: tuple(v) for k, v in said.items() if isinstance(v, list)}
    plan = BenchPlan(**said)
    return plan, [Cell.from_json(read_json(cell_path(folder, *cell), "bench-cell")) for cell in plan.cells]


def _table(lines: Sequence[dict[str, str]], leave_out: Sequence[str] = ()) -> str:
    columns = [c for c in lines[0] if c not in leave_out]
    said = [columns, ["---"] * len(columns), *([line[c] for c in columns] for line in lines)]
    return "\n".join("| " + " | ".join(line) + " |" for line in said)


def figures_section(plan: BenchPlan, cells: Sequence[Cell]) -> str:
    """The figures of a benchmark as Markdown."""
    made = rows(plan, cells)
    plain = [p for p in plan.phantoms if dose_of(p) is None]
    chosen = "" if plan.phantoms == SIZES[plan.size].phantoms else f" --phantoms {','.join(plan.phantoms)}"
    return f"""Made by `regard bench --size {plan.size}{chosen} -o bench/`: {plan.n_networks} networks for each of \
{len(plan.phantoms)} phantoms of {" x ".join(map(str, plan.shape))}, each trained on {plan.n_train} subjects of its \
own; {plan.n_explained} patients explained, the same for all networks of a phantom; seed {plan.seed}. Mean over the \
{len(plain)} phantoms without a decoy; in brackets 95 %, {resampled(plan.n_networks)}.

```{{image}} images/bench-leaderboard.png
:alt: Leaderboard, size {plan.size}
```

{_table(leaderboard_rows(plan, made), _LEFT_OUT)}

The networks, with errors on {plan.n_test} test patients (mean over the networks of a phantom): of a number the mean
absolute error, of a class the share that is wrong, of an image the root mean square error. R2 of an image is that of
its mean over the structure, which is what is explained.

{_table(network_rows(plan, cells), ["networks", "test images"])}
{_shortcuts(plan, made)}"""


def _shortcuts(plan: BenchPlan, made: Sequence[Row]) -> str:
    lines = shortcut_rows(plan, made)
    if not lines:
        return ""
    return f"""
**Is a shortcut seen?** The threshold is set on {plan.n_networks * plan.n_explained} maps at dose 0.

```{{image}} images/bench-shortcuts.png
:alt: Detection of a decoy by dose, size {plan.size}
```

{_table(lines)}
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the figures into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("page", type=Path)
    asked = parser.parse_args(arguments)
    text = asked.page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise FileError(f"'{asked.page}' without '{_BEGIN}' and '{_END}'", "a page with both lines", "add them")
    write_text(asked.page, f"{before}{_BEGIN}\n\n{figures_section(*opened(asked.folder))}\n{_END}{after}")
    images = asked.page.parent / "images"
    images.mkdir(exist_ok=True)
    for name in _PICTURES:
        if (asked.folder / "figures" / f"{name}.png").exists():
            shutil.copyfile(asked.folder / "figures" / f"{name}.png", images / f"bench-{name}.png")


if __name__ == "__main__":
    main()
