"""From the joined state to what is written: population volumes, the table of regions, subjects, predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from regard.cohort.atlas import Atlas
from regard.cohort.design import Contrast, contrasts, subgroups
from regard.cohort.engine import Cohort
from regard.cohort.explaining import DIFFERENCE, IMAGE, NULL, RETRAINED, Explaining
from regard.cohort.moments import moments_of
from regard.cohort.permutation import N_DRAWS
from regard.cohort.region_table import MapFacts, contrast_rows, group_rows, subject_rows
from regard.cohort.regions import RegionFigures
from regard.core.volume import Volume
from regard.evidence.statistics import clustered_interval
from regard.io.tables import Case

__all__ = [
    "NULL_WORDS",
    "Asked",
    "Population",
    "background",
    "map_names",
    "population",
    "prediction_scores",
    "region_rows",
    "volume_on",
]

_OF_ONE_CASE = ("total", "outside", "completeness_error", "notes")

NULL_WORDS = {"randomised": "weight-randomised network", "surrogate": "surrogate of equal smoothness",
              "retrained": "networks that know nothing of the labels"}  # fmt: skip
"""Null map to what it is called in tables."""


@dataclass(frozen=True)
class Asked:
    """Which columns the regions are compared by.

    Parameters
    ----------
    groups
        Column of groups, or None.
    covariates
        Columns of covariates.
    by
        Columns of subgroups.
    seed, n_draws
        Of tests and intervals.
    """

    groups: str | None = None
    covariates: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    seed: int = 0
    n_draws: int = N_DRAWS


@dataclass(frozen=True, eq=False)
class Population:
    """One map over the cohort.

    Parameters
    ----------
    mean, std
        Over cases, on the cohort's grid.
    t
        Of the mean; against what, `against` says.
    n
        Cases that saw each voxel.
    against
        What the t-map compares the mean with.
    facts
        What all cases' maps have in common (method, quantity, sign, unit ...).
    """

    mean: Volume
    std: Volume
    t: Volume
    n: Volume
    against: str
    facts: Mapping[str, Any]


def map_names(cohort: Cohort) -> list[str]:
    """Names of the methods' maps, in their order."""
    return list(dict.fromkeys(name for row in cohort.rows.values() for name in row.get("maps", {})))


