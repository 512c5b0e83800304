"""Splitting patients, the ill and the well alike: folds, and a part that is kept apart."""

from collections.abc import Sequence

import numpy as np
import torch

from regard.core import randomness
from regard.core.errors import InputError

__all__ = ["folds_of", "held_out"]


def folds_of(labels: Sequence[bool], patients: Sequence[str], n_folds: int, *, seed: int) -> np.ndarray:
    """Fold of each case: patients dealt out in a drawn order, the ill and the well apart.

    A patient counts as ill if one of its images is.

    Parameters
    ----------
    labels, patients
        One per case.
    n_folds
        Number of folds.
    seed
        Of the order.

    Raises
    ------
    InputError
        If a fold would have no ill or no well patient.
    """
    ill = {p: False for p in sorted(set(patients))}
    for label, patient in zip(labels, patients, strict=True):
        ill[patient] = ill[patient] or bool(label)
    fold = {}
    for group in (True, False):
        names = [p for p, is_so in ill.items() if is_so == group]
        if len(names) < n_folds:
            raise InputError(f"{len(names)} {'ill' if group else 'well'} patients for {n_folds} folds", "one a fold")
        order = torch.randperm(len(names), generator=randomness.generator(seed, "folds", int(group))).tolist()
        fold |= {names[k]: place % n_folds for place, k in enumerate(order)}
    return np.array([fold[p] for p in patients])


def held_out(labels: Sequence[bool], patients: Sequence[str], share: float, *, seed: int, what: str) -> np.ndarray:
    """Which cases are kept apart, (case,) of bool: a share of the ill and of the well patients, at least one of each.

    Parameters
    ----------
    labels, patients
        One per case.
    share
        Of the patients.
    seed, what
        Key of the draw.
    """
    ill: dict[str, bool] = {}
    for label, patient in zip(labels, patients, strict=True):
        ill[patient] = ill.get(patient, False) or bool(label)
    kept: set[str] = set()
    for group in (True, False):
        names = sorted(p for p, is_so in ill.items() if is_so == group)
        if len(names) < 2:
            raise InputError(f"{len(names)} {'ill' if group else 'well'} patients to learn from", "at least two")
        order = torch.randperm(len(names), generator=randomness.generator(seed, what, int(group))).tolist()
        n = min(max(1, round(share * len(names))), len(names) - 1)
        kept |= {names[k] for k in order[:n]}
    return np.array([p in kept for p in patients])
