"""The two places that a NIfTI header gives an image: read, repaired where rounding broke them, written to maps."""

import io
import logging

import nibabel
import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError

from regard.core.stored import NiftiForms
from regard.core.volume import Volume

__all__ = ["MILLIMETRES", "forms_of", "holds_no_shear", "mend_quaternion", "place", "scale_of"]

logger = logging.getLogger(__name__)

MILLIMETRES = {1: ("metre", 1000.0), 3: ("micron", 0.001)}
"""Codes of spatial units that are not mm: name, and millimetres in one."""

_ROUNDING = 1e-4
_SAME_MM = 1e-3
_SCANNER, _ALIGNED = 1, 2


def scale_of(header: Nifti1Header) -> float:
    """Millimetres in one unit of a header."""
    return MILLIMETRES.get(int(header["xyzt_units"]) & 7, ("", 1.0))[1]


def forms_of(header: Nifti1Header) -> NiftiForms:
    """The forms of a header, as it has them."""
    return NiftiForms(
        pixdim=tuple(float(v) for v in header["pixdim"][:4]),
        qform_code=int(header["qform_code"]),
        sform_code=int(header["sform_code"]),
        quaternion=tuple(float(header[f"quatern_{c}"]) for c in "bcd"),
        offset=tuple(float(header[f"qoffset_{c}"]) for c in "xyz"),
        rows=tuple(tuple(float(v) for v in header[f"srow_{c}"]) for c in "xyz"),
        unit=int(header["xyzt_units"]) & 7,
    )


def mend_quaternion(header: Nifti1Header) -> None:
    """Bring a quaternion that rounding has made longer than 1 back to length 1, in place.

    A half turn has no real part, and its other three parts, rounded to float32, may be longer than 1 by some 1e-6. One
    that is longer by more is no rounding, and is left for the reader to refuse.
    """
    parts = np.array([float(header[f"quatern_{c}"]) for c in "bcd"])
    length = float(np.linalg.norm(parts))
    if 1 < length <= 1 + _ROUNDING:
        for name, value in zip("bcd", parts / (length * (1 + 1e-7)), strict=True):
            header[f"quatern_{name}"] = value


def _put(header: Nifti1Header, forms: NiftiForms) -> None:
    header["pixdim"][:4] = forms.pixdim
    header["qform_code"], header["sform_code"] = forms.qform_code, forms.sform_code
    for name, value in zip("bcd", forms.quaternion, strict=True):
        header[f"quatern_{name}"] = value
    for axis, offset, row in zip("xyz", forms.offset, forms.rows, strict=True):
        header[f"qoffset_{axis}"], header[f"srow_{axis}"] = offset, row
    header["xyzt_units"] = forms.unit


def _belong(header: Nifti1Header, forms: NiftiForms, volume: Volume) -> bool:
    """Whether forms give the volume's affine; those of an image that was cut or resampled since do not."""
    probe = header.copy()
    _put(probe, forms)
    mend_quaternion(probe)
    try:
        affine = np.array(probe.get_best_affine(), dtype=np.float64)
    except (HeaderDataError, ValueError):
        return False
    affine[:3] *= scale_of(probe)
    last = np.array([*(n - 1 for n in volume.shape), 1.0])
    off = [(affine - volume.affine) @ corner for corner in (last * [0, 0, 0, 1], last)]
    return bool(np.abs(off).max() <= _SAME_MM)


def holds_no_shear(volume: Volume) -> bool:
    """Whether an affine has a shear that a qform cannot hold, and the volume brings no forms of its own."""
    axes = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    sheared = float(np.abs(axes.T @ axes - np.eye(3)).max()) > 1e-5
    return sheared and volume.stored.forms is None


def _orthogonal(affine: np.ndarray) -> np.ndarray:
    """The nearest affine that a qform can hold: in-plane axes as they are, slices stacked at right angles to them."""
    first, second, third = affine[:3, :3].T
    normal = np.cross(first, second)
    normal *= np.sign(normal @ third) * np.linalg.norm(third) / np.linalg.norm(normal)
    straight = affine.copy()
    straight[:3, 2] = normal
    return straight


def place(content: bytes, volume: Volume) -> bytes:
    """Put the place of a volume into the bytes of a NIfTI file on its grid.

    A volume that was read from NIfTI gives both its forms and their codes as its own header has them, and the unit of
    space. Any other gives its affine as sform and qform. A qform cannot hold shear (a tilted gantry): it then stacks
    the slices at right angles, which is where readers that know no shear place the scan's series.
    """
    image_class = nibabel.Nifti1Image if content[:4] in (b"\x5c\1\0\0", b"\0\0\1\x5c") else nibabel.Nifti2Image
    header = image_class.header_class.from_fileobj(io.BytesIO(content), check=False)
    forms = volume.stored.forms
    if forms is not None and _belong(header, forms, volume):
        _put(header, forms)
    else:
        code = _SCANNER if volume.has_geometry else _ALIGNED
        header.set_sform(volume.affine, code)
        try:
            header.set_qform(volume.affine, code, strip_shears=False)
        except HeaderDataError:
            header.set_qform(_orthogonal(volume.affine), code)
            header["pixdim"][1:4] = np.linalg.norm(volume.affine[:3, :3], axis=0)
        header.set_xyzt_units("mm")
    block: bytes = header.binaryblock
    return block + content[len(block) :]
