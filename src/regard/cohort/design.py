"""Columns of the table as effects and nuisance: who is in a group, and what is told apart from what."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regard.core.errors import InputError
from regard.io.tables import Case

__all__ = ["Contrast", "check_columns", "contrasts", "subgroups"]


@dataclass(frozen=True, eq=False)
class Contrast:
    """An effect with what it is told apart from.

    Parameters
    ----------
    name
        Such as ``"sex: M - F"`` or ``"age"``.
    rows
        Cases that have every column, as positions in the list of cases.
    effect
        Of each of those cases, (case,).
    nuisance
        (case, column).
    """

    name: str
    rows: np.ndarray
    effect: np.ndarray
    nuisance: np.ndarray


def check_columns(cases: Sequence[Case], columns: Sequence[str]) -> None:
    """Refuse a column that no case has.

    Raises
    ------
    InputError
        If there is such a column.
    """
    have = sorted({name for case in cases for name in case.columns})
    for column in columns:
        if column not in have:
            raise InputError(f"the column '{column}'", f"one of {', '.join(have) or 'none'}", "name one of the table")


def _numbers(cases: Sequence[Case], column: str) -> np.ndarray | None:
    """The column as numbers, NaN where empty; None where it holds words."""
    found = []
    for case in cases:
        text = case.columns.get(column)
        try:
            found.append(float("nan") if text is None else float(text))
        except ValueError:
            return None
    return np.array(found)


def _levels(cases: Sequence[Case], column: str) -> list[str]:
    return sorted({case.columns[column] for case in cases if column in case.columns})


def _columns(cases: Sequence[Case], column: str, *, categories: bool = False) -> np.ndarray:
    """A column of the table for a design: a number, centred, or one column for each level but the first."""
    numbers = None if categories else _numbers(cases, column)
    if numbers is not None:
        return (numbers - np.nanmean(numbers))[:, None]
    levels = _levels(cases, column)
    found = np.array([[float(case.columns.get(column) == level) for level in levels[1:]] for case in cases])
    found = found.reshape(len(cases), max(0, len(levels) - 1))
    found[[column not in case.columns for case in cases]] = np.nan
    return found


def contrasts(cases: Sequence[Case], groups: str | None, covariates: Sequence[str]) -> list[Contrast]:
    """Every effect that the columns ask for, each with all other columns as nuisance.

    Two groups: second minus first in alphabetical order. More: each minus all others. A covariate of numbers, or of two
    words, is an effect of its own as well as nuisance to the others; one of more words is nuisance only.

    Raises
    ------
    InputError
        If there are fewer than two groups.
    """
    parts = {column: _columns(cases, column) for column in covariates}
    effects: list[tuple[str, str, np.ndarray]] = []
    if groups is not None:
        levels = _levels(cases, groups)
        if len(levels) < 2:
            raise InputError(f"the column '{groups}' with the groups {levels}", "at least two", "choose another column")
        parts[groups] = _columns(cases, groups, categories=True)
        known = np.array([groups in case.columns for case in cases])
        for level in levels[1:] if len(levels) == 2 else levels:
            name = f"{groups}: {level} - {levels[0] if len(levels) == 2 else 'others'}"
            member = np.array([float(case.columns.get(groups) == level) for case in cases])
            effects.append((name, groups, np.where(known, member, np.nan)))
    for column in covariates:
        if parts[column].shape[1] == 1:
            words = _numbers(cases, column) is None
            levels = _levels(cases, column)
            name = f"{column}: {levels[1]} - {levels[0]}" if words else column
            effects.append((name, column, parts[column][:, 0]))
    found = []
    for name, own, effect in effects:
        others = [part for column, part in parts.items() if column != own]
        nuisance = np.column_stack(others) if others else np.zeros((len(cases), 0))
        whole = np.isfinite(effect) & np.isfinite(nuisance).all(1)
        found.append(Contrast(name, np.flatnonzero(whole), effect[whole], nuisance[whole]))
    return found


def subgroups(cases: Sequence[Case], column: str) -> dict[str, np.ndarray]:
    """Positions of the cases of each subgroup; numbers of more than six values are cut at their median."""
    levels, numbers = _levels(cases, column), _numbers(cases, column)
    if numbers is not None and len(levels) > 6:
        middle = float(np.nanmedian(numbers))
        return {
            f"{column} <= {middle:g}": np.flatnonzero(numbers <= middle),
            f"{column} > {middle:g}": np.flatnonzero(numbers > middle),
        }
    return {
        f"{column} = {level}": np.array([n for n, case in enumerate(cases) if case.columns.get(column) == level])
        for level in levels
    }
