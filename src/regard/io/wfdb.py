"""Recordings in WFDB form: a header ``.hea`` and its data, among them the ``.mat`` of the PhysioNet challenges.

The header is text: a line for the record, then a line for each signal. Formats 16, 24, 32, 61, 80 and 212 are read; a
``.mat`` of a challenge is format 16 behind 24 bytes, as its header says.

Source: G. Moody, WFDB Applications Guide, header(5) and signal(5).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from regard.core.errors import FileError, InputError
from regard.core.volume import Volume
from regard.io.guard import read_text, require_file
from regard.io.limits import check_size

__all__ = ["header_of", "read_wfdb", "wfdb_files"]

_USUAL_RATE, _USUAL_GAIN = 250.0, 200.0
_BYTES = {16: 2, 24: 3, 32: 4, 61: 2, 80: 1}
_MISSING = {16: -(2**15), 24: -(2**23), 32: -(2**31), 61: -(2**15), 80: -128, 212: -2048}
_LARGEST_HEADER = 2**20
_MOST_SIGNALS = 4096
_FORMAT = re.compile(r"(\d+)(?:x(\d+))?(?::(\d+))?(?:\+(\d+))?")
_GAIN = re.compile(r"([-+0-9.eE]+)(?:\((-?\d+)\))?(?:/(\S+))?")


@dataclass(frozen=True)
class _Signal:
    """One line of a header: where the samples of a signal are and what they mean."""

    file: str
    format: int
    offset: int
    gain: float
    baseline: int
    unit: str
    name: str


@dataclass(frozen=True)
class _Header:
    rate_hz: float
    n_samples: int
    signals: tuple[_Signal, ...]


def header_of(path: Path) -> Path:
    """The header that belongs to a file of a recording: itself, or the ``.hea`` beside a ``.dat`` or ``.mat``."""
    return path if path.suffix.lower() == ".hea" else path.with_suffix(".hea")


def wfdb_files(path: Path) -> list[Path]:
    """A header and the files of samples that it names; those that can be told and exist."""
    try:
        header = header_of(path)
        named = dict.fromkeys(header.parent / s.file for s in _header(header).signals)
    except InputError:
        return [path]
    return [header, *(p for p in named if p.is_file())]


def read_wfdb(path: Path) -> Volume:
    """Read a recording by its header, or by its ``.dat`` or ``.mat`` beside one.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Volume
        (lead, sample, 1, 1) in the units of the header; a sample that is marked as missing is NaN.

    Raises
    ------
    FileError
        If there is no header, it is not one, or a file of samples is missing, cut or of a format that is not read.
    """
    header_path = header_of(path)
    if header_path != path and not header_path.is_file():
        got = f"'{path}' without its header '{header_path.name}'"
        raise FileError(got, "a recording in WFDB form, header and samples", "copy the .hea to it")
    header = _header(header_path)
    n = header.n_samples
    check_size(header_path, (len(header.signals), n), 4)
    parts = []
    for file, group in groupby(header.signals, key=lambda s: s.file):
        signals = list(group)
        parts.append(_samples(header_path, file, signals, n))
        n = n or parts[0].shape[1]
    if len({p.shape[1] for p in parts}) > 1:
        got = f"'{header_path}', whose files hold {' and '.join(str(p.shape[1]) for p in parts)} samples"
        raise FileError(got, "as many for each signal", "copy the record again")
    gains, bases = (np.array([getattr(s, k) for s in header.signals])[:, None] for k in ("gain", "baseline"))
    values = ((np.concatenate(parts) - bases) / gains).astype(np.float32)
    names = _distinct([s.name or f"signal {k + 1}" for k, s in enumerate(header.signals)])
    units = [s.unit for s in header.signals]
    return Volume.of_signal(values, header.rate_hz, names, unit=units, source=str(path))


def _distinct(names: Sequence[str]) -> list[str]:
    """The same names, with a number behind those that stood before."""
    seen: dict[str, int] = {}
    made = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return made


def _header(path: Path) -> _Header:
    text = read_text(path, "header of a recording (.hea)", largest=_LARGEST_HEADER)
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    first = lines[0].split() if lines else []
    if len(first) < 2 or not re.fullmatch(r"\d+", first[1]):
        got = f"'{path}', whose first line names no record and number of signals"
        raise FileError(got, "the header of a recording in WFDB form", "copy or export it again")
    if "/" in first[0]:
        got = f"'{path}', a record of several segments ({first[0].rpartition('/')[2]})"
        raise FileError(got, "one segment", "give the header of one segment")
    n_signals = int(first[1])
    if not 1 <= n_signals <= _MOST_SIGNALS or len(lines) < 1 + n_signals:
        got = f"'{path}', which announces {n_signals} signals and has {len(lines) - 1} lines for them"
        raise FileError(got, f"1 to {_MOST_SIGNALS} signals, a line for each", "copy or export it again")
    rate = _number(first[2].partition("/")[0].partition("(")[0], path) if len(first) > 2 else _USUAL_RATE
    if not 0 < rate < 1e9:
        raise FileError(f"'{path}' with a rate of {rate:g} Hz", "samples a second, above 0", "correct the header")
    n_samples = int(first[3]) if len(first) > 3 and re.fullmatch(r"\d{1,15}", first[3]) else 0
    return _Header(rate, n_samples, tuple(_signal(line, path) for line in lines[1 : 1 + n_signals]))


def _signal(line: str, path: Path) -> _Signal:
    cells = line.split(maxsplit=8)
    form = _FORMAT.fullmatch(cells[1]) if len(cells) > 1 else None
    if form is None:
        raise FileError(f"the line '{line[:60]}' of '{path}'", "FILE FORMAT [GAIN ...]", "copy or export it again")
    kind, per_frame, skew, offset = (int(g) if g else 0 for g in form.groups())
    if kind not in _MISSING:
        known = ", ".join(str(k) for k in sorted(_MISSING))
        raise FileError(f"'{path}' with samples in format {kind}", f"one of {known}", "convert it (wfdb: xform)")
    if per_frame > 1 or skew:
        got = f"'{path}' with {'several samples a frame' if per_frame > 1 else 'a skew'} in '{line[:40]}'"
        raise FileError(got, "one sample a frame without skew", "convert it (wfdb: xform)")
    if Path(cells[0]).name != cells[0] or cells[0] in (".", "..", "-", "~"):
        raise FileError(f"'{path}' that names the file '{cells[0]}'", "a file beside it", "correct the header")
    scale = _GAIN.fullmatch(cells[2]) if len(cells) > 2 else None
    zero = int(cells[4]) if len(cells) > 4 and re.fullmatch(r"-?\d{1,10}", cells[4]) else 0
    gain, base, unit = (_USUAL_GAIN, zero, "mV")
    if scale is not None:
        gain = _number(scale[1], path) or _USUAL_GAIN
        base = int(scale[2]) if scale[2] is not None else zero
        unit = scale[3] or "mV"
    return _Signal(cells[0], kind, offset, gain, base, unit, cells[8].strip() if len(cells) > 8 else "")


def _number(text: str, path: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise FileError(f"'{text[:40]}' in '{path}'", "a number", "copy or export it again")
    return value


def _samples(header: Path, file: str, signals: Sequence[_Signal], n: int) -> np.ndarray:
    """Samples (signal, sample) of the signals that share a file, float64, as the file counts; NaN for missing ones."""
    path = header.parent / file
    if not path.is_file():
        raise FileError(f"'{header}' without its samples '{file}'", "both files beside each other", "copy it too")
    if len({(s.format, s.offset) for s in signals}) > 1:
        got = f"'{header}' with several formats in '{file}'"
        raise FileError(got, "one format a file", "convert it (wfdb: xform)")
    kind, offset, m = signals[0].format, signals[0].offset, len(signals)
    there = require_file(path) - offset
    n = n or (there * 2 // 3 if kind == 212 else there // _BYTES[kind]) // m
    check_size(header, (m, n), 4)
    needed = -(-n * m * 3 // 2) if kind == 212 else n * m * _BYTES[kind]
    if n < 1 or there < needed:
        got = f"'{path}' of {there + offset} bytes for {n} samples of {m} signal(s), which take {offset + needed}"
        raise FileError(got, "all samples that its header announces", "copy it again")
    with path.open("rb") as stream:
        stream.seek(offset)
        raw = np.frombuffer(stream.read(needed), np.uint8)
    whole = _counted(raw, kind, n * m).reshape(n, m).T
    return np.where(whole == _MISSING[kind], np.nan, whole)


def _counted(raw: np.ndarray, kind: int, n: int) -> np.ndarray:
    """Whole numbers (sample,), one signal after the other in each frame, of a file's bytes."""
    if kind == 212:
        # Two samples of 12 bits in three bytes: the middle byte holds the high bits of both.
        padded = np.concatenate([raw, np.zeros(-len(raw) % 3, np.uint8)]).reshape(-1, 3).astype(np.int32)
        both = np.stack([padded[:, 0] | (padded[:, 1] & 15) << 8, padded[:, 2] | (padded[:, 1] >> 4) << 8], 1)
        both = both.ravel()[:n]
        return np.where(both > 2047, both - 4096, both)
    if kind == 80:
        return raw.astype(np.int32) - 128
    if kind == 24:
        three = raw.reshape(-1, 3).astype(np.int32)
        return ((three[:, 0] | three[:, 1] << 8 | three[:, 2] << 16) ^ 0x800000) - 0x800000
    return raw.view({16: "<i2", 32: "<i4", 61: ">i2"}[kind]).astype(np.int64)
