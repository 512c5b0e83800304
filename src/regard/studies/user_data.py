"""A user's own cases: read one by one, bad ones told in ``failures.tsv``, what was read kept in the run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from torch import Tensor

from regard.core.errors import CardError
from regard.datasets.bone_density import digest
from regard.studies.run import StudyRun

__all__ = ["kept_data", "readable"]


class _Case(Protocol):
    @property
    def case(self) -> str: ...

    @property
    def patient(self) -> str: ...


Some = TypeVar("Some", bound=_Case)
Made = TypeVar("Made")


def readable(
    run: StudyRun,
    cases: Sequence[Some],
    read: Callable[[Some], Made],
    *,
    image: Callable[[Made], Tensor] | None = None,
    refused: Mapping[str, Exception] | None = None,
) -> Iterator[tuple[Some, Made]]:
    """Read cases one by one; those that cannot be read, or are refused, are failures of the run.

    Parameters
    ----------
    run
        The run, which is told of progress and of failures.
    cases
        To be read.
    read
        Reads one.
    image
        Picks the image from what was read: the same image of two patients is a failure of the second.
    refused
        Cases that may not be used, with the reason.

    Yields
    ------
    tuple
        A case, and what was read of it.
    """
    seen: dict[str, str] = {}
    for n, case in enumerate(cases):
        run.stage(f"reading {case.case}", n, len(cases))
        try:
            if refused and case.case in refused:
                raise refused[case.case]
            made = read(case)
            if image is not None:
                owner = seen.setdefault(digest(image(made)), case.patient)
                if owner != case.patient:
                    raise CardError(
                        f"the image of patient '{owner}' again, as patient '{case.patient}'",
                        "one patient for one image",
                        "take one away: a patient in two parts of the data makes the scores too good",
                    )
        except Exception as error:  # one bad file must not cost the others
            run.folder.add_failure(case.case, "read", error)
            continue
        yield case, made


def kept_data(
    run: StudyRun, name: str, read: Callable[[], tuple[Mapping[str, Tensor], Sequence[Mapping[str, Any]]]]
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Tensors and rows that a run reads once and keeps as its pieces ``name``.

    Parameters
    ----------
    run
        The run.
    name
        Of the pieces, such as ``"data/table"``.
    read
        Reads all: tensors by name, each (case, ...), and a row of plain values for each case.
    """
    kept: list[tuple[Mapping[str, Tensor], Sequence[Mapping[str, Any]]]] = []

    def read_all() -> tuple[Mapping[str, Tensor], Sequence[Mapping[str, Any]]]:
        if not kept:
            kept.append(read())
        return kept[0]

    # The record comes second: where it is, the tensors are.
    tensors = run.tensors(name, lambda: read_all()[0])
    return tensors, run.record(name, lambda: {"rows": read_all()[1]})["rows"]
