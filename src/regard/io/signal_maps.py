"""Maps of signals as tables: times [s], and a column for each lead or one for all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regard.core.errors import CardError, FileError
from regard.core.plain_text import without_controls
from regard.core.spatial import over_channels
from regard.core.volume import Volume
from regard.io.atomic import write_bytes
from regard.io.guard import parsing, read_text

__all__ = ["ALL_LEADS", "of_leads", "read_columns", "read_signal_map", "save_signal", "signal_facts", "table_bytes"]

ALL_LEADS = "all leads"
"""Column of a map that takes all leads together."""

_LARGEST = 2**30


def signal_facts(scan: Volume) -> dict[str, Any] | None:
    """What the sidecar of a map says of its recording; None for images."""
    if scan.signal is None:
        return None
    start = float(scan.affine[0, 3])
    return {"rate_hz": scan.signal.rate_hz, "start_s": start, "leads": list(scan.signal.leads), "unit": scan.unit}


def table_bytes(volume: Volume, columns: Sequence[str]) -> bytes:
    """A volume (column, sample, 1, 1) as a table with a column of times [s]; float32 to its last digit, NaN as n/a."""
    values = volume.tensor.detach().cpu().float().reshape(len(volume.tensor), -1).numpy()
    start, step = float(volume.affine[0, 3]), float(volume.affine[0, 0])
    names = [without_controls(c).replace("\t", " ").replace("\n", " ") for c in columns]
    lines = ["\t".join(["time_s", *names])]
    for k in range(values.shape[1]):
        cells = ("n/a" if np.isnan(v) else np.format_float_positional(v, trim="-", unique=True) if 1e-4 <= abs(v) < 1e6
                 else np.format_float_scientific(v, trim="-", unique=True) for v in values[:, k])  # fmt: skip
        lines.append("\t".join([f"{start + k * step:.9g}", *cells]))
    return ("\n".join(lines) + "\n").encode()


def of_leads(scan: Volume, said: Mapping[str, Any]) -> Volume:
    """A recording with the leads that a map is of, as its sidecar names them; an image as it is."""
    facts = said.get("signal")
    names = facts.get("leads") if isinstance(facts, Mapping) else None
    if scan.signal is None or not isinstance(names, list) or tuple(names) == scan.signal.leads:
        return scan
    have = {name.casefold(): n for n, name in enumerate(scan.signal.leads)}
    numbers = [have.get(str(name).casefold()) for name in names]
    known = [n for n in numbers if n is not None]
    return scan.lead_numbers(known) if len(known) == len(names) and known else scan


def save_signal(volume: Volume, path: str | Path) -> None:
    """Write a signal as such a table, whole or not at all; its channels by the names of its leads, else by number."""
    leads = () if volume.signal is None else volume.signal.leads
    numbers = [str(k + 1) for k in range(volume.n_channels)]
    write_bytes(path, table_bytes(volume, leads if len(leads) == volume.n_channels else numbers))


def read_columns(path: Path) -> tuple[list[str], torch.Tensor]:
    """Names of the columns after the first, and their values (column, sample), float32.

    Raises
    ------
    FileError
        If it is no such table.
    """
    text = read_text(path, "map of a signal", largest=_LARGEST)
    with parsing(path, "map of a signal", do="explain the case again"):
        lines = text.splitlines()
        header = lines[0].split("\t")
        rows = [[float("nan") if c == "n/a" else float(c) for c in line.split("\t")] for line in lines[1:]]
        values = np.array(rows, dtype=np.float64)
        if header[0] != "time_s" or values.ndim != 2 or values.shape[1] != len(header) or len(header) < 2:
            raise FileError(f"'{path}', whose first column is '{header[0][:40]}'", "time_s and a column a lead")
    return header[1:], torch.from_numpy(values[:, 1:].T.astype(np.float32).copy())


def read_signal_map(path: Path, said: Mapping[str, Any], unit: str) -> tuple[Volume, Volume | None]:
    """A map over all leads (1, sample, 1, 1), and by lead (lead, sample, 1, 1) where it tells them apart.

    Raises
    ------
    CardError
        If its sidecar does not say the rate.
    """
    facts = said.get("signal")
    numbers = [facts.get(k) for k in ("rate_hz", "start_s")] if isinstance(facts, Mapping) else []
    if len(numbers) != 2 or not all(isinstance(n, (int, float)) for n in numbers):
        got = f"the sidecar of '{path}' without signal: rate_hz and start_s"
        raise CardError(got, "what explain wrote", "explain the case again")
    names, values = read_columns(path)
    rate, start = (float(n) for n in numbers)  # type: ignore[arg-type]
    leads = Volume.of_signal(values, rate, names, unit=unit, start_s=start)
    if len(names) == 1:
        return leads, None
    total = over_channels(leads.tensor.double()[None])[0].float()
    return Volume.of_signal(total[..., 0, 0], rate, [ALL_LEADS], unit=unit, start_s=start), leads
