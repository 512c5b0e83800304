"""What a user of MONAI alone writes: the bundle's own preprocessing, then its network. Regard is not imported."""

from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn


def seen_by_network(folder: Path, data: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Tensor that reaches the network's first module, and the network's output, for files by their keys."""
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    network: nn.Module = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
    caught: list[Tensor] = []
    first = next(m for m in network.modules() if not list(m.children()))
    first.register_forward_pre_hook(lambda module, given: caught.append(given[0].detach().clone()))
    prepared = parser.get_parsed_content("preprocessing")(data)
    key = parser.get("network_key", "image")
    with torch.no_grad():
        output = network.eval()(prepared[key].as_tensor()[None].float())
    return caught[0], output
