"""Small models on disk, and a canary that hostile files would release."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

CARD: dict[str, Any] = {
    "schema": "regard.card/1",
    "name": "tiny",
    "zoo": "small-regressor",
    "kwargs": {"widths": [2, 3]},
    "weights": "weights.safetensors",
    "inputs": [{"name": "image", "orientation": "PL", "shape": [16, 16], "unit": "grey level"}],
    "output": {"kind": "regression", "names": ["bmd"], "units": ["g/cm2"]},
}


class Payload:
    """Unpickling this makes the canary appear."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def payload(canary: Path) -> bytes:
    return pickle.dumps(Payload(canary))


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a card folder; keys replace those of the card, and a value of ... removes a key."""

    def write(network: nn.Module | None = None, *, folder: str = "model", **changes: Any) -> Path:
        from regard.models.zoo.small import small_regressor

        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        card = {k: v for k, v in {**CARD, **changes}.items() if v is not ...}
        (path / "card.yaml").write_text(yaml.safe_dump(card))
        network = small_regressor(widths=(2, 3)) if network is None else network
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path / "weights.safetensors")
        return path

    return write


@pytest.fixture
def tiny() -> nn.Module:
    from regard.models.zoo.small import small_regressor

    torch.manual_seed(3)
    return small_regressor(widths=(2, 3)).eval()


@pytest.fixture
def write_card() -> Callable[..., None]:
    """Write the card of a program, with changed keys."""

    def write(path: Path, **changes: Any) -> None:
        plain = {k: v for k, v in CARD.items() if k not in ("zoo", "kwargs", "weights")}
        path.write_text(yaml.safe_dump({**plain, **changes}))

    return write
