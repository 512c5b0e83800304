"""The errors that Regard raises, each one sentence: what was got, what was expected, what to do.

RegardError                     exit code 1: our failure
+-- InputError                  exit code 2: the user's mistake
|   +-- FileError               a file is missing, corrupt, truncated or of a kind we cannot read
|   +-- GeometryError           affine, spacing, orientation or grid does not fit
|   +-- ShapeError              a tensor's shape does not fit
|   +-- TargetError             the output has no such scalar
|   |   +-- RowsError           the output or the target's value has not one row per input case
|   +-- ReferenceInputError     a reference is missing, unusable or outside its tolerance
|   +-- CapabilityError         the model cannot do what the method needs
|   +-- UnknownNameError        no such method, model, layer, knob, measure
|   +-- TrustError              code would have to run, and ``--trust`` was not given
|   +-- CardError               a model card, table or configuration is not valid
|   +-- FolderError             the run folder is locked or holds another run
|   +-- MissingDependencyError  an optional package is not installed
+-- RunStoppedError             exit code 130: stopped from outside, the same command goes on
+-- SomeCasesFailed             exit code 3: results exist, and so does failures.tsv
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "CapabilityError",
    "CardError",
    "FileError",
    "FolderError",
    "GeometryError",
    "InputError",
    "MissingDependencyError",
    "ReferenceInputError",
    "RegardError",
    "RowsError",
    "RunStoppedError",
    "ShapeError",
    "SomeCasesFailed",
    "TargetError",
    "TrustError",
    "UnknownNameError",
]


class RegardError(Exception):
    """Base of every error that Regard raises on purpose."""

    exit_code = 1


class InputError(RegardError, ValueError):
    """The user's mistake, told in three parts.

    Parameters
    ----------
    got
        What was found, with its value.
    expected
        What would have been right.
    do
        The next thing to try.
    """

    exit_code = 2

    def __init__(self, got: str, expected: str = "", do: str = "") -> None:
        self.got, self.expected, self.do = got, expected, do
        parts = [got]
        if expected:
            parts.append(f"expected {expected}")
        if do:
            parts.append(do)
        super().__init__("; ".join(parts))

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.got, self.expected, self.do)


class FileError(InputError):
    """A file is missing, corrupt, truncated or of a kind that cannot be read."""


class GeometryError(InputError):
    """An affine, a spacing, an orientation or a grid does not fit."""


class ShapeError(InputError):
    """A tensor's shape does not fit."""


class TargetError(InputError):
    """The network's output has no such scalar."""


class RowsError(TargetError):
    """The network's output, or the target's value of it, has not one row per input case."""


class ReferenceInputError(InputError):
    """A reference input is missing, cannot be used, or lies outside its tolerance."""


class CapabilityError(InputError):
    """The model cannot do what the method needs (gradients, layers)."""


class TrustError(InputError):
    """Code that came with a file would have to run, and trust was not given."""


class CardError(InputError):
    """A model card, a table or a configuration is not valid."""


class FolderError(InputError):
    """The run folder is locked, or holds a run with another configuration."""


class UnknownNameError(InputError, LookupError):
    """No such name; the nearest known names are suggested."""

    @classmethod
    def suggest(cls, kind: str, name: str, known: Iterable[str]) -> "UnknownNameError":
        """Build the error for ``name``, with the nearest of the ``known`` names."""
        known = list(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        listed = ", ".join(known[:30]) + (", ..." if len(known) > 30 else "")
        do = f"did you mean {' or '.join(near)}?" if near else "check the spelling"
        return cls(f"{kind} '{name}'", f"one of: {listed}", do)


class MissingDependencyError(InputError, ImportError):
    """An optional package is not installed; the message holds the install line."""

    @classmethod
    def of(cls, package: str, extra: str, purpose: str) -> "MissingDependencyError":
        """Build the error for a ``package`` that the ``extra`` of Regard installs."""
        return cls(
            f"{purpose} needs the package '{package}', which is not installed",
            f"the extra '{extra}'",
            f"pip install 'regard[{extra}]'",
        )


class RunStoppedError(RegardError):
    """Something outside stopped the run, such as a scheduler that went away; the same command goes on."""

    exit_code = 130


class SomeCasesFailed(RegardError):  # noqa: N818 - not an error: the others are done
    """Some cases failed; the others are done and saved."""

    exit_code = 3
