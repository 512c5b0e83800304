"""Regions of the explained cohort: the table, who leads it, and how it agrees with what was planted and used."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import norm, rankdata
from torch import Tensor

from regard.cohort.atlas import read_atlas
from regard.cohort.engine import Cohort as Explained
from regard.cohort.explaining import Explaining
from regard.cohort.region_table import COLUMNS, SUBJECT_COLUMNS
from regard.cohort.regions import RegionFigures, region_figures
from regard.cohort.results import Asked, background, map_names, population, region_rows
from regard.io import Case
from regard.io.atomic import write_json, write_tsv
from regard.io.maps import save_volume
from regard.io.names import letters_and_digits
from regard.phantoms.brain.effects import planted_effects
from regard.report.cohort_figures import draw_population, draw_regions
from regard.studies.brain_age.explain import ATLAS, OUTSIDE, SPACE
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.phantoms import phantom_of
from regard.studies.scoring.bootstrap import Score, scored
from regard.studies.scoring.studentised import Measured, Statistic

__all__ = [
    "DATA",
    "MODEL",
    "TOP",
    "agreement",
    "fisher_interval",
    "known",
    "leaders",
    "over_regions",
    "planted",
    "rank_correlation",
    "region_truth",
    "top_share",
    "write_regions",
]

logger = logging.getLogger(__name__)

DATA, MODEL = "spearman_planted", "spearman_used"
"""Agreement with the planted effect of each region, and with what the network's reading depends on."""

TOP = "top_planted"
"""Share of the densest regions that are planted ones; see `top_share`."""

ALPHA = 0.05


def write_regions(
    material: Material, found: Explained, cases: Sequence[Case], function: Explaining
) -> list[dict[str, Any]]:
    """Write ``regions.tsv``, ``subjects.tsv``, the population maps and their pictures; returns the regions' rows."""
    path = material.run.path
    regions = read_atlas(path / "cases" / ATLAS, function.grid, table=path / "cases/atlas.tsv")
    columns = {name for case in cases for name in case.columns}
    covariates = tuple(c for c in ("sex", "scanner", "head_size") if c in columns)
    # With few subjects the columns would leave nothing to exchange.
    effects = ("label", *covariates) if len(found.rows) >= 20 else ()
    rows, subjects, said = region_rows(
        found, cases, function, regions, SPACE, Asked(None, effects, (), seed=material.run.seed)
    )
    write_tsv(path / "regions.tsv", COLUMNS, ([row[c] for c in COLUMNS] for row in rows))
    write_tsv(path / "subjects.tsv", SUBJECT_COLUMNS, ([row[c] for c in SUBJECT_COLUMNS] for row in subjects))
    for sentence in said:
        logger.warning("%s", sentence)
    base = background(found, function, None, has_geometry=True)
    save_volume(base, path / "population/image_mean.nii.gz", "mean image")
    for name in map_names(found):
        over_all = population(found, function, name)
        stem = f"desc-{letters_and_digits(name)}"
        for word, volume in {"mean": over_all.mean, "std": over_all.std, "t": over_all.t, "n": over_all.n}.items():
            save_volume(volume, path / "population" / f"{stem}_{word}.nii.gz", f"regard population {word}")
        facts = {"map": name, **over_all.facts, "n_cases": len(found.rows), "space": SPACE, "t": over_all.against}
        write_json(path / "population" / f"{stem}.json", "population", facts)
        draw_population(
            over_all.mean, over_all.t, base, material.run.folder.figures / stem, title=name, facts=over_all.facts,
            space=SPACE, n_cases=len(found.rows), against=over_all.against,
        )  # fmt: skip
        own = [row for row in rows if row["method"] == name and _is_whole(row)]
        own = sorted(own, key=lambda row: -row["density"])
        if own:
            draw_regions(own, material.run.folder.figures / f"{stem}_regions.png", title=name)
    return rows


def _is_whole(row: Mapping[str, Any]) -> bool:
    """Whether a row is of all subjects and of no effect of a column."""
    return row["group"] == "*" and not np.isnan(row["share"]) and not np.isnan(row["density"])


def leaders(rows: Sequence[Mapping[str, Any]], method: str, *, knows: bool) -> list[str]:
    """Regions that a method's maps lead with, the densest first.

    A region leads where its density is above 1 with its whole interval, and above the null map's with p < 0.05 over all
    regions. That the maps of *one* network prefer a place says nothing of age when the network knows nothing of age:
    then nothing leads.

    Parameters
    ----------
    rows
        Of the table of regions.
    method
        Label of the maps.
    knows
        Whether the network beats the mean age on the test subjects, with the whole interval.
    """
    if not knows:
        return []
    own = [row for row in rows if row["method"] == method and _is_whole(row)]
    above = [row for row in own if row["low"] > 1 and row["t"] > 0 and row["p_maxT"] < ALPHA]
    return [str(row["region"]) for row in sorted(above, key=lambda row: -row["density"])]


