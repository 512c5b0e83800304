"""Taking places away: an image cut in parts, a filling for them, and what the map claims that this does."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.core.quantity import Quantity, Sign
from regard.evidence.measure import Exhibit, Measured
from regard.explainers.perturbation.fillers import Filler, FillerLike
from regard.explainers.perturbation.segments import equal_blocks, segment_size, supervoxels

__all__ = [
    "FILLERS",
    "Parts",
    "blocks",
    "check_fillers",
    "claims",
    "cut",
    "filling",
    "per_part",
    "scale",
    "shuffled_order",
    "together",
    "undefined_map",
    "values_without",
]

Parts: TypeAlias = Literal["blocks", "supervoxels"]
"""How an image is cut: blocks of equal size, or places that belong together (`supervoxels`)."""

FILLERS: tuple[FillerLike, ...] = ("blur", "mean")
"""Two fillings that leave different traces; a figure that depends on the filling shows it."""

_RIDGE = 0.1


def check_fillers(fillers: Sequence[FillerLike] | None) -> tuple[FillerLike, ...] | None:
    """Read the fillers of a measure; None leaves them to what the map's numbers speak of.

    Raises
    ------
    InputError
        If there are fewer than two different ones, or one is not known.
    """
    if fillers is None:
        return None
    if isinstance(fillers, str) or len(set(map(str, fillers))) < max(2, len(fillers)):
        raise InputError(f"fillers {fillers!r}", "at least two, all different", "a figure may be one filling's alone")
    for kind in fillers:
        Filler(kind)
    return tuple(fillers)


def blocks(size: Sequence[int], n_parts: int) -> Tensor:
    """Cut a grid into about ``n_parts`` blocks whose edges differ by one voxel at most.

    Returns
    -------
    Tensor
        Number of the block of each voxel, (\\*size), int64, 0 to n - 1.
    """
    kept = [n for n in size if n > 1]
    edge = (math.prod(kept) / max(1, n_parts)) ** (1 / max(1, len(kept)))
    return equal_blocks(size, [edge] * len(size))


def cut(exhibit: Exhibit, n_parts: int, parts: Parts) -> Tensor:
    """Number of the part of each voxel, (\\*space), int64, on the CPU: the map's own parts, where it has them."""
    if exhibit.parts is not None:
        return exhibit.parts.cpu()

    def make() -> Tensor:
        if parts == "supervoxels":
            return supervoxels(exhibit.x, n_parts)
        return blocks(exhibit.x.shape[2:], n_parts)

    return exhibit.keep(f"cut/{parts}/{n_parts}", make)


def filling(exhibit: Exhibit, kind: FillerLike, numbers: Tensor) -> Tensor:
    """What parts are filled with, (1, channel, \\*space): a blur as wide (sigma) as a part, and likewise."""
    reference = (exhibit.reference,) if kind == "reference" and exhibit.reference is not None else None
    query = Query(exhibit.network, Inputs.of(exhibit.x), reference=reference, seed=exhibit.seed, case=exhibit.case)
    hidden = [2 * edge if edge > 1 else edge for edge in segment_size(numbers)]
    return Filler(kind).image(query, 0, hidden).to(exhibit.x)


def claims(exhibit: Exhibit, filling: Tensor, *, carried: bool = False) -> Tensor:
    """What the map says of each place: by how much its being there, and not the filling, raised the output.

    A map whose sign reads "this place raised the output" says it itself. One that reads "raising the intensity here
    raises the output" says r (x - filling), with the mean over channels of what is taken away. An unsigned map says
    only |r|: how large the change is.

    Parameters
    ----------
    exhibit
        The case.
    filling
        (1, channel, \\*space).
    carried
        Whether a contribution is carried from its own reference to another filling by its slope,
        r (x - filling) / (x - reference), damped where x is near the reference; as it is otherwise.

    Returns
    -------
    Tensor
        Claims (\\*space), float64, on the CPU, where sums do not depend on the order of threads.
    """
    relevance = exhibit.relevance[0, 0].detach().double().cpu()
    if exhibit.sign is Sign.UNSIGNED:
        return relevance.abs()

    def taken(filled: Tensor) -> Tensor:
        return exhibit.keep(
            f"taken/{exhibit.number('filling', filled)}",
            lambda: (exhibit.x.double() - filled.double()).detach().cpu()[0].mean(0),
        )

    if exhibit.sign is Sign.RAISES:
        return relevance * taken(filling)
    own = exhibit.reference
    if not carried or own is None or exhibit.quantity is not Quantity.CONTRIBUTION:
        return relevance
    from_own = taken(own)
    damp = _RIDGE**2 * from_own.square().mean()
    return relevance * from_own * taken(filling) / (from_own.square() + damp).clamp(min=1e-300)


