"""The study's measures on two real dual-energy pairs and a published autoencoder: two rows, no interval."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from regard.datasets.radiograph_images import grey_of, square
from regard.models import load_model
from regard.studies.bone_suppression.measures import likenesses, suppression

MODELS = Path(__file__).parent / "models"
PAIRS = ("szch_0", "szch_2")


def pair(data: Path, name: str) -> tuple[Tensor, Tensor]:
    """A radiograph and its soft tissue (1, 1, 512, 512) in [0, 1]."""
    folder = data / "cxr_bone_suppression"
    return tuple(square(grey_of(folder / f"{name}_{kind}.png"), 512) / 255 for kind in ("cxr", "soft"))


@pytest.fixture(scope="module")
def network(data: Path) -> Any:
    """The Kalisz autoencoder of xKev1n/xU-NetFullSharp (MIT)."""
    weights = data / "weights" / "cxr_bone_suppression_kalisz_ae_xkev1n.safetensors"
    return load_model(MODELS / "bone-suppression", weights=weights, trust=True).network


@pytest.mark.parametrize("name", PAIRS)
def test_measures_agree_with_what_was_measured_elsewhere(data: Path, network: Any, name: str) -> None:
    """Root mean square errors of somebody else's run give the bone suppression ratio."""
    said = json.loads((data / "weights" / "golden_outputs.json").read_text())["bone_suppression"]["values"]
    row = said[f"kalisz_ae_{name}"]
    image, soft = pair(data, name)
    with torch.no_grad():
        found = network(image) / 255  # it answers in grey levels
    values = {k: float(v[0]) for k, v in {**likenesses(found, soft), **suppression(found, soft, image)}.items()}
    expected = 1 - (row["rmse_output_vs_soft"] / row["rmse_input_vs_soft"]) ** 2
    assert values["bone_suppression_ratio"] == pytest.approx(expected, abs=5e-3)
    before = likenesses(image, soft)
    assert float(before["ms_ssim"][0]) < values["ms_ssim"] < 1
    assert 0 < values["bone_removed"] < 0.2  # of another subtraction than the one that it was trained on
