"""A bundle's preparation is MONAI's own: the same tensor at the network's first module, and maps that come home."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from tests.models import random_chains
from tests.models.monai_script import seen_by_network

import regard

UNET: dict[str, Any] = {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [2, 2],
                        "strides": [1], "norm": "batch"}  # fmt: skip
"""It takes any size: nothing is halved."""


def write_bundle(folder: Path, steps: list[dict[str, Any]], *, channels: int = 1, **further: Any) -> Path:
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    definition = {**UNET, "in_channels": channels, "spatial_dims": further.pop("n_axes", 3)}
    size = [None] * definition["spatial_dims"]
    image = {"type": "image", "num_channels": channels, "spatial_shape": size, "is_patch_data": False}
    pred = {"type": "image", "format": "segmentation", "channel_def": {"0": "background", "1": "blob"}}
    data = {"inputs": {"image": image}, "outputs": {"pred": pred}}
    (folder / "configs" / "metadata.json").write_text(json.dumps({"network_data_format": data}))
    content = {"network_def": definition, "preprocessing": {"_target_": "Compose", "transforms": steps}, **further}
    (folder / "configs" / "inference.json").write_text(json.dumps(content))
    torch.manual_seed(0)
    network = UNet(definition["spatial_dims"], channels, 2, (2, 2), (1,), norm="batch")
    torch.save(network.state_dict(), folder / "models" / "model.pt")
    return folder


def caught_by_regard(folder: Path, scans: Any) -> tuple[torch.Tensor, Any]:
    """Tensor at the network's first module while a scan is explained."""
    model = regard.load_model(folder)
    assert isinstance(model.network, torch.nn.Module)
    caught: list[torch.Tensor] = []
    first = next(m for m in model.network.modules() if not list(m.children()))
    handle = first.register_forward_pre_hook(lambda module, given: caught.append(given[0].detach().clone()))
    found = regard.explain(model, scans, "gradient", target=_corner)
    handle.remove()
    return caught[0], found


def _corner(output: torch.Tensor) -> torch.Tensor:
    return output.flatten(2)[:, 1].mean(1)


def compare(seed: int, folder: Path) -> list[str]:
    draw = np.random.default_rng(seed)
    labelled = bool(draw.random() < 0.3)
    steps = random_chains.random_chain(draw, labelled=labelled)
    image = random_chains.image_file(draw, folder / "image.nii.gz")
    bundle = write_bundle(folder / "bundle", steps)
    data = {"image": str(image), **({"label": str(image)} if labelled else {})}
    wanted, _ = seen_by_network(bundle, data)
    scan = regard.read(image)
    before = scan.tensor.clone()
    got, found = caught_by_regard(bundle, scan)
    assert torch.equal(scan.tensor, before), steps
    assert got.shape == wanted.shape, steps
    reach = float(wanted.max() - wanted.min()) or 1.0
    assert float((got - wanted).abs().max()) <= 1e-5 * reach, steps
    assert found.relevance.shape == scan.shape
    assert np.allclose(found.relevance.affine, scan.affine)
    return [str(s["_target_"]) for s in steps]


@pytest.mark.parametrize("seed", range(15))
def test_the_network_sees_what_monai_alone_gives_it(tmp_path: Path, seed: int) -> None:
    compare(seed, tmp_path)


@pytest.mark.slow
def test_two_hundred_random_chains_give_monais_tensor(tmp_path: Path) -> None:
    drawn: set[str] = set()
    for seed in range(1000, 1200):
        folder = tmp_path / str(seed)
        folder.mkdir()
        drawn |= set(compare(seed, folder))
    assert drawn >= {*random_chains.SPATIAL, *random_chains.INTENSITY}