def volume_on(function: Explaining, values: np.ndarray, unit: str, *, has_geometry: bool = True) -> Volume:
    """An array (i, j, k) on the cohort's grid as a volume."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None]
    return Volume(tensor, function.grid.affine, unit, has_geometry=has_geometry)


def population(cohort: Cohort, function: Explaining, name: str, *, has_geometry: bool = True) -> Population:
    """Mean, spread and t of one map; the t is of the difference to the null map where there is one."""
    rows = [row for row in cohort.rows.values() if name in row["maps"]]
    own_facts = {k: v for k, v in rows[0]["maps"][name].items() if k not in _OF_ONE_CASE}
    facts = {**own_facts, "target": rows[0]["target"], "output_unit": rows[0]["unit"]}
    facts["prediction"] = float(np.mean([row["prediction"] for row in rows]))
    own = moments_of(cohort.state, name)
    if function.null != "none":
        t = moments_of(cohort.state, name + DIFFERENCE).t
        against = f"share of relevance minus that of the {NULL_WORDS[function.null]}, against zero over cases"
        if function.null == "retrained":
            against += "; networks are ranked in the regions alone"
    else:
        t = own.t
        against = "the mean against zero"
        if facts["sign"] == "unsigned":
            against += "; an unsigned map is above zero everywhere, so this says nothing: choose --null"

    def volume(values: np.ndarray, unit: str) -> Volume:
        return volume_on(function, values, unit, has_geometry=has_geometry)

    unit = str(facts["unit"])
    return Population(volume(own.mean, unit), volume(own.std, unit), volume(t, "1"), volume(own.n, "1"), against, facts)


def region_rows(
    cohort: Cohort, cases: Sequence[Case], function: Explaining, atlas: Atlas, space: str, asked: Asked
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Rows of ``regions.tsv`` and of ``subjects.tsv``, and sentences on contrasts that could not be tested.

    Parameters
    ----------
    cohort
        What came of the cases.
    cases
        All cases of the table.
    function
        What was done with them.
    atlas
        Regions on the cohort's grid.
    space
        Name of the space they are in.
    asked
        Columns to compare by.
    """
    done = [cases[row] for row in cohort.rows]
    patients = [case.patient for case in done]
    effects: list[Contrast] = contrasts(done, asked.groups, asked.covariates)
    parts = {
        name: rows
        for column in dict.fromkeys([*([asked.groups] if asked.groups else []), *asked.by])
        for name, rows in subgroups(done, column).items()
        if len(rows)
    }
    rows: list[dict[str, Any]] = []
    subjects: list[dict[str, Any]] = []
    said: list[str] = []
    for name in map_names(cohort):
        own = RegionFigures.stacked([row["regions"][name] for row in cohort.rows.values()])
        null = None
        retrained: list[RegionFigures] = []
        if function.null == "retrained":
            kept = [row["regions"][name + RETRAINED] for row in cohort.rows.values()]
            retrained = [RegionFigures.stacked(of_one) for of_one in zip(*kept, strict=True)]
        elif function.null != "none":
            null = RegionFigures.stacked([row["regions"][name + NULL] for row in cohort.rows.values()])
        first = next(iter(cohort.rows.values()))["maps"][name]
        sums = first["quantity"] == "contribution"
        facts = MapFacts(name, str(first["unit"]), sums, atlas.names, space)
        contrast = NULL_WORDS.get(function.null, "none")
        for group, members in {"*": np.arange(len(done)), **parts}.items():
            rows += group_rows(
                facts, own.of(members), None if null is None else null.of(members), [patients[m] for m in members],
                contrast=contrast, group=group, seed=asked.seed, n_draws=asked.n_draws,
                retrained=[figures.of(members) for figures in retrained],
            )  # fmt: skip
        for effect in effects:
            try:
                rows += contrast_rows(facts, own, patients, effect, seed=asked.seed, n_draws=asked.n_draws)
            except ValueError as error:
                said.append(f"{effect.name} was not tested: {error}")
        subjects += subject_rows(facts, own, [case.case for case in done], patients)
    return rows, subjects, list(dict.fromkeys(said))


def prediction_scores(cohort: Cohort, cases: Sequence[Case], *, seed: int = 0) -> dict[str, float | int] | None:
    """How far predictions are from the column ``label``, uncorrected; None where fewer than two cases have one.

    Mean absolute error with its interval over patients, and Pearson's r.
    """
    pairs = []
    for n, row in cohort.rows.items():
        try:
            label = float(cases[n].columns["label"])
        except (KeyError, ValueError):
            continue
        pairs.append((float(row["prediction"]), label, cases[n].patient))
    if len(pairs) < 2:
        return None
    predicted, labels = np.array([p[:2] for p in pairs]).T
    patients = [p[2] for p in pairs]
    error = clustered_interval(list(np.abs(predicted - labels)), patients, seed=seed)
    spread = predicted.std() > 0 and labels.std() > 0
    return {
        "n": len(pairs),
        "n_patients": len(set(patients)),
        "mae": error.value,
        "low": error.low,
        "high": error.high,
        "pearson_r": float(np.corrcoef(predicted, labels)[0, 1]) if spread else float("nan"),
    }


def background(cohort: Cohort, function: Explaining, template: Volume | None, *, has_geometry: bool) -> Volume:
    """What maps are drawn on: the template, or the mean of the cohort's images."""
    if template is not None:
        return template
    mean = moments_of(cohort.state, IMAGE).mean
    return replace(volume_on(function, np.nan_to_num(mean), "intensity"), has_geometry=has_geometry)
