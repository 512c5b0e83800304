"""Finished runs as points beside the literature: their two-by-two tables."""

from dataclasses import dataclass
from pathlib import Path

from regard.core.errors import FolderError
from regard.io.records import read_run
from regard.io.schema import read_json

__all__ = ["Placed", "placed_in"]

_NAMES = ("sensitivity", "recall")


@dataclass(frozen=True)
class Placed:
    """A network's own two-by-two table.

    Parameters
    ----------
    name
        Run folder and group of its scores.
    counts
        True positives, false negatives, false positives, true negatives.
    """

    name: str
    counts: tuple[int, int, int, int]


def placed_in(folder: Path) -> list[Placed]:
    """The tables of a finished run: every group of ``scores.json`` that has a sensitivity and a specificity.

    Raises
    ------
    FolderError
        If the folder holds no finished run, or none of its groups has both.
    """
    state = read_run(folder).get("state")
    if state not in ("done", "some_failed") or not (folder / "scores.json").exists():
        raise FolderError(f"'{folder}', whose state is '{state}'", "a finished run with scores.json", "finish it")
    found = []
    for group, scores in read_json(folder / "scores.json", "scores")["scores"].items():
        hit = next((scores[n] for n in _NAMES if n in scores), None)
        if hit is None or "specificity" not in scores or None in (hit["value"], scores["specificity"]["value"]):
            continue
        n1, n0 = int(hit["n"]), int(scores["specificity"]["n"])
        tp, tn = round(hit["value"] * n1), round(scores["specificity"]["value"] * n0)
        found.append(Placed(f"{folder.resolve().name}: {group}", (tp, n1 - tp, n0 - tn, tn)))
    if not found:
        got = f"'{folder}', whose scores hold no group with sensitivity and specificity"
        raise FolderError(got, "a run that tells ill from well, such as one of tuberculosis", "give another run")
    return found
