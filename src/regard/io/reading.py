"""Read an image of any kind that Regard knows: the content says what it is, the ending must not contradict it."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from regard.core.errors import FileError, GeometryError
from regard.core.registry import Registry
from regard.core.volume import Volume
from regard.io.edf import EDF_MARKS
from regard.io.first_bytes import first_bytes, in_words, is_gzip, unpacked
from regard.io.guard import parsing
from regard.io.limits import without_limits
from regard.io.metaimage import is_metaimage
from regard.io.nifti import SHORTEST, SIZES, is_analyze, is_nifti

__all__ = ["READERS", "is_dicom", "kind_of", "read", "strip_ending"]

logger = logging.getLogger(__name__)

_NIFTI = (".nii", ".nii.gz", ".mgh", ".mgz", ".hdr", ".img", ".hdr.gz", ".img.gz")

READERS = Registry(
    "image format",
    "regard.readers",
    {
        "nifti": ("regard.io.nifti:read_nifti", "NIfTI, Analyze or FreeSurfer volume", _NIFTI),
        "dicom": ("regard.io.dicom:read_dicom", "DICOM file, series or folder", (".dcm", ".dicom", ".ima")),
        "picture": (
            "regard.io.picture:read_picture",
            "PNG, JPEG or TIFF of 8 or 16 bits",
            (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"),
        ),
        "metaimage": ("regard.io.metaimage:read_metaimage", "MetaImage volume", (".mha", ".mhd")),
        "nrrd": ("regard.io.nrrd:read_nrrd", "NRRD volume", (".nrrd", ".nhdr")),
        "wfdb": ("regard.io.wfdb:read_wfdb", "recording in WFDB form", (".hea", ".dat", ".mat")),
        "edf": ("regard.io.edf:read_edf", "recording in EDF or BDF", (".edf", ".bdf")),
        "signal table": ("regard.io.signal_table:read_signal_table", "recording as a table", (".csv", ".tsv")),
    },
)

_EXPECTED = (
    "NIfTI (.nii, .nii.gz), DICOM (a file or a folder), PNG, JPEG, TIFF, NRRD or MetaImage (.mha, .mhd); a signal: "
    "WFDB (.hea), EDF, or a table of numbers (.csv, .tsv)"
)
_UNMARKED = ("wfdb", "signal table")
_SAME_RATE = 1e-3
_MGH = b"\0\0\0\1"
_VALUE_TYPES = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONGEST_VALUE = 256
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM")


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
    if head[128:132] == b"DICM" or _begins_with_dicom(head):
        return "dicom"
    if is_gzip(head):
        inside = unpacked(head)
        return "nifti" if is_nifti(inside) or inside[:4] == _MGH or is_analyze(inside) else None
    if is_nifti(head):
        return "nifti"
    if head.startswith(_PICTURES):
        return "picture"
    if is_metaimage(head):
        return "metaimage"
    if head.startswith(EDF_MARKS):
        return "edf"
    return "nrrd" if head.startswith(b"NRRD") else None


def _begins_with_dicom(head: bytes) -> bool:
    """Whether a file begins with an element of group 0002 or 0008, as DICOM without preamble and mark does."""
    if len(head) < 16 or head[:2] not in (b"\x02\0", b"\x08\0") or head[3] != 0:
        return False
    explicit = head[4:6] in _VALUE_TYPES
    length = int.from_bytes(head[6:8] if explicit else head[4:8], "little")
    return (explicit or head[6:8] == b"\0\0") and 0 < length <= _LONGEST_VALUE and length % 2 == 0


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its mark, or by its first element where an old file lacks the mark."""
    return _kind_by_content(first_bytes(path)) == "dicom"


def kind_of(path: str | Path) -> str:
    """Name of the image format of a file or folder, by content first.

    Raises
    ------
    FileError
        If it is missing, empty, of no known kind, or its ending says another kind than its content.
    """
    path = Path(path)
    with parsing(path, "image"):
        is_folder = path.is_dir()
    if is_folder:
        return "dicom"
    head = first_bytes(path)
    if not head:
        raise FileError(f"'{path}' is empty", "an image", "copy or export it again")
    name = path.name.lower()
    endings = _endings()
    ending = next((e for e in sorted(endings, key=len, reverse=True) if name.endswith(e)), "")
    by_ending = endings.get(ending)
    if by_ending in _UNMARKED and not _is_other(head):
        return str(by_ending)
    by_content = _kind_by_content(head)
    third_party = by_ending is not None and len(READERS.entry(by_ending)) < 3
    if by_content is None and (third_party or _has_no_mark(ending, head)):
        return str(by_ending)
    if by_content is None:
        got = f"'{path}' ends in {ending} but holds {in_words(head)}" if by_ending else (
            f"'{path}' is no image that I know: it holds {in_words(head)}"
        )  # fmt: skip
        raise FileError(got, _EXPECTED, "export or download the image again" if by_ending else "convert it first")
    if by_ending is None and by_content == "nifti":
        raise FileError(f"'{path}' holds a NIfTI image without its ending", ".nii or .nii.gz", "rename the file")
    if by_ending is not None and by_ending != by_content:
        raise FileError(
            f"'{path}' ends in {ending} but holds a {by_content} image", "an ending that fits", "rename the file"
        )
    return by_content


