"""What several verbs are asked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from regard.runs.requests.fields import Flag, Request

__all__ = ["Batched", "Chosen", "IntoFolder", "OnDevice", "Pictured", "Private", "ReadsFiles", "Seeded", "WithNetwork"]

METHOD = Flag(("--method", "-m"), "NAME[:knob=value,...][@LABEL]")
TARGET = Flag(("--target", "-t"), "TARGET")
LAYER = Flag(metavar="NAME")
RESHAPE = Flag(metavar="GRID")
FURTHER = Flag(("--input",), "NAME=FILE")
SLICE = Flag(("--slice",), "AXIS:INDEX")
OUTPUT = Flag(("--output", "-o"), "DIR")


@dataclass(frozen=True, kw_only=True)
class WithNetwork(Request):
    """A network that somebody brings.

    Parameters
    ----------
    weights
        Weights, where the model does not bring its own.
    trust
        Let code that comes with the model run, this time only.
    """

    weights: Annotated[Path | None, Flag(metavar="FILE")] = None
    trust: Annotated[bool, Flag()] = False


@dataclass(frozen=True, kw_only=True)
class Seeded(Request):
    """Random draws.

    Parameters
    ----------
    seed
        Seed of every random draw.
    """

    seed: Annotated[int, Flag(metavar="INT", least=0)] = 0


@dataclass(frozen=True, kw_only=True)
class OnDevice(Request):
    """Where it is computed.

    Parameters
    ----------
    device
        Where the network runs.
    threads
        CPU threads; all by default.
    """

    device: Annotated[str, Flag(metavar="auto|cpu|cuda[:i]")] = "auto"
    threads: Annotated[int | None, Flag(metavar="INT", least=1)] = None


@dataclass(frozen=True, kw_only=True)
class Batched(OnDevice):
    """How much is computed at once.

    Parameters
    ----------
    batch_size
        Evaluations at once; auto fits the memory.
    """

    batch_size: Annotated[str, Flag(metavar="INT|auto")] = "auto"


@dataclass(frozen=True, kw_only=True)
class IntoFolder(Request):
    """Results in a folder of their own.

    Parameters
    ----------
    output
        Folder for all results.
    overwrite
        Start anew in a folder that holds another run.
    """

    output: Annotated[Path, OUTPUT]
    overwrite: Annotated[bool, Flag()] = False


@dataclass(frozen=True, kw_only=True)
class ReadsFiles(Request):
    """Files of other people.

    Parameters
    ----------
    no_limits
        Read files of any size, with decoders that take as long as they like.
    """

    no_limits: Annotated[bool, Flag()] = False


@dataclass(frozen=True, kw_only=True)
class Private(Request):
    """Patients who must not be told.

    Parameters
    ----------
    private
        Write no path and no file name; case ids stay.
    """

    private: Annotated[bool, Flag()] = False


@dataclass(frozen=True, kw_only=True)
class Chosen(Request):
    """Which part of a file is meant.

    Parameters
    ----------
    volumes
        Which volume, from 0, of an image of several. Repeatable.
    series
        Which series of a DICOM folder (or INPUT=...). Repeatable.
    rates
        Samples a second of a signal in a table without times. Repeatable.
    """

    volumes: Annotated[tuple[str, ...], Flag(("--volume",), "N|INPUT=N")] = ()
    series: Annotated[tuple[str, ...], Flag(metavar="UID|NUMBER")] = ()
    rates: Annotated[tuple[str, ...], Flag(("--rate",), "HZ|INPUT=HZ")] = ()


@dataclass(frozen=True, kw_only=True)
class Pictured(Request):
    """Pictures that are drawn.

    Parameters
    ----------
    convention
        Side of the patient's right in pictures: at the left of them (radiological), or at the right.
    """

    convention: Annotated[str, Flag(metavar="radiological|neurological")] = "radiological"
