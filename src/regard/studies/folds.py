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
    ill = dict.fromkeys(sorted(set(patients)), False)
    for label, patient in zip(labels, patients, strict=True):
        ill[patient] = ill[patient] or bool(label)
    fold: dict[str, int] = {}
    for group in (True, False):
        names = [p for p, is_so in ill.items() if is_so == group]
        if len(names) < n_folds:
            raise InputError(f"{len(names)} {'ill' if group else 'well'} patients for {n_folds} folds", "one a fold")
        order = torch.randperm(len(names), generator=randomness.generator(seed, "folds", int(group))).tolist()
        fold |= {names[k]: place % n_folds for place, k in enumerate(order)}
    return np.array([fold[p] for p in patients])


def held_out(labels: Sequence[bool], patients: Sequence[str], share: float, *, seed: int, what: str) -> np.ndarray:
    """Which cases are kept apart, (case,) of bool: a share of the patients, of the ill and of the well alike.

    Patients with images of both kinds are a third group. Of each group at least one is kept apart, and one is left.

    Parameters
    ----------
    labels, patients
        One per case.
    share
        Of the patients.
    seed, what
        Key of the draw.

    Raises
    ------
    InputError
        If a group has one patient, or nobody is ill or well.
    """
    kinds: dict[str, set[bool]] = {}
    for label, patient in zip(labels, patients, strict=True):
        kinds.setdefault(patient, set()).add(bool(label))
    if set().union(*kinds.values()) != {True, False}:
        raise InputError(f"{len(kinds)} patients of one kind to learn from", "ill and well ones")
    kept: set[str] = set()
    for n, group in enumerate(({True}, {False}, {True, False})):
        names = sorted(p for p, own in kinds.items() if own == group)
        if len(names) == 1:
            raise InputError(f"one patient that is {('ill', 'well', 'both')[n]} to learn from", "none, or at least two")
        order = torch.randperm(len(names), generator=randomness.generator(seed, what, n)).tolist()
        held = min(max(1, round(share * len(names))), len(names) - 1)
        kept |= {names[k] for k in order[: max(held, 0)]}
    return np.array([p in kept for p in patients])
