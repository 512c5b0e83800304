"""Recordings in EDF, EDF+ and BDF: a header of fixed fields, then records of all signals.

Source: Kemp et al. 1992, Electroencephalography and Clinical Neurophysiology 82, 391; Kemp and Olivan 2003 (EDF+).
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.core.errors import FileError
from regard.core.volume import Volume
from regard.io.guard import require_file
from regard.io.limits import check_size

__all__ = ["EDF_MARKS", "read_edf"]

logger = logging.getLogger(__name__)

EDF_MARKS = (b"0       ", b"\xffBIOSEMI")
"""First bytes of EDF and of BDF."""

_FIELDS = {
    "label": 16, "transducer": 80, "unit": 8, "low": 8, "high": 8, "lowest": 8, "highest": 8, "filter": 80,
    "n_samples": 8, "reserved": 32,
}  # fmt: skip
_ANNOTATIONS = ("EDF ANNOTATIONS", "BDF ANNOTATIONS")
_MOST_SIGNALS = 4096


@dataclass(frozen=True)
class _Channel:
    name: str
    unit: str
    scale: float
    shift: float
    first: int
    n_samples: int


def read_edf(path: Path) -> Volume:
    """Read a recording. Where its signals have several rates, those of the commonest are taken, and the rest is told.

    Parameters
    ----------
    path
        ``.edf`` or ``.bdf``.

    Returns
    -------
    Volume
        (lead, sample, 1, 1) in the units of the header.

    Raises
    ------
    FileError
        If the header is not one, the file is cut, or it has gaps in time (EDF+D).
    """
    size = require_file(path)
    with path.open("rb") as stream:
        head = stream.read(256)
        wide = 3 if head.startswith(EDF_MARKS[1]) else 2
        if not head.startswith(EDF_MARKS) or len(head) < 256:
            raise FileError(f"'{path}', which does not begin as EDF or BDF", "a recording in EDF", "export it again")
        if head[192:197] in (b"EDF+D", b"BDF+D"):
            raise FileError(f"'{path}', whose records have gaps (EDF+D)", "a recording without gaps", "export as EDF+C")
        n_bytes, n_records = _whole(head[184:192], path), _whole(head[236:244], path)
        seconds, n_signals = _real(head[244:252], path), _whole(head[252:256], path)
        if not 1 <= n_signals <= _MOST_SIGNALS or n_bytes != 256 * (1 + n_signals) or not 0 < seconds < 1e9:
            got = f"'{path}' with {n_signals} signals in a header of {n_bytes} bytes and records of {seconds:g} s"
            raise FileError(got, "a header of EDF", "export it again")
        fields = stream.read(256 * n_signals)
        if len(fields) < 256 * n_signals:
            raise FileError(f"'{path}' of {size} bytes, cut within its header", "a whole file", "copy it again")
        channels = _channels(fields, n_signals, path)
        per_record = sum(c.n_samples for c in channels)
        there = (size - n_bytes) // (wide * per_record)
        n_records = there if n_records == -1 else n_records
        if n_records < 1 or there < n_records:
            got = f"'{path}' of {size} bytes, which hold {there} of {n_records} records"
            raise FileError(got, "all records that its header announces", "copy it again")
        check_size(path, (per_record, n_records), 4)
        raw = np.frombuffer(stream.read(wide * per_record * n_records), np.uint8)
    taken = _of_one_rate(channels, seconds, path)
    counts = _counted(raw, wide).reshape(n_records, per_record)
    values = np.stack([counts[:, c.first : c.first + c.n_samples].ravel() * c.scale + c.shift for c in taken])
    return Volume.of_signal(
        values.astype(np.float32),
        taken[0].n_samples / seconds,
        [c.name for c in taken],
        unit=[c.unit for c in taken],
        source=str(path),
    )


def _channels(fields: bytes, n: int, path: Path) -> list[_Channel]:
    columns: dict[str, list[bytes]] = {}
    start = 0
    for name, width in _FIELDS.items():
        columns[name] = [fields[start + k * width : start + (k + 1) * width] for k in range(n)]
        start += n * width
    channels: list[_Channel] = []
    first = 0
    for k in range(n):
        label, unit = (columns[c][k].decode("latin-1").strip() for c in ("label", "unit"))
        low, high = (_real(columns[c][k], path) for c in ("low", "high"))
        lowest, highest = (_whole(columns[c][k], path) for c in ("lowest", "highest"))
        samples = _whole(columns["n_samples"][k], path)
        if samples < 1:
            raise FileError(f"'{path}' with {samples} samples a record of '{label}'", "at least 1", "export it again")
        annotation = label.upper() in _ANNOTATIONS
        if not annotation and (highest <= lowest or low == high):
            got = f"'{path}', in which {lowest} to {highest} of '{label}' are {low:g} to {high:g} {unit}"
            raise FileError(got, "two rising whole numbers and two different values", "correct its header")
        scale = 0.0 if annotation else (high - low) / (highest - lowest)
        base = label or f"signal {k + 1}"
        again = sum(c.name == base or c.name.startswith(f"{base} (") for c in channels)
        name = base if not again else f"{base} ({again + 1})"
        channels.append(_Channel(name, unit or "intensity", scale, low - scale * lowest, first, samples))
        first += samples
    return channels


def _of_one_rate(channels: list[_Channel], seconds: float, path: Path) -> list[_Channel]:
    """The signals of the commonest rate, the higher one of two that are as common."""
    signals = [c for c in channels if c.name.upper().partition(" (")[0] not in _ANNOTATIONS]
    if not signals:
        raise FileError(f"'{path}', which holds annotations alone", "at least one signal", "give the recording itself")
    counts = [c.n_samples for c in signals]
    common = max(set(counts), key=lambda n: (counts.count(n), n))
    other = [f"{c.name} ({c.n_samples / seconds:g} Hz)" for c in signals if c.n_samples != common]
    if other:
        logger.warning("%s: left out beside the signals of %g Hz: %s", path.name, common / seconds, ", ".join(other))
    return [c for c in signals if c.n_samples == common]


def _counted(raw: np.ndarray, wide: int) -> np.ndarray:
    if wide == 2:
        return raw.view("<i2")
    three = raw.reshape(-1, 3).astype(np.int32)
    return ((three[:, 0] | three[:, 1] << 8 | three[:, 2] << 16) ^ 0x800000) - 0x800000


def _whole(cell: bytes, path: Path) -> int:
    text = cell.decode("latin-1").strip()
    if not re.fullmatch(r"[-+]?\d{1,10}", text):
        raise FileError(f"'{text[:20]}' in the header of '{path}'", "a whole number", "export it again")
    return int(text)


def _real(cell: bytes, path: Path) -> float:
    text = cell.decode("latin-1").strip()
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise FileError(f"'{text[:20]}' in the header of '{path}'", "a number", "export it again")
    return value
