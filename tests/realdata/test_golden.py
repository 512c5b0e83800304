"""The networks of the card folders reproduce the numbers that somebody else obtained with them.

The data folder is named by the environment variable ``REGARD_DATA``; the numbers are those of its
``weights/golden_outputs.json``, and rows about images which that folder does not hold are left out.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import nn

if not os.environ.get("REGARD_DATA"):
    pytest.skip(reason="REGARD_DATA does not name a data folder", allow_module_level=True)

DATA = Path(os.environ["REGARD_DATA"])
WEIGHTS = DATA / "weights"
MODELS = Path(__file__).parent / "models"
GOLDEN: dict[str, Any] = json.loads((WEIGHTS / "golden_outputs.json").read_text())

WEIGHT_FILES = {
    "tuberculosis": WEIGHTS / "cxr_tuberculosis_mobilenetv2_alvinchow97.safetensors",
    "bone-suppression": WEIGHTS / "cxr_bone_suppression_kalisz_ae_xkev1n.safetensors",
    "ldct": WEIGHTS / "ldct_denoise_ts_densenet_bennyzhang.safetensors",
    "brain-segmentation": WEIGHTS / "brain_t1_meshnet_model18cls.safetensors",
}

# Tolerances stated with the numbers.
LOGIT = 1e-3
GREY_LEVEL = 0.05
HOUNSFIELD = 0.05
ROOT_MEAN_SQUARE = 0.01
# Half a unit of the fourth decimal, to which correlations are printed.
CORRELATION = 1e-4

TUBERCULOSIS = {name: value for name, value in GOLDEN["tuberculosis_logit"]["values"].items() if (DATA / name).exists()}
SUPPRESSION = {
    name.removeprefix("kalisz_ae_"): row
    for name, row in GOLDEN["bone_suppression"]["values"].items()
    if name.startswith("kalisz_ae_")
    and (DATA / "cxr_bone_suppression" / f"{name.removeprefix('kalisz_ae_')}_cxr.png").exists()
}
DENOISING = {
    name.removeprefix("ts_densenet_"): row
    for name, row in GOLDEN["ldct_denoising"]["values"].items()
    if (DATA / "ct_ldct_simulated" / name.removeprefix("ts_densenet_")).exists()
}


def load(name: str) -> nn.Module:
    """Build the network of a card folder and give it its weights.

    Parameters
    ----------
    name : str
        Name of the folder.

    Returns
    -------
    nn.Module
        The network, in evaluation mode.
    """
    specification = importlib.util.spec_from_file_location(
        f"card_{name.replace('-', '_')}", MODELS / name / "network.py"
    )
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    network: nn.Module = module.build(**card(name)["kwargs"])
    network.load_state_dict(load_file(WEIGHT_FILES[name]), strict=True)
    return network.eval()


def card(name: str) -> dict[str, Any]:
    """Read the card of a folder."""
    content: dict[str, Any] = yaml.safe_load((MODELS / name / "card.yaml").read_text())
    return content


def predict(network: nn.Module, image: np.ndarray) -> np.ndarray:
    """Run a network on one image of its own scale.

    Parameters
    ----------
    network : nn.Module
        The network.
    image : np.ndarray
        The image, channels first.

    Returns
    -------
    np.ndarray
        The output without its batch axis.
    """
    with torch.inference_mode():
        return network(torch.from_numpy(image.astype(np.float32))[None])[0].double().numpy()


def root_mean_square(difference: np.ndarray) -> float:
    """Compute the root of the mean square of a difference."""
    return float(np.sqrt(np.mean(difference**2)))


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """All four networks with their weights."""
    return {name: load(name) for name in WEIGHT_FILES}


def test_there_are_rows() -> None:
    """The data folder holds an image for each kind of number."""
    assert TUBERCULOSIS and SUPPRESSION and DENOISING


@pytest.mark.parametrize("name", WEIGHT_FILES)
def test_card_names_the_weights(name: str, networks: dict[str, nn.Module]) -> None:
    """The card is that of the weight file, and its layer is a module of the network."""
    content = card(name)
    assert content["name"] == name
    assert content["sha256"] == hashlib.sha256(WEIGHT_FILES[name].read_bytes()).hexdigest()
    assert content["layer"] in dict(networks[name].named_modules())
    assert len(content["output"]["names"]) == len(content["output"]["units"])


@pytest.mark.parametrize(("name", "logit"), TUBERCULOSIS.items())
def test_tuberculosis(name: str, logit: float, networks: dict[str, nn.Module]) -> None:
    """The logit of tuberculosis is the golden one."""
    picture = Image.open(DATA / name).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    image = np.moveaxis(np.asarray(picture, dtype=np.float64) / 127.5 - 1, -1, 0)
    output = predict(networks["tuberculosis"], image)
    assert output.shape == (1,)
    assert output[0] == pytest.approx(logit, abs=LOGIT)


@pytest.mark.parametrize(("name", "row"), SUPPRESSION.items())
def test_bone_suppression(name: str, row: dict[str, Any], networks: dict[str, nn.Module]) -> None:
    """The soft-tissue image is the golden one."""
    folder = DATA / "cxr_bone_suppression"
    image = np.asarray(Image.open(folder / f"{name}_cxr.png").convert("L"), dtype=np.float64)
    truth = np.asarray(Image.open(folder / f"{name}_soft.png").convert("L"), dtype=np.float64)
    assert image.shape == (512, 512)
    output = predict(networks["bone-suppression"], image[None] / 255)[0]
    assert output.shape == image.shape
    assert output.mean() == pytest.approx(row["mean"], abs=GREY_LEVEL)
    assert output.std() == pytest.approx(row["std"], abs=GREY_LEVEL)
    for place_row, place_column, value in row["pixels_rc_value"]:
        assert output[place_row, place_column] == pytest.approx(value, abs=GREY_LEVEL)
    assert root_mean_square(image - truth) == pytest.approx(row["rmse_input_vs_soft"], abs=ROOT_MEAN_SQUARE)
    assert root_mean_square(output - truth) == pytest.approx(row["rmse_output_vs_soft"], abs=ROOT_MEAN_SQUARE)
    correlation = np.corrcoef((image - output).ravel(), (image - truth).ravel())[0, 1]
    assert correlation == pytest.approx(row["corr_of_removed_part_with_true_bone"], abs=CORRELATION)


@pytest.mark.parametrize(("name", "row"), DENOISING.items())
def test_denoising(name: str, row: dict[str, Any], networks: dict[str, nn.Module]) -> None:
    """The denoised slice is the golden one."""
    with np.load(DATA / "ct_ldct_simulated" / name) as arrays:
        image = arrays["simulated_low_dose_hu"].astype(np.float64)
        truth = arrays["routine_hu"].astype(np.float64)
    scaled = ((image + 1024) / 4096 - 0.1225) / 0.1188
    output = predict(networks["ldct"], scaled[None])[0]
    assert output.shape == image.shape
    assert output.mean() == pytest.approx(row["output_mean_hu"], abs=HOUNSFIELD)
    for place_row, place_column, value in row["pixels_rc_hu"]:
        assert output[place_row, place_column] == pytest.approx(value, abs=HOUNSFIELD)
    before, after = row["rmse_hu_full_in_out"]
    assert root_mean_square(image - truth) == pytest.approx(before, abs=ROOT_MEAN_SQUARE)
    assert root_mean_square(output - truth) == pytest.approx(after, abs=ROOT_MEAN_SQUARE)
    before, after = row["rmse_hu_window_-160_240_in_out"]
    image, output, truth = (np.clip(array, -160, 240) for array in (image, output, truth))
    assert root_mean_square(image - truth) == pytest.approx(before, abs=ROOT_MEAN_SQUARE)
    assert root_mean_square(output - truth) == pytest.approx(after, abs=ROOT_MEAN_SQUARE)
