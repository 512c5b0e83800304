"""What a file says of an image beside its values and its affine."""

from dataclasses import dataclass

__all__ = ["NiftiForms", "Stored"]


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
    """

    levels: tuple[float, float] | None = None
    spacing_known: bool = False
    at_detector: bool = False
    forms: NiftiForms | None = None
