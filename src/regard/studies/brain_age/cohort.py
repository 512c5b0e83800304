"""Subjects with their images and ages: what every act works on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.volume import Grid, Volume
from regard.models.card import InputSpec, Normalise, QuantileRange
from regard.models.intensities import constants

__all__ = ["SCALING", "Cohort", "joined", "prepared", "scaled"]

SCALING = QuantileRange(quantiles=(0.0, 0.985))
"""From the darkest to a quantile of the field of view, a quarter of which is brain, that lies in white matter."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """Subjects on one grid, in MNI152 space.

    Parameters
    ----------
    images
        Intensities as they come, (case, channel, i, j, k); a second channel is the logarithm of the Jacobian.
    ages
        Labels [year], (case,).
    features
        What predictors without a network see, by name, each (case, feature).
    columns
        Further facts of each case, as text: sex, scanner ...
    affine
        Of the grid, (4, 4).
    cases, patients
        Ids.
    numbers
        Numbers of the phantom's subjects; empty for a user's cases.
    """

    images: Tensor
    ages: Tensor
    features: Mapping[str, Tensor]
    columns: tuple[Mapping[str, str], ...]
    affine: np.ndarray
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    numbers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def y(self) -> np.ndarray:
        """Ages, float64."""
        found: np.ndarray = self.ages.double().numpy()
        return found

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        i, j, k = self.images.shape[2:]
        return Grid((i, j, k), self.affine)

    def of(self, keep: Sequence[int]) -> "Cohort":
        """Some of the cases, in the order given."""
        rows = list(keep)
        return Cohort(
            self.images[rows],
            self.ages[rows],
            {name: values[rows] for name, values in self.features.items()},
            tuple(self.columns[n] for n in rows),
            self.affine,
            tuple(self.cases[n] for n in rows),
            tuple(self.patients[n] for n in rows),
            tuple(self.numbers[n] for n in rows) if self.numbers else (),
        )

    def of_patients(self, patients: set[str]) -> "Cohort":
        """The cases of some patients."""
        return self.of([n for n, p in enumerate(self.patients) if p in patients])

    def volume(self, n: int) -> Volume:
        """One case as an image."""
        return Volume(self.images[n], self.affine, source=self.cases[n])


def joined(cohorts: Sequence[Cohort]) -> Cohort:
    """Cohorts of one grid, one after the other."""
    first = cohorts[0]
    return Cohort(
        torch.cat([c.images for c in cohorts]),
        torch.cat([c.ages for c in cohorts]),
        {name: torch.cat([c.features[name] for c in cohorts]) for name in first.features},
        tuple(row for c in cohorts for row in c.columns),
        first.affine,
        tuple(name for c in cohorts for name in c.cases),
        tuple(name for c in cohorts for name in c.patients),
        tuple(number for c in cohorts for number in c.numbers),
    )


def prepared(images: Tensor) -> Tensor:
    """Images as the networks take them, (case, channel, i, j, k).

    The first channel is divided by its bright tissue, as `SCALING` says it on the card; a Jacobian stays as it is. Mean
    and standard deviation of the foreground would carry what changes in one place to all others: with more fluid they
    move, and the whole brain with them.
    """
    return scaled(images, SCALING)


def scaled(images: Tensor, rule: Normalise) -> Tensor:
    """Images (case, channel, \\*space) with the first channel as a card of this rule scales it.

    One without contrast stays as it is.
    """
    spec, found = InputSpec(normalise=rule), images.clone()
    for n, image in enumerate(images[:, 0].double()):
        try:
            scale, shift = constants(image[None], torch.ones_like(image, dtype=torch.bool), spec)
        except InputError:
            continue
        found[n, 0] = image * scale.item() + shift.item()
    return found
