"""The images of a case by the names that a model gives its inputs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from regard.core.volume import Volume
from regard.io import Case
from regard.io.tables import IMAGE
from regard.models.model import Model

__all__ = ["files_of", "inputs_of", "read_scans", "with_units"]


def inputs_of(case: Case, model: Model) -> dict[str, str]:
    """The case's own names of its inputs by the model's names; a lone image is the first input."""
    first = model.card.inputs[0].name
    names = {name: name for name in case.inputs}
    if first not in names and IMAGE in names:
        del names[IMAGE]
        names = {first: IMAGE, **names}
    return names


def files_of(case: Case, model: Model) -> dict[str, Path]:
    """Files of a case by the model's names of its inputs."""
    return {name: case.inputs[given] for name, given in inputs_of(case, model).items()}


def with_units(scans: Mapping[str, Volume], model: Model) -> dict[str, Volume]:
    """The same images; the model's card gives the unit that a file does not."""
    units = {spec.name: spec.unit for spec in model.card.inputs}
    return {n: replace(v, unit=units.get(n, v.unit)) if v.unit == "intensity" else v for n, v in scans.items()}


def read_scans(case: Case, model: Model) -> dict[str, Volume]:
    """Read the images of a case, by the model's names of its inputs."""
    return with_units({name: case.read(given) for name, given in inputs_of(case, model).items()}, model)
