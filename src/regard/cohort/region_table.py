"""The table of regions: what lies where over the cohort, with intervals and tests, and who stands out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from regard.cohort.design import Contrast
from regard.cohort.means import group_means_test, mean_test
from regard.cohort.permutation import N_DRAWS, Tested
from regard.cohort.regions import RegionFigures
from regard.cohort.retrained import rank_test
from regard.evidence.statistics import clustered_interval

__all__ = ["COLUMNS", "SUBJECT_COLUMNS", "MapFacts", "contrast_rows", "group_rows", "patient_means", "subject_rows"]

COLUMNS = (
    *("region", "index", "method", "contrast", "group", "mean", "sum", "positive", "negative", "share", "density"),
    *("low", "high", "t", "p_maxT", "n", "unit", "space", "test"),
)
"""Columns of ``regions.tsv``."""

SUBJECT_COLUMNS = ("case", "patient", "method", "region", "index", "share", "density", "sum", "z", "n")
"""Columns of ``subjects.tsv``."""

ALL = "*"
MANY = 1000
"""Patients beyond which an interval is the normal one: the bootstrap then gives the same and takes its time."""


@dataclass(frozen=True)
class MapFacts:
    """What a map's numbers are.

    Parameters
    ----------
    name
        Label of the method.
    unit
        Of the map.
    sums
        Whether sums mean something.
    regions
        Name of each region by its label.
    space
        In which the regions are.
    """

    name: str
    unit: str
    sums: bool
    regions: Mapping[int, str]
    space: str


def patient_means(values: np.ndarray, patients: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Mean over the cases of each patient, (patient, region), and who they are; NaN is left out."""
    names = list(dict.fromkeys(patients))
    place = {name: n for n, name in enumerate(names)}
    who = np.array([place[p] for p in patients])
    seen = np.isfinite(values)
    total, count = np.zeros((len(names), *values.shape[1:])), np.zeros((len(names), *values.shape[1:]))
    np.add.at(total, who, np.where(seen, values, 0.0))
    np.add.at(count, who, seen)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0), names


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    kept = values[np.isfinite(values)]
    if len(kept) > MANY:
        reach = float(stats.norm.ppf(0.975) * kept.std(ddof=1) / np.sqrt(len(kept)))
        return float(kept.mean() - reach), float(kept.mean() + reach)
    found = clustered_interval(list(kept), [str(n) for n in range(len(kept))], seed=seed)
    return found.low, found.high


def _mean(values: np.ndarray) -> np.ndarray:
    seen = np.isfinite(values)
    total, n = np.where(seen, values, 0).sum(0), seen.sum(0)
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)


def group_rows(
    facts: MapFacts,
    figures: RegionFigures,
    null: RegionFigures | None,
    patients: Sequence[str],
    *,
    contrast: str = "none",
    group: str = ALL,
    seed: int = 0,
    n_draws: int = N_DRAWS,
    retrained: Sequence[RegionFigures] = (),
) -> Iterator[dict[str, Any]]:
    """Rows of one map in one group: the mean over patients, and the test of its density against the null map.

    Eight parameters: what is tested against is one or the other of two.

    Parameters
    ----------
    facts
        What the map is.
    figures, null
        Of the cases of the group; None where there is no null map: then nothing is tested.
    patients
        Of each case.
    contrast
        Name of the null map.
    group
        Name of the group.
    seed, n_draws
        Of intervals and signs.
    retrained
        Of the same cases by each network that was retrained on shuffled labels: the network is then ranked among these
        (`rank_test`), and ``t`` is its distance from their mean in their standard deviations.

    Yields
    ------
    dict
        By `COLUMNS`. ``mean`` is of the region's voxels, ``positive`` and ``negative`` are its two parts.
    """
    n_regions = len(facts.regions)

    def over(values: np.ndarray) -> np.ndarray:
        return patient_means(values[:, :n_regions], patients)[0]

    density = over(figures.density)
    tested = Tested(np.full(n_regions, np.nan), np.full(n_regions, np.nan), len(density), np.zeros(0))
    if retrained:
        tested = rank_test(_mean(density), np.stack([_mean(over(f.density)) for f in retrained]))
    elif null is not None:
        tested = mean_test(over(figures.density - null.density), seed=seed, n_draws=n_draws)
    volume = np.where(figures.n > 0, figures.n, np.nan)
    means = {
        "mean": _mean(over(figures.mean)),
        "sum": _mean(over(figures.sum)) if facts.sums else np.full(n_regions, np.nan),
        "positive": _mean(over(figures.positive / volume)),
        "negative": _mean(over(figures.negative / volume)),
        "share": _mean(over(figures.share)),
        "density": _mean(density),
    }
    for k, (label, name) in enumerate(facts.regions.items()):
        low, high = _interval(density[:, k], seed)
        yield {
            "region": name,
            "index": label,
            "method": facts.name,
            "contrast": contrast,
            "group": group,
            **{key: float(values[k]) for key, values in means.items()},
            "low": low,
            "high": high,
            "t": float(tested.t[k]),
            "p_maxT": float(tested.p[k]),
            "n": int(np.isfinite(density[:, k]).sum()),
            "unit": facts.unit,
            "space": facts.space,
            "test": tested.test,
        }