def per_part(values: Tensor, numbers: Tensor) -> Tensor:
    """Sum of ``values`` (\\*space) over each part of ``numbers`` (\\*space), (n_parts,), float64."""
    n_parts = int(numbers.max()) + 1
    return torch.bincount(numbers.flatten(), values.double().flatten(), minlength=n_parts)


def shuffled_order(scores: Tensor, exhibit: Exhibit, draw: str) -> Tensor:
    """Numbers of ``scores`` (n,) from the largest to the smallest; ties fall in a keyed random order."""
    shuffled = torch.randperm(len(scores), generator=randomness.generator(exhibit.seed, exhibit.case, draw))
    return shuffled[scores[shuffled].argsort(descending=True, stable=True)]


def values_without(exhibit: Exhibit, fill: Tensor, numbers: Tensor, removed: Tensor, label: str) -> Tensor:
    """Output with parts filled, (n,) float64.

    Parameters
    ----------
    exhibit
        The case.
    fill
        The filling (1, channel, \\*space).
    numbers
        Number of the part of each voxel, (\\*space).
    removed
        Whether a part is filled, (n, n_parts), bool.
    label
        What progress is reported as.
    """
    x, numbers, removed = exhibit.x, numbers.to(exhibit.x.device), removed.to(exhibit.x.device)

    def inputs(items: range) -> Tensor:
        gone = removed[items.start : items.stop][:, numbers.flatten()].reshape(len(items), 1, *numbers.shape)
        return torch.where(gone, fill, x)

    return exhibit.values(len(removed), inputs, label)


def scale(exhibit: Exhibit) -> tuple[float, str]:
    """What a figure in output units is divided by, and the unit that it then has."""
    if exhibit.spread is None:
        return 1.0, "output"
    return float(exhibit.spread), "spread"


def undefined_map(exhibit: Exhibit, unit: str) -> Measured | None:
    """The answer for a map of zeros and for a cohort without spread, or None for any other."""
    if exhibit.blank:
        return Measured.undefined("the map is zero everywhere", unit)
    if exhibit.spread is not None and not exhibit.spread > 0:
        return Measured.undefined(f"the cohort's spread of f is {exhibit.spread}", unit)
    return None


def together(
    figures: Mapping[str, float],
    unit: str,
    notes: Mapping[str, Any],
    curve: Mapping[str, Tensor] | None = None,
    *,
    deciding: Sequence[str] | None = None,
    attainable: Sequence[float] = (),
    steady: Sequence[float] = (),
) -> Measured:
    """One figure of several fillers: the mean of those that decide, with each of them and whether all agree in sign.

    NaN for one filler is NaN for all: a figure that one filling cannot give does not rest on the others.

    Parameters
    ----------
    figures
        By the filling's name.
    unit, notes, curve
        As in `Measured`.
    deciding
        Names of the fillings that the map's numbers speak of; all by default.
    attainable, steady
        Of each of these.
    """
    decide = list(figures) if deciding is None else deciding
    values = [figures[name] for name in decide]
    signs = {math.copysign(1, v) if v != 0 else 0.0 for v in figures.values()}
    stated = {f"filler {name}": value for name, value in figures.items()}
    agree = len(signs) == 1 and not any(math.isnan(v) for v in figures.values())
    return Measured(
        sum(values) / len(values),
        unit,
        {**stated, "fillers agree": agree, **notes},
        dict(curve or {}),
        attainable=sum(attainable) / len(attainable) if attainable else math.nan,
        by_filling=dict(figures),
        deciding=tuple(decide),
        steady=min(steady, default=math.nan),
    )
