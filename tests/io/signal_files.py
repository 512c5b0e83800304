"""Recordings written byte by byte from the formats' descriptions, without the readers' code."""

import struct
from pathlib import Path

import numpy as np

__all__ = ["pack", "write_edf", "write_mat", "write_wfdb"]


def pack(kind: int, values: list[int]) -> bytes:
    """Samples in a WFDB format, one after the other."""
    if kind == 16:
        return b"".join(struct.pack("<h", v) for v in values)
    if kind == 61:
        return b"".join(struct.pack(">h", v) for v in values)
    if kind == 32:
        return b"".join(struct.pack("<i", v) for v in values)
    if kind == 24:
        return b"".join(struct.pack("<i", v)[:3] for v in values)
    if kind == 80:
        return bytes(v + 128 for v in values)
    out = bytearray()
    for first, second in zip(values[::2], [*values[1::2], 0][: len(values[::2])], strict=True):
        a, b = first & 0xFFF, second & 0xFFF
        out += bytes([a & 0xFF, (a >> 8) | ((b >> 8) << 4), b & 0xFF])
    return bytes(out[: -(-len(values) * 3 // 2)])


def write_wfdb(
    folder: Path, counts: np.ndarray, *, kind: int = 16, rate: str = "500", gain: str = "200(10)/mV", name: str = "rec"
) -> Path:
    """A record of ``counts`` (signal, sample) in one file."""
    m, n = counts.shape
    (folder / f"{name}.dat").write_bytes(pack(kind, counts.T.ravel().tolist()))
    lines = [f"{name} {m} {rate} {n}"]
    lines += [f"{name}.dat {kind} {gain} 16 0 {c[0]} 0 0 L{k + 1}" for k, c in enumerate(counts.tolist())]
    (folder / f"{name}.hea").write_text("\n".join([*lines, "# Age: 61"]) + "\n")
    return folder / f"{name}.hea"


def write_mat(folder: Path, counts: np.ndarray, *, name: str = "A0001") -> Path:
    """The pair of the PhysioNet challenges: a level-4 matrix ``val`` of int16, behind a header of format ``16+24``."""
    m, n = counts.shape
    head = struct.pack("<5i", 30, m, n, 0, 4) + b"val\0"
    (folder / f"{name}.mat").write_bytes(head + pack(16, counts.T.ravel().tolist()))
    names = ["I", "II", "V1", "V2"]
    lines = [f"{name} {m} 500 {n} 12-May-2020 12:33:59"]
    lines += [f"{name}.mat 16+24 1000.0(0)/mV 16 0 {c[0]} 0 0 {names[k]}" for k, c in enumerate(counts.tolist())]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.hea"


def write_edf(
    path: Path, signals: list[tuple[str, str, np.ndarray, int]], *, records: int = 2, seconds: float = 1.0,
    reserved: str = "", wide: int = 2,
) -> Path:  # fmt: skip
    """EDF (or BDF) of (label, unit, counts (sample,), samples a record); counts / 10 are the values."""
    top = 2 ** (8 * wide - 1)

    def cells(values: list[object], width: int) -> bytes:
        return b"".join(str(v).ljust(width)[:width].encode("latin-1") for v in values)

    n = len(signals)
    start = b"0".ljust(8) if wide == 2 else b"\xffBIOSEMI"
    head = start + cells(["patient", "recording"], 80) + cells(["01.01.20", "00.00.00", 256 * (n + 1)], 8)
    head += cells([reserved], 44) + cells([records, seconds], 8) + cells([n], 4)
    head += cells([s[0] for s in signals], 16) + cells([""] * n, 80) + cells([s[1] for s in signals], 8)
    head += cells([f"{-top / 10:.1f}"] * n, 8) + cells([f"{(top - 1) / 10:.1f}"] * n, 8)
    head += cells([-top] * n, 8) + cells([top - 1] * n, 8) + cells([""] * n, 80)
    head += cells([s[3] for s in signals], 8) + cells([""] * n, 32)
    body = b""
    for record in range(records):
        for _, _, counts, per_record in signals:
            part = counts[record * per_record : (record + 1) * per_record].tolist()
            body += b"".join(struct.pack("<i", v)[:wide] for v in part)
    path.write_bytes(head + body)
    return path
