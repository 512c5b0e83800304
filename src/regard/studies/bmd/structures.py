"""Which structures the maps lie on: the paper's question, answered in shares."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.phantoms.torso import STRUCTURES
from regard.studies.bmd.cohort import Cohort
from regard.studies.bmd.explain import maps_of
from regard.studies.bmd.material import Material
from regard.studies.bmd.phantoms import structures_of
from regard.studies.scoring.bootstrap import Score, mean_score

__all__ = ["PARTS_SHOWN", "structure_scores"]

_PARTS = {
    "body": ("l1_cortical", "l1_trabecular"),
    "behind_body": ("l1_posterior",),
    "canal": ("canal",),
    "aorta": ("aorta", "aortic_calcium"),
    "muscle": ("muscle", "psoas", "paraspinal", "quadratus_lumborum"),
}

PARTS_SHOWN = {
    "body": "L1's body",
    "behind_body": "L1's arch and processes",
    "canal": "the canal",
    "aorta": "the aorta",
    "muscle": "muscle",
    "elsewhere": "elsewhere",
}
"""What each part is called in a report."""


def parts_of(material: Material, cohort: Cohort, n: int) -> dict[str, Tensor]:
    """Pixels of each part, (row, column) of bool: a phantom's structures; of a user's case what is outlined of L1."""
    if material.phantoms:
        labels = structures_of(material.run, material.config, cohort.patients[n])
        numbers = {part: torch.tensor([STRUCTURES[s] for s in names]) for part, names in _PARTS.items()}
        found = {part: torch.isin(labels, wanted) for part, wanted in numbers.items()}
    else:
        body, vertebra = material.probabilities(cohort)[n] >= 0.5
        found = {"body": body, "behind_body": vertebra & ~body}
    return {**found, "elsewhere": ~torch.stack(list(found.values())).any(0)}


def structure_scores(material: Material, cohort: Cohort, labels: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Share of each map's size on each part, and of the slice's pixels (group ``where_pixels``), over the cases.

    Parameters
    ----------
    material, cohort
        The explained cases.
    labels
        Of the maps of case 1.
    """
    values: dict[str, dict[str, list[float]]] = {}
    patients: dict[str, list[str]] = {}
    for n in range(len(cohort)):
        parts = parts_of(material, cohort, n)
        sizes = {"pixels": torch.ones(cohort.images.shape[2:])}
        for e in maps_of(material, cohort, n, labels):
            sizes[e.name] = e.relevance.tensor[0, :, :, 0].T.abs().nan_to_num()
        for name, size in sizes.items():
            whole = float(size.sum())
            patients.setdefault(name, []).append(cohort.patients[n])
            for part, inside in parts.items():
                share = float(size[inside].sum()) / whole if whole > 0 else float("nan")
                values.setdefault(name, {}).setdefault(part, []).append(share)
    return {
        f"where_{name}": {
            f"share_{part}": mean_score(shares, patients[name], within=(0, 1)) for part, shares in rows.items()
        }
        for name, rows in values.items()
    }
