"""Whether methods, members of an ensemble, or repeated scans say the same."""

from itertools import combinations
from typing import ClassVar

import torch
from torch import Tensor

from regard.core.errors import ShapeError
from regard.core.quantity import Sign
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured
from regard.evidence.sanity.similarity import spearman, top_overlap

__all__ = ["Agreement", "intraclass_correlation"]


class Agreement(AbstractMeasure):
    """Mean Spearman correlation of the map with the other maps of the same case.

    Signed as the maps are; for an unsigned map, of the sizes |r|. The mean overlap of the largest tenth, and the mean
    correlation among all pairs, stand in the notes. Agreement is not evidence of being right: methods share their
    faults. NaN where no other map varies.
    """

    direction: ClassVar[Direction] = "higher"
    family: ClassVar[str] = "agreement"
    needs: ClassVar[frozenset[str]] = frozenset({"others"})

    def measure(self, exhibit: Exhibit) -> Measured:
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere")
        if not exhibit.others:
            return Measured.undefined("no other map")
        maps = [exhibit.relevance, *exhibit.others.values()]
        if exhibit.sign is Sign.UNSIGNED:
            maps = [m.abs() for m in maps]
        first, *rest = maps
        alike = torch.tensor([spearman(first, other) for other in rest], dtype=torch.float64)
        overlaps = torch.tensor([top_overlap(first, other) for other in rest], dtype=torch.float64)
        pairs = torch.tensor([spearman(a, b) for a, b in combinations(rest, 2)], dtype=torch.float64)
        notes = {
            "top overlap": float(overlaps.nanmean()),
            "among all pairs": float(torch.cat([alike, pairs]).nanmean()),
            **{f"with {name}": value for name, value in zip(exhibit.others, alike.tolist(), strict=True)},
        }
        if bool(alike.isnan().all()):
            return Measured.undefined("no other map varies", notes=notes)
        return Measured(float(alike.nanmean()), "1", notes)


def intraclass_correlation(values: Tensor) -> float:
    """Absolute agreement of single measurements, two-way random effects: ICC(A,1), also ICC(2,1).

    Parameters
    ----------
    values
        Measurements (subject, repeat): a region's relevance in each patient and retrained network, or in each patient
        and repeated scan.

    Returns
    -------
    float
        1 for repeats that are equal, 0 for repeats that say nothing of the subject; NaN where nothing varies.

    Raises
    ------
    ShapeError
        If there are fewer than two subjects or repeats.

    Notes
    -----
    McGraw and Wong 1996, Psychological Methods 1(1), table 4; Shrout and Fleiss 1979.
    """
    n, k = values.shape
    if n < 2 or k < 2:
        raise ShapeError(f"measurements of shape {tuple(values.shape)}", "at least two subjects and two repeats")
    exact = values.double()
    subject, repeat, mean = exact.mean(1), exact.mean(0), exact.mean()
    rows = k * (subject - mean).square().sum() / (n - 1)
    columns = n * (repeat - mean).square().sum() / (k - 1)
    rest = (exact - subject[:, None] - repeat + mean).square().sum() / ((n - 1) * (k - 1))
    below = rows + (k - 1) * rest + k * (columns - rest) / n
    return float((rows - rest) / below) if below > 0 else float("nan")
