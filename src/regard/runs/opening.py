"""How a run begins, whatever the verb: its cases, its folder, and what of it explaining would ask as well."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol

from regard.io import Case, RunFolder, find_cases
from regard.io.tables import choosing
from regard.models import Model
from regard.models.provenance import versions
from regard.runs.question import further_inputs
from regard.runs.requests.explain import ExplainRequest
from regard.runs.requests.fields import Request

__all__ = ["as_explained", "cases_of", "folder_of", "raise_one_reason"]


class _OfCases(Protocol):
    """A request that names cases."""

    @property
    def paths(self) -> tuple[Path, ...]: ...
    @property
    def further(self) -> tuple[str, ...]: ...
    @property
    def volumes(self) -> tuple[str, ...]: ...
    @property
    def series(self) -> tuple[str, ...]: ...
    @property
    def rates(self) -> tuple[str, ...]: ...


class _IntoFolder(Protocol):
    """A request with a folder for its results."""

    @property
    def output(self) -> Path: ...
    @property
    def overwrite(self) -> bool: ...
    @property
    def private(self) -> bool: ...
    def words(self, verb: str) -> list[str]:
        """The command line."""


def cases_of(request: _OfCases) -> list[Case]:
    """The cases that a request names, with the volume, the series and the rate that it chooses of them."""
    cases = find_cases(list(request.paths), further_inputs(request.further))
    return choosing(cases, request.volumes, request.series, request.rates)


def folder_of(
    request: _IntoFolder, verb: str, config: Mapping[str, Any], cases: Sequence[Case], model: Model
) -> RunFolder:
    """The run folder of a verb that runs a model over cases."""
    return RunFolder(
        request.output, verb, config, argv=request.words(verb), cases=cases, versions=versions(),
        hashes={"weights_sha256": model.weights_sha256}, overwrite=request.overwrite, private=request.private,
    )  # fmt: skip


def as_explained(request: Request, **given: Any) -> ExplainRequest:
    """The part of a request that explaining would ask as well, such as target, slice and reference.

    Parameters
    ----------
    request
        Of another verb.
    **given
        What it does not have and explaining needs.
    """
    shared = {f.name for f in fields(ExplainRequest)} & {f.name for f in fields(request)}
    return ExplainRequest(**{name: getattr(request, name) for name in shared} | given)


def raise_one_reason(errors: Sequence[Exception]) -> None:
    """Raise what all cases failed for, where that is one and the same."""
    if len({str(e) for e in errors}) == 1:
        raise errors[0]
