"""Read an image of any kind that Regard knows: the content says what it is, the ending must not contradict it."""

import logging
from dataclasses import replace
from pathlib import Path

from regard.core.errors import FileError, GeometryError
from regard.core.registry import Registry
from regard.core.volume import Volume

__all__ = ["READERS", "is_dicom", "kind_of", "read", "strip_ending"]

logger = logging.getLogger(__name__)

READERS = Registry(
    "image format",
    "regard.readers",
    {
        "nifti": ("regard.io.nifti:read_nifti", "NIfTI or FreeSurfer volume", (".nii", ".nii.gz", ".mgh", ".mgz")),
        "dicom": ("regard.io.dicom:read_dicom", "DICOM file, series or folder", (".dcm", ".dicom", ".ima")),
        "picture": (
            "regard.io.picture:read_picture",
            "PNG, JPEG or TIFF of 8 or 16 bits",
            (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
        ),
        "nrrd": ("regard.io.nrrd:read_nrrd", "NRRD volume", (".nrrd", ".nhdr")),
    },
)

_EXPECTED = "NIfTI (.nii, .nii.gz), DICOM (a file or a folder), PNG, JPEG, TIFF or NRRD"
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"BM")


def _endings() -> dict[str, str]:
    found = {}
    for kind in READERS.names():
        entry = READERS.entry(kind)
        found.update(dict.fromkeys(entry[2] if len(entry) > 2 else (f".{kind}",), kind))
    return found


def strip_ending(name: str) -> str:
    """A file's name without the ending of an image format (``scan.v2.nii.gz`` to ``scan.v2``)."""
    lowered = name.lower()
    ending = next((e for e in sorted(_endings(), key=len, reverse=True) if lowered.endswith(e)), "")
    return name[: len(name) - len(ending)] or name


def _kind_by_content(head: bytes) -> str | None:
    if head[128:132] == b"DICM":
        return "dicom"
    if head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0"):
        return "nifti"
    if head.startswith(_PICTURES):
        return "picture"
    return "nrrd" if head.startswith(b"NRRD") else None


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its mark, or by its ending and first group where an old file lacks the mark."""
    head = _head(path)
    old = path.suffix.lower() in (".dcm", ".dicom", ".ima") and head[:2] in (b"\x02\0", b"\x08\0")
    return _kind_by_content(head) == "dicom" or old


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(352)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise FileError(f"cannot read '{path}' ({why})", "a file that can be read", "check its permissions") from error


def kind_of(path: str | Path) -> str:
    """Name of the image format of a file or folder, by content first.

    Raises
    ------
    FileError
        If it is missing, empty, of no known kind, or its ending says another kind than its content.
    """
    path = Path(path)
    if path.is_dir():
        return "dicom"
    if not path.exists():
        raise FileError(f"no file '{path}'", "an existing file", "check the path")
    head = _head(path)
    if not head:
        raise FileError(f"'{path}' is empty", "an image", "copy or export it again")
    name = path.name.lower()
    endings = _endings()
    ending = next((e for e in sorted(endings, key=len, reverse=True) if name.endswith(e)), "")
    by_ending, by_content = endings.get(ending), _kind_by_content(head)
    # A compressed file shows its kind only when opened; an old DICOM file has no mark.
    if by_content is None and (by_ending == "nifti" or (by_ending == "dicom" and is_dicom(path))):
        return by_ending
    third_party = by_ending is not None and len(READERS.entry(by_ending)) < 3
    if by_content is None and third_party:
        return str(by_ending)
    if by_content is None:
        got = f"'{path}' ends in {ending} but does not hold that" if by_ending else f"'{path}' is no image that I know"
        raise FileError(got, _EXPECTED, "export the image again" if by_ending else "convert it first")
    if by_ending is None and by_content == "nifti":
        raise FileError(f"'{path}' holds a NIfTI image without its ending", ".nii or .nii.gz", "rename the file")
    if by_ending is not None and by_ending != by_content:
        raise FileError(
            f"'{path}' ends in {ending} but holds a {by_content} image", "an ending that fits", "rename the file"
        )
    return by_content


def read(path: str | Path, *, unit: str | None = None) -> Volume:
    """Read an image: NIfTI, a DICOM file, series or folder, PNG, JPEG, TIFF, or NRRD.

    Parameters
    ----------
    path
        File, or folder of one DICOM series.
    unit
        Unit of the intensities, where the file cannot say it (NIfTI of a CT: ``"HU"``).

    Returns
    -------
    Volume
        (channel, i, j, k) with the affine to RAS mm; a picture without geometry has axes (column, row).

    Raises
    ------
    FileError
        If the file is missing, empty, truncated, corrupt or of a kind that cannot be read.
    GeometryError
        If where its voxels lie is missing or contradicts itself.
    MissingDependencyError
        If its reader, or the decoder of its compression, is not installed.
    """
    path = Path(path)
    kind = kind_of(path)
    try:
        volume: Volume = READERS.load(kind)(path)
    except GeometryError as error:
        if str(path) in error.got:
            raise
        raise GeometryError(f"'{path}' has {error.got}", error.expected, error.do) from error
    logger.debug("read one image of kind %s: %r", kind, volume)
    return volume if unit is None else replace(volume, unit=unit)
