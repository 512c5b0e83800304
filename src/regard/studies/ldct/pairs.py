"""A user's own scans at two doses: bad ones are rows of ``failures.tsv``, the others are split by patient."""

from typing import Any

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import CardError, InputError
from regard.datasets.dose_pairs import DosePair, load_pair, read_dose_pairs
from regard.explainers.generative.noise import estimate_noise
from regard.studies.ldct.config import LDCTConfig
from regard.studies.ldct.phantoms import varied_place
from regard.studies.ldct.slices import Scene, Slices
from regard.studies.run import StudyRun
from regard.studies.user_data import kept_data, readable

__all__ = ["pair_scenes", "pair_slices"]

_FEWEST = 3
_TRAIN = 0.7
_PER_SCAN = 8
"""Slices of a scan, evenly over its height."""


def _planes(volume: Tensor, size: int, least: int, case: str) -> Tensor:
    """Slices (slice, 1, row, column) of a scan (1, i, j, k), their middle ``size`` pixels where they are larger."""
    planes = volume[0].permute(2, 1, 0)[:, None]
    rows, columns = planes.shape[2:]
    side = min(size, rows, columns)
    if side < least:
        got = f"slices of {rows} x {columns} pixels in '{case}'"
        raise InputError(got, f"at least {least}", "give smaller train.patch and data.crop")
    top, left = (rows - side) // 2, (columns - side) // 2
    count = len(planes)
    picked = sorted({round((k + 0.5) * count / _PER_SCAN - 0.5) for k in range(_PER_SCAN)} & set(range(count)))
    return planes[picked][..., top : top + side, left : left + side].contiguous().float()


def _one(pair: DosePair, config: LDCTConfig, side: int | None) -> tuple[dict[str, Tensor], float]:
    low, full = load_pair(pair)
    least = max(config.train.patch, config.data.crop)
    found = {k: _planes(v.tensor, config.data.size, least, pair.case) for k, v in (("low", low), ("full", full))}
    if side is not None and found["low"].shape[-1] != side:
        got = f"slices of {found['low'].shape[-1]} pixels in '{pair.case}'"
        raise InputError(got, f"{side}, as in the first scan", "crop the scans to one size")
    return found, float(low.spacing[0])


def _read(run: StudyRun, config: LDCTConfig) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    assert run.data is not None
    said = read_dose_pairs(run.data)
    for case, error in said.failures.items():
        run.folder.add_failure(case, "read", error)
    parts: list[dict[str, Tensor]] = []
    rows: list[dict[str, Any]] = []

    def read(pair: DosePair) -> tuple[dict[str, Tensor], float]:
        return _one(pair, config, parts[0]["low"].shape[-1] if parts else None)

    for pair, (made, spacing) in readable(run, said.pairs, read):
        parts.append(made)
        rows += [
            {"case": f"{pair.case}-{k}", "patient": pair.patient, "spacing": spacing} for k in range(len(made["low"]))
        ]
    n_patients = len({r["patient"] for r in rows})
    if n_patients < _FEWEST:
        raise CardError(
            f"{n_patients} patients whose scans can be used in '{run.data}'", f"at least {_FEWEST}", "see failures.tsv"
        )
    return {k: torch.cat([p[k] for p in parts]) for k in parts[0]}, rows


def pair_slices(run: StudyRun, config: LDCTConfig) -> tuple[Slices, Slices]:
    """Slices to train on, and to test on, of the user's folder.

    Raises
    ------
    CardError
        If too few patients can be used.
    """
    tensors, rows = kept_data(run, "data/pairs", lambda: _read(run, config))
    patients = sorted({r["patient"] for r in rows})
    order = torch.randperm(len(patients), generator=randomness.generator(run.seed, "pairs", "split")).tolist()
    n_train = min(max(1, round(_TRAIN * len(patients))), len(patients) - 1)
    learned = {patients[n] for n in order[:n_train]}
    spacing = sum(r["spacing"] for r in rows) / len(rows)
    whole = Slices(
        tensors["low"],
        tensors["full"],
        None,
        tuple(r["case"] for r in rows),
        tuple(r["patient"] for r in rows),
        spacing,
    )
    parts = [[n for n, p in enumerate(whole.patients) if (p in learned) == wanted] for wanted in (True, False)]
    return whole.of(parts[0]), whole.of(parts[1])


def pair_scenes(config: LDCTConfig, test: Slices) -> list[Scene]:
    """Patches of the test patients, one each, with the noise that the patch itself shows."""
    side = config.data.crop
    found: list[Scene] = []
    for patient in list(dict.fromkeys(test.patients))[: config.explain.n_cases]:
        numbers = [n for n, p in enumerate(test.patients) if p == patient]
        n = numbers[len(numbers) // 2]
        row, column = varied_place(test.low[n], side // 2)
        cut = (slice(row - side // 2, row - side // 2 + side), slice(column - side // 2, column - side // 2 + side))
        image = test.low[n : n + 1, :, cut[0], cut[1]].contiguous()
        found.append(Scene(test.cases[n], patient, image, estimate_noise(image), None))
    return found