def planted(material: Material) -> dict[str, dict[str, float]]:
    """Density, share and change of volume that age causes in each region of the brain, by its name."""

    def make() -> dict[str, object]:
        n, seed = material.config.weigh.n_effects, material.run.seed
        rows = planted_effects(phantom_of(material.config), n=n, seed=seed)
        return {"rows": [{**vars(row), "relative_change": row.relative_change} for row in rows]}

    rows = [r for r in material.run.record("weigh/planted", make)["rows"] if r["region"] not in OUTSIDE]
    whole, volume = sum(r["share"] for r in rows), sum(r["volume_ml"] for r in rows)
    return {
        r["region"]: {
            "density": (r["share"] / whole) / (r["volume_ml"] / volume) if whole else 0.0,
            "share": r["share"] / whole if whole else 0.0,
            "volume_ml": r["volume_ml"],
            "percent_a_year": 100 * r["relative_change"],
        }
        for r in rows
    }


def region_truth(weights: Sequence[Tensor], labels: np.ndarray, names: Mapping[int, str]) -> dict[str, float]:
    """Density of a mean map in each region, by its name; ``labels`` (i, j, k), 0 outside."""
    mean = torch.stack(list(weights)).mean(0).double().numpy()
    order = {label: n + 1 for n, label in enumerate(names)}
    place = np.vectorize(lambda v: order.get(int(v), 0))(labels)
    figures = region_figures(np.where(labels > 0, mean, np.nan), place, len(names))
    return dict(zip(names.values(), figures.density[:-1].tolist(), strict=True))


def _densities(found: Explained, method: str, names: Sequence[str], truth: Mapping[str, float]) -> Any:
    """Density of each case in the regions that have a truth, (case, region), and the truths, (region,)."""
    figures = RegionFigures.stacked([row["regions"][method] for row in found.rows.values()])
    kept, values = known(names, truth)
    return figures.density[:, kept], values


def known(names: Sequence[str], truth: Mapping[str, float]) -> tuple[list[int], np.ndarray]:
    """Which regions have a truth, by their place among ``names``, and the truths, (region,)."""
    kept = [k for k, name in enumerate(names) if name in truth]
    return kept, np.array([truth[names[k]] for k in kept])


def top_share(
    found: Explained, method: str, names: Sequence[str], truth: Mapping[str, float], patients: Sequence[str]
) -> Score:
    """Share of a map's k densest regions among the k whose truth is above 1; parameters as `agreement`."""
    density, wanted = _densities(found, method, names, truth)
    right = wanted > 1
    k = max(1, int(right.sum()))

    def share(w: np.ndarray) -> np.ndarray:
        order = np.argsort(-(w @ density / w.sum(1, keepdims=True)), axis=1, kind="stable")
        hits: np.ndarray = right[order[:, :k]].mean(1)
        return hits

    return scored(Measured(share, "share", jumps=True), patients)


def agreement(
    found: Explained, method: str, names: Sequence[str], truth: Mapping[str, float], patients: Sequence[str]
) -> Score:
    """Spearman's correlation over regions of the mean density with a truth, with its interval over patients.

    The regions are fixed: the interval says what other subjects would give in the same regions (`fisher_interval` says
    what other regions would).

    Parameters
    ----------
    found
        The explained cohort.
    method
        Label of the maps.
    names
        Names of the regions, in the order of the atlas.
    truth
        Density of each region, by its name; regions without one are left out.
    patients
        Whose case each is.
    """
    density, values = _densities(found, method, names, truth)
    return scored(over_regions(lambda w: rank_correlation(w @ density / w.sum(1, keepdims=True), values)), patients)


def over_regions(correlation: Statistic) -> Measured:
    """A rank correlation over regions for `scored`: subjects are drawn, and the regions stay as they are."""
    return Measured(correlation, "correlation", jumps=True)


def fisher_interval(r: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a Spearman correlation that takes its ``n`` regions for a sample, by Fisher's z.

    The standard error is sqrt((1 + r^2 / 2) / (n - 3)) (Bonett and Wright 2000). Neighbouring regions are not
    independent: where they go together it is too narrow.
    """
    half = float(norm.ppf((1 + level) / 2)) * float(np.sqrt((1 + r * r / 2) / (n - 3)))
    low, high = np.tanh(np.arctanh(r) + np.array([-half, half]))
    return float(low), float(high)


def rank_correlation(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of ``values`` (sample, region) with ``truth``, (sample,).

    ``truth`` is (region,), or (sample, region) with a row for each.
    """
    wanted, ranks = rankdata(np.atleast_2d(truth), axis=1), rankdata(values, axis=1)
    wanted, ranks = wanted - wanted.mean(1, keepdims=True), ranks - ranks.mean(1, keepdims=True)
    with np.errstate(all="ignore"):
        found: np.ndarray = (ranks * wanted).sum(1) / np.sqrt((ranks**2).sum(1) * (wanted**2).sum(1))
    return found
