"""A benchmark in a run folder: a finished cell is a file, so that a run that was cut off goes on where it stopped."""

from collections.abc import Callable
from pathlib import Path

from regard.bench.cell import Cell, run_cell
from regard.bench.leaderboard import draw_leaderboard, draw_shortcuts
from regard.bench.measuring import about_maps_silenced
from regard.bench.page import write_page
from regard.bench.pictures import draw_images
from regard.bench.plan import BenchPlan
from regard.bench.table import COLUMNS, Row, rows, scores
from regard.core.errors import CardError, FileError
from regard.io.atomic import write_json, write_tsv
from regard.io.schema import read_json

__all__ = ["cell_path", "run_bench"]

_KIND = "bench-cell"


def cell_path(folder: Path, phantom: str, network: int) -> Path:
    """Where a finished cell belongs."""
    return folder / "checkpoints" / f"{phantom}_network-{network}.json"


def _finished(path: Path) -> Cell | None:
    try:
        return Cell.from_json(read_json(path, _KIND))
    except (FileError, CardError):
        return None


def run_bench(
    plan: BenchPlan,
    folder: Path,
    *,
    device: str = "cpu",
    stage: Callable[[str, int, int], None] = lambda label, done, total: None,
) -> tuple[list[Cell], list[Row]]:
    """Run the cells that are not done, and write ``bench.tsv``, ``scores.json``, the pictures and the page.

    Parameters
    ----------
    plan
        What to compare.
    folder
        The run folder, open.
    device
        Where the networks run.
    stage
        Called with what comes next, and how many cells of how many are done.

    Returns
    -------
    tuple
        The cells, and the rows of ``bench.tsv``.
    """
    cells = []
    for done, (phantom, network) in enumerate(plan.cells):
        path = cell_path(folder, phantom, network)
        stage(f"{phantom}, network {network}", done, len(plan.cells))
        if _finished(path) is None:
            with about_maps_silenced():
                write_json(path, _KIND, vars(run_cell(plan, phantom, network, device=device)))
        # Read back also when it was just made: the table is the same whether the run was cut off or not.
        cells.append(Cell.from_json(read_json(path, _KIND)))
    stage("writing", len(plan.cells), len(plan.cells))
    made = rows(plan, cells)
    write_tsv(folder / "bench.tsv", COLUMNS, [row.cells for row in made])
    write_json(folder / "scores.json", "scores", {"study": None, "size": plan.size, "scores": scores(plan, cells)})
    draw_images(plan, folder / "figures" / "images.png")
    draw_leaderboard(plan, made, folder / "figures" / "leaderboard.png")
    draw_shortcuts(plan, made, folder / "figures" / "shortcuts.png")
    write_page(plan, cells, made, folder)
    return cells, made
