"""Records kept as ``.npz`` written as recordings: ``python tests/realdata/signals.py DATA OUT``.

Of the folder ``ecg_12lead`` each record becomes a challenge pair (``.hea``, ``.mat``), of ``ecg_mitbih`` a WFDB record
(``.hea`` and ``.dat``) and a table with times (``.csv``).
"""

import csv
import struct
import sys
from pathlib import Path

import numpy as np

__all__ = ["write_all"]


def _pair(folder: Path, name: str, samples: np.ndarray, rate: int, leads: list[str]) -> Path:
    m, n = samples.shape
    head = struct.pack("<5i", 30, m, n, 0, 4) + b"val\0"
    (folder / f"{name}.mat").write_bytes(head + samples.T.astype("<i2").tobytes())
    lines = [f"{name} {m} {rate} {n}"]
    lines += [
        f"{name}.mat 16+24 1000.0(0)/mV 16 0 {row[0]} 0 0 {lead}" for row, lead in zip(samples, leads, strict=True)
    ]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.hea"


def write_all(data: Path, out: Path) -> list[Path]:
    """Write every record; gives back the headers."""
    out.mkdir(parents=True, exist_ok=True)
    made = []
    with (data / "ecg_12lead" / "labels.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            samples = np.load(data / "ecg_12lead" / f"{row['id']}.npz")["signal"]
            made.append(_pair(out, row["id"], samples, int(row["rate_hz"]), row["leads"].split()))
    for path in sorted((data / "ecg_mitbih").glob("*.npz")):
        samples = np.load(path)["signal"]
        (out / f"{path.stem}.dat").write_bytes(samples.astype("<i2").tobytes())
        header = f"{path.stem} 1 360 {len(samples)}\n{path.stem}.dat 16 200(0)/mV 16 0 {samples[0]} 0 0 MLII\n"
        (out / f"{path.stem}.hea").write_text(header)
        first = samples[:3600] / 200
        rows = (f"{k / 360:.6f},{v:g}" for k, v in enumerate(first.tolist()))
        (out / f"{path.stem}-10s.csv").write_text("time_s,MLII [mV]\n" + "\n".join(rows) + "\n")
        made.append(out / f"{path.stem}.hea")
    return made


if __name__ == "__main__":
    headers = write_all(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"{len(headers)} recordings in {sys.argv[2]}")  # noqa: T201
