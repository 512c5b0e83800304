"""Settings of a method that are files or cases, carried to the grid of one case's network input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from regard.core.errors import InputError, ReferenceInputError
from regard.core.geometry import resample
from regard.core.spatial import space
from regard.core.volume import Volume
from regard.explainers.knobs import in_samples, is_time
from regard.explainers.perturbation.players import MADE, PartLabels
from regard.explainers.spec import MethodSpec
from regard.io import read
from regard.models.case import PreparedCase

__all__ = ["ReferenceCases", "fitted", "takes_cases", "with_reference_cases"]


@dataclass(frozen=True)
class ReferenceCases:
    """Cases that a method compares with, before they are prepared.

    Parameters
    ----------
    scans
        Of each case, one image or a mapping of input name to image.
    """

    scans: tuple[Volume | Mapping[str, Volume], ...]

    def __str__(self) -> str:
        return f"{len(self.scans)} cases"


def takes_cases(spec: MethodSpec) -> bool:
    """Whether the method compares with a table of references."""
    return bool(getattr(spec.method, "takes_reference_cases", False))


def with_reference_cases(
    specs: Sequence[MethodSpec], scans: Sequence[Volume | Mapping[str, Volume]]
) -> list[MethodSpec]:
    """The methods, of which those that compare with a table of references get ``scans``.

    Raises
    ------
    ReferenceInputError
        If there are scans and no such method.
    """
    if not scans:
        return list(specs)
    if not any(takes_cases(s) for s in specs):
        raise ReferenceInputError(
            f"{len(scans)} reference cases for {', '.join(s.name for s in specs)}, which compares with one reference",
            "a method that averages over references",
            "choose expected-gradients, or give --reference value:NUMBER to choose one of the cases",
        )
    cases = ReferenceCases(tuple(scans))
    return [replace(s, knobs={**s.knobs, "references": cases}) if takes_cases(s) else s for s in specs]


def fitted(spec: MethodSpec, prepared: PreparedCase) -> MethodSpec:
    """The method with its label file, its reference cases and its times on the grids of the case's inputs.

    Labels (``parts=FILE``) are carried to the nearest; times become samples at the network's rate; reference cases are
    prepared with their own constants. A method without any is given back as it is.

    Raises
    ------
    InputError
        If there is no such file, the labels do not overlap an input, or a time is given for images.
    """
    knobs = {name: _timed(name, value, prepared) for name, value in spec.knobs.items()}
    given = knobs.get("parts")
    if isinstance(given, str) and given not in MADE:
        knobs["parts"] = _labels(given, prepared)
    cases = knobs.get("references")
    if isinstance(cases, ReferenceCases):
        tensors = [prepared.references(scan) for scan in cases.scans]
        knobs["references"] = tuple(torch.cat(parts) for parts in zip(*tensors, strict=True))
    return replace(spec, knobs=knobs)


def _timed(name: str, value: Any, prepared: PreparedCase) -> Any:
    """A time as samples of the network's input; anything else as it is."""
    if not is_time(value):
        return value
    rates = {1 / part.grid.spacing[0] if part.scan.signal is not None else 0.0 for part in prepared.parts}
    rate = rates.pop()
    if rates or not rate:
        got = f"{name}={value} for {'inputs of several rates' if rates else 'an image'}"
        raise InputError(got, "a signal of one rate", "give a number of voxels")
    return in_samples(name, value, rate)


def _labels(path: str, prepared: PreparedCase) -> PartLabels:
    if not Path(path).exists():
        raise InputError(f"parts={path}", f"one of {', '.join(MADE)}, or a file of labels", "correct the path")
    labels, carried = read(path), []
    for part, x in zip(prepared.parts, prepared.inputs.tensors, strict=True):
        if not space(x):
            continue
        on_grid = resample(labels, part.grid, order=0).tensor[:1]
        if not bool((on_grid != 0).any()):
            raise InputError(
                f"parts={path}, with no label on what the network sees", "labels that overlap it", "check its affine"
            )
        placed = on_grid if part.prepared is None else part.prepared.to_network(on_grid)[0]
        carried.append(placed.reshape(space(x)).round().long())
    return PartLabels(Path(path).name, tuple(carried))
