"""``--reshape``: said, kept in the run, and refused where it cannot be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import Regard
from safetensors.torch import save_file

NETWORK = """
import torch
from torch import nn


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 6, 4, stride=4), nn.LayerNorm(6), nn.Linear(6, 1)

    def forward(self, image):
        return self.head(torch.tanh(self.norm(self.conv(image).permute(0, 2, 3, 1))).mean((1, 2)))


def build():
    torch.manual_seed(4)
    return Last()
"""


@pytest.fixture
def last(write_model: Callable) -> Path:
    """A model whose last norm is on (batch, row, column, channel)."""
    model: Path = write_model("last", zoo=..., kwargs={}, factory="network.py:build")
    (model / "network.py").write_text(NETWORK)
    built: dict[str, Any] = {}
    exec(NETWORK, built)
    save_file(dict(built["build"]().state_dict()), model / "weights.safetensors")
    return model


def test_how_a_layer_lies_is_told_by_itself_said_kept_and_refused_when_it_cannot_be(
    regard: Regard, last: Path, picture: Callable, tmp_path: Path
) -> None:
    base = ("explain", last, picture(), "--trust", "-q", "-m", "grad-ram", "-o")
    alone = regard(*base, tmp_path / "alone")
    assert alone.code == 0, alone.err
    said = regard(*base, tmp_path / "said", "--layer", "norm", "--reshape", "channels-last")
    assert said.code == 0, said.err
    for run, kept in (("alone", None), ("said", "channels-last")):
        sidecar = json.loads((tmp_path / run / "maps" / "scan_desc-gradram_relevance.json").read_text())
        assert (sidecar["layer"], sidecar["notes"]["reshape"]) == ("norm", "channels-last")
        assert yaml.safe_load((tmp_path / run / "run.yaml").read_text()).get("reshape") == kept
    maps = [(tmp_path / run / "maps" / "scan_desc-gradram_relevance.nii.gz").read_bytes() for run in ("alone", "said")]
    assert maps[0] == maps[1]
    assert regard(*base, tmp_path / "said", "--layer", "norm", "--reshape", "tokens:4x4").refused("reshape")
    assert regard(*base, tmp_path / "two", "--layer", "norm", "--reshape", "tokens:3x3").refused("tokens:14x14")
    assert regard(*base, tmp_path / "three", "--reshape", "nosuch").refused("reshape 'nosuch'", "channels-last")
    weighed = regard("weigh", tmp_path / "said", "--trust", "--quick", "--n-null", 9, "-q")
    assert weighed.code == 0, weighed.err
