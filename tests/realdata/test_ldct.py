"""A real denoiser of low-dose CT on real slices with simulated noise, and a real low-contrast phantom.

The data folder is named by the environment variable ``REGARD_DATA``.
"""

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from regard.cli import main
from regard.evidence.restoration import mean_square, similarity
from regard.models import Model, load_model
from regard.models.zoo.classical import non_local_means

CARD = Path(__file__).parent / "models" / "ldct"
WEIGHTS = "weights/ldct_denoise_ts_densenet_bennyzhang.safetensors"
WINDOW = (-160.0, 240.0)
PART = (slice(192, 320), slice(112, 240))
"""Rows and columns that are compared: mostly liver."""


@pytest.fixture(scope="module")
def model(data: Path) -> Model:
    return load_model(CARD, weights=data / WEIGHTS, trust=True)


def slices(data: Path) -> tuple[Tensor, Tensor]:
    """Parts of all slices at low dose and as they were taken (slice, 1, row, column) [HU]."""
    pairs = []
    for path in sorted((data / "ct_ldct_simulated").glob("*.npz")):
        with np.load(path) as arrays:
            pairs.append([arrays[k][PART].astype(np.float32) for k in ("simulated_low_dose_hu", "routine_hu")])
    low, full = (torch.tensor(np.stack(part))[:, None] for part in zip(*pairs, strict=True))
    return low, full


def test_the_real_denoiser_beats_the_scan_and_non_local_means(data: Path, model: Model) -> None:
    low, full = slices(data)
    scale = model.card.inputs[0].normalise
    with torch.no_grad():
        made = torch.cat([model.network((x[None] - scale.mean) / scale.std) for x in low])  # type: ignore[operator]
    wanted = full.clamp(*WINDOW)
    means = non_local_means(float((low - full).std()))(low)
    errors = {k: mean_square(v.clamp(*WINDOW), wanted) for k, v in (("scan", low), ("means", means), ("net", made))}
    likeness = {k: similarity(v.clamp(*WINDOW), wanted, 400.0) for k, v in (("means", means), ("net", made))}
    assert len(low) == 6
    assert bool((errors["net"] < errors["means"]).all()) and bool((errors["means"] < errors["scan"]).all())
    assert bool((likeness["net"] > likeness["means"]).all())
    found = {k: round(float(v.mean()), 1) for k, v in errors.items()}
    assert found == pytest.approx({"scan": 40.4, "means": 31.7, "net": 24.9}, abs=0.3)


def test_the_noise_of_a_scanned_phantom_goes_with_the_dose(data: Path) -> None:
    with np.load(data / "ct_lowcontrast_phantom" / "lcd_ct_cct189.npz") as arrays:
        scans = {d: arrays[f"fbp_dose{d}_signal_absent"].astype(float) for d in ("010", "055", "100")}
    inner = (slice(None), slice(96, 160), slice(96, 160))
    power = {d: float((s - s.mean(0))[inner].var() * 7 / 6) for d, s in scans.items()}
    assert power["010"] / power["100"] == pytest.approx(10.0, rel=0.05)
    assert power["055"] / power["100"] == pytest.approx(1 / 0.55, rel=0.05)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_the_real_denoiser_does_not_see(data: Path, model: Model, tmp_path: Path) -> None:
    with np.load(data / "ct_ldct_simulated" / "slice_01.npz") as arrays:
        image = arrays["simulated_low_dose_hu"].astype(np.float32)
        spacing = arrays["spacing_mm"].astype(float)
    affine = np.diag([-spacing[1], -spacing[0], 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(image.T[..., None].copy(), affine), tmp_path / "slice.nii.gz")
    out = tmp_path / "run"
    words = ["invariances", str(CARD), str(tmp_path / "slice.nii.gz"), "--weights", str(data / WEIGHTS), "--trust"]
    words += ["--patch", "48", "--at", "170,250", "--n", "4", "--steps", "12", "--controls", "2", "-q", "-o", str(out)]
    assert main(words) == 0
    with (out / "samples.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, dialect="excel-tab"))
    assert len(rows) == 4 and all(float(r["d_prime"]) <= 1.0 for r in rows)
    # Of a realisation of noise the network passes on much less than of blobs: it is a denoiser.
    leakage = {float(r["scale"]): float(r["leakage"]) for r in rows}
    assert leakage[0.0] < 0.5 < leakage[8.0]
    scores = json.loads((out / "scores.json").read_text())["scores"]
    assert scores["identity"]["distance"]["value"] <= 1.05
    scale = model.card.inputs[0].normalise
    place = (slice(146, 194), slice(226, 274), 0)
    before = torch.tensor(nibabel.load(tmp_path / "slice.nii.gz").get_fdata(dtype=np.float32)[place])
    for row in rows:
        after = nibabel.load(out / "samples" / f"slice_sample-{row['sample']}.nii.gz").get_fdata(dtype=np.float32)
        pair = [v.T[None, None] for v in (before, torch.tensor(after[..., 0]))]
        with torch.no_grad():
            answers = [model.network((v - scale.mean) / scale.std) for v in pair]  # type: ignore[operator]
        change = float((answers[1] - answers[0]).norm() / (pair[1] - pair[0]).norm())
        assert change == pytest.approx(float(row["leakage"]), rel=0.02)
