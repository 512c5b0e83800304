"""Tiny bundles on disk, and the tensor that Regard gives their network."""

import json
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import UNet

import regard

__all__ = ["UNET", "caught_by_regard", "write_bundle"]

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