def _is_other(head: bytes) -> bool:
    """Whether a file called as a signal is plainly something else; samples may begin with any bytes."""
    return head[128:132] == b"DICM" or is_gzip(head) or is_nifti(head) or head.startswith((*_PICTURES[:2], b"NRRD"))


def _has_no_mark(ending: str, head: bytes) -> bool:
    """Whether a file of this ending begins with nothing that tells its kind: MGH, and both files of an Analyze pair."""
    if ending in (".mgh", ".mgz"):
        return (unpacked(head) if is_gzip(head) else head)[:4] == _MGH
    if len(head) < SHORTEST and head[:4] in SIZES:
        return ending in _NIFTI  # cut within its header, as its reader will say
    packed = is_gzip(head) and ending in _NIFTI  # corrupt, as its reader will say
    return packed or ending in (".img", ".img.gz") or (ending == ".hdr" and is_analyze(head))


def read(
    path: str | Path,
    *,
    unit: str | None = None,
    volume: int | None = None,
    series: str | int | None = None,
    rate_hz: float | None = None,
    limits: bool = True,
) -> Volume:
    """Read an image (NIfTI, DICOM, PNG, JPEG, TIFF, NRRD, MetaImage) or a signal (WFDB, EDF, a table of numbers).

    Parameters
    ----------
    path
        File, or folder of one DICOM series.
    unit
        Unit of the intensities, where the file cannot say it (NIfTI of a CT: ``"HU"``).
    volume
        Number, from 0, of one volume (channel) of an image of several; all of them by default.
    series
        SeriesInstanceUID or SeriesNumber of one series, where a DICOM folder holds several.
    rate_hz
        Samples of a signal in a second [Hz], where its file is a table without times.
    limits
        Whether the limits of `regard.io.limits` on size, expansion and time hold.

    Returns
    -------
    Volume
        (channel, i, j, k) with the affine to RAS mm; a picture without geometry has axes (column, row), and a signal
        is (lead, sample, 1, 1) with its times [s] for mm.

    Raises
    ------
    FileError
        If the file is missing, empty, truncated, corrupt or of a kind that cannot be read.
    GeometryError
        If where its voxels lie is missing or contradicts itself.
    ShapeError
        If there is no such volume.
    MissingDependencyError
        If its reader, or the decoder of its compression, is not installed.
    """
    path = Path(path)
    kind = kind_of(path)
    if series is not None and kind != "dicom":
        raise FileError(f"the series {series} of '{path}', which is not DICOM", "a DICOM folder", "leave it out")
    # What of a file is wanted is told to those readers that need not read the rest.
    choices: dict[str, dict[str, Any]] = {
        "dicom": {"series": series}, "nifti": {"volume": volume}, "signal table": {"rate_hz": rate_hz}
    }  # fmt: skip
    reader, what = READERS.load(kind), READERS.entry(kind)[1]
    try:
        with without_limits(not limits), parsing(path, what):
            image: Volume = reader(path, **choices.get(kind, {}))
    except GeometryError as error:
        if str(path) in error.got:
            raise
        raise GeometryError(f"'{path}' has {error.got}", error.expected, error.do) from error
    logger.debug("read one image of kind %s: %r", kind, image)
    _check_rate(path, image, rate_hz)
    if volume is not None and kind != "nifti":
        image = image.channel(volume)
    return image if unit is None else replace(image, unit=unit)


def _check_rate(path: Path, image: Volume, rate_hz: float | None) -> None:
    """Refuse a rate for an image, or another one than the file says."""
    if rate_hz is None:
        return
    if image.signal is None:
        raise FileError(f"a rate of {rate_hz:g} Hz for the image '{path}'", "a signal", "leave it out")
    if abs(image.signal.rate_hz / rate_hz - 1) > _SAME_RATE:
        got = f"a rate of {rate_hz:g} Hz for '{path}', which says {image.signal.rate_hz:g} Hz"
        raise FileError(got, "one of them", "leave the rate out")