def contrast_rows(
    facts: MapFacts,
    figures: RegionFigures,
    patients: Sequence[str],
    contrast: Contrast,
    *,
    seed: int = 0,
    n_draws: int = N_DRAWS,
) -> Iterator[dict[str, Any]]:
    """Rows of one map and one effect on its density (`group_means_test`); ``density`` is the effect's coefficient.

    Parameters as `group_rows`, of all cases; cases that lack a column are left out.
    """
    n_regions = len(facts.regions)
    values = figures.density[contrast.rows][:, :n_regions]
    blocks = [patients[row] for row in contrast.rows]
    tested = group_means_test(values, contrast.effect, contrast.nuisance, blocks=blocks, seed=seed, n_draws=n_draws)
    design = np.column_stack([contrast.effect, np.ones(len(values)), contrast.nuisance])
    slope = (np.linalg.pinv(design) @ np.nan_to_num(values))[0]
    for k, (label, name) in enumerate(facts.regions.items()):
        yield {
            **dict.fromkeys(COLUMNS, float("nan")),
            "region": name,
            "index": label,
            "method": facts.name,
            "contrast": contrast.name,
            "group": ALL,
            "density": float(slope[k]) if np.isfinite(tested.t[k]) else float("nan"),
            "t": float(tested.t[k]),
            "p_maxT": float(tested.p[k]),
            "n": tested.n,
            "unit": facts.unit,
            "space": facts.space,
            "test": tested.test,
        }


def subject_rows(
    facts: MapFacts, figures: RegionFigures, cases: Sequence[str], patients: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Rows of every case and region: how far its density is from those of all other patients.

    z = (x - mean of the others) / (their standard deviation times sqrt(1 + 1 / n)), each other patient counted once.
    """
    n_regions = len(facts.regions)
    density = figures.density[:, :n_regions]
    means, names = patient_means(density, patients)
    place = {name: n for n, name in enumerate(names)}
    seen = np.isfinite(means)
    n_all, total = seen.sum(0), np.where(seen, means, 0).sum(0)
    centre = np.divide(total, n_all, out=np.zeros(n_regions), where=n_all > 0)
    squares = np.where(seen, (means - centre) ** 2, 0).sum(0)
    for row, (case, patient) in enumerate(zip(cases, patients, strict=True)):
        own = means[place[patient]]
        there = np.isfinite(own)
        n = n_all - there
        with np.errstate(invalid="ignore", divide="ignore"):
            shift = np.where(there, own - centre, 0.0)
            mean = centre - shift / n
            # Leaving one out takes its distance times n_all / n from the sum of squares.
            spread = np.sqrt(np.maximum(squares - shift**2 * n_all / n, 0) / (n - 1))
            z = (density[row] - mean) / (spread * np.sqrt(1 + 1 / n))
        z = np.where((n > 1) & (spread > 0), z, np.nan)
        for k, (label, name) in enumerate(facts.regions.items()):
            yield {
                "case": case,
                "patient": patient,
                "method": facts.name,
                "region": name,
                "index": label,
                "share": float(figures.share[row, k]),
                "density": float(density[row, k]),
                "sum": float(figures.sum[row, k]) if facts.sums else float("nan"),
                "z": float(z[k]),
                "n": int(n[k]),
            }
