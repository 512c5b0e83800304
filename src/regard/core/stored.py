"""What a file says of an image beside its values and its affine."""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["NiftiForms", "SignalFacts", "Stored"]


@dataclass(frozen=True)
class NiftiForms:
    """The two places that a NIfTI header gives an image, number by number, as the header has them.

    Written again to a map on the same grid, they make every reader place the map where it places the scan.

    Parameters
    ----------
    pixdim
        Handedness of the qform, then the voxel sizes; 4 numbers [in `unit`].
    qform_code, sform_code
        What each form is relative to: 0 unset, 1 scanner, 2 aligned, 3 Talairach, 4 MNI.
    quaternion
        b, c and d of the qform's rotation.
    offset
        Position of the first voxel by the qform [in `unit`].
    rows
        Three rows of four numbers: the sform [in `unit`].
    unit
        Code of the spatial unit: 0 unknown, 1 metre, 2 millimetre, 3 micron.
    """

    pixdim: tuple[float, ...]
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    offset: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    unit: int


@dataclass(frozen=True)
class SignalFacts:
    """What a recording says of its channels: the one axis of its volume is time [s].

    Parameters
    ----------
    rate_hz
        Samples of each lead in a second [Hz].
    leads
        Name of each lead, in the order of the channels.
    units
        Unit of each lead, in that order.
    """

    rate_hz: float
    leads: tuple[str, ...]
    units: tuple[str, ...]

    @property
    def unit(self) -> str:
        """The unit of all leads, or ``"mixed"`` where they differ."""
        return self.units[0] if len(set(self.units)) == 1 else "mixed"

    def only(self, numbers: Sequence[int]) -> "SignalFacts":
        """The same of some of the leads, by their numbers from 0."""
        return SignalFacts(self.rate_hz, tuple(self.leads[n] for n in numbers), tuple(self.units[n] for n in numbers))


@dataclass(frozen=True)
class Stored:
    """What a file says of an image beside its values and its affine.

    Parameters
    ----------
    levels
        Lowest and highest value that the file can hold, of grey levels, which have no other unit; None if unknown.
    spacing_known
        Whether the spacing of a picture without a place in the patient is in mm.
    at_detector
        Whether that spacing is the detector's, which is larger than the patient's by the magnification.
    forms
        Of a NIfTI file, for the affine that belongs to them.
    signal
        Of a recording, whose first axis is time [s]; None for images.
    """

    levels: tuple[float, float] | None = None
    spacing_known: bool = False
    at_detector: bool = False
    forms: NiftiForms | None = None
    signal: SignalFacts | None = None
