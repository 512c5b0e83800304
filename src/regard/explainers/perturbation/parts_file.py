"""Parts that a method takes from a file of labels, carried to the grid of the network's input."""

from dataclasses import replace
from pathlib import Path

from regard.core.errors import InputError
from regard.core.geometry import resample
from regard.core.spatial import space
from regard.explainers.perturbation.players import MADE, PartLabels
from regard.explainers.spec import MethodSpec
from regard.io import read
from regard.models.case import PreparedCase

__all__ = ["with_parts_on_grid"]


def with_parts_on_grid(spec: MethodSpec, prepared: PreparedCase) -> MethodSpec:
    """The method with the labels of its file ``parts=FILE`` on the grids of the case's inputs, nearest label.

    A method without such a knob, or with parts that are made, is given back as it is.

    Raises
    ------
    InputError
        If there is no such file, or the labels do not overlap an input.
    """
    given = spec.knobs.get("parts")
    if not isinstance(given, str) or given in MADE:
        return spec
    if not Path(given).exists():
        raise InputError(f"parts={given}", f"one of {', '.join(MADE)}, or a file of labels", "correct the path")
    labels, carried = read(given), []
    for part, x in zip(prepared.parts, prepared.inputs.tensors, strict=True):
        if not space(x):
            continue
        on_grid = resample(labels, part.grid, order=0).tensor[:1]
        if not bool((on_grid != 0).any()):
            raise InputError(
                f"parts={given}, with no label on what the network sees", "labels that overlap it", "check its affine"
            )
        placed = on_grid if part.prepared is None else part.prepared.to_network(on_grid)[0]
        carried.append(placed.reshape(space(x)).round().long())
    return replace(spec, knobs={**spec.knobs, "parts": PartLabels(Path(given).name, tuple(carried))})
