"""`regard.explain` on networks whose output has not one row per case."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import regard
from regard.case.explaining import explain_case
from regard.core.errors import RowsError, TargetError
from regard.core.image_target import Contrast, ErrorTo, Mean, Voxel
from regard.core.target import AbstractTarget, Logit, Output
from regard.explainers import METHODS
from regard.models import ModelCard

SIZE = (6, 7, 5)


def model(network: nn.Module, kind: str = "classification") -> regard.Model:
    entry = {
        "name": "image", "channels": 1, "orientation": "RAS", "spacing_mm": None, "shape": list(SIZE),
        "fit": "crop-pad", "unit": "HU", "window": None, "normalise": "none",
    }  # fmt: skip
    output = {"kind": kind, "names": ["a", "b", "c"], "units": ["1"] * 3, "activation": "none"}
    if kind == "image":
        output = {"kind": kind, "names": ["image"], "units": ["HU"], "activation": "none"}
    return regard.Model(network, ModelCard.model_validate({"name": "m", "inputs": [entry], "output": output}))


def scan() -> regard.Volume:
    values = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(1))
    return regard.Volume(values, np.diag([2.0, 2, 2, 1]), "HU")


class Network(nn.Module):
    def __init__(self, end: Any) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.Softplus())
        self.head = nn.Linear(2, 3)
        self.end = end

    def forward(self, x: Tensor) -> Any:
        return self.end(self, self.features(x))


def squeezed(network: Network, features: Tensor) -> Tensor:
    return network.head(features.mean((2, 3, 4))).squeeze()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", list(METHODS))
def test_a_squeezed_classifier_gives_no_class_by_accident(name: str) -> None:
    for target in (Logit(1), Output(0), 2, None, lambda output: output):
        with pytest.raises(RowsError, match=r"\(3,\) for (an output of \(3,\) and )?1 case"):
            regard.explain(model(Network(squeezed)), scan(), name, target=target)


def test_a_function_of_a_squeezed_output_is_explained_and_no_output_is_named() -> None:
    def right(network: Network, features: Tensor) -> Tensor:
        return squeezed(network, features)[None]

    network = Network(right)
    again = explain_case(model(network), scan(), ["gradient"], target=1)
    assert list(again.outputs) == ["a", "b", "c"]
    network.end = squeezed
    other = explain_case(model(network), scan(), ["gradient"], target=lambda output: output[1:2])
    assert other.outputs == {}
    assert torch.equal(other.explanations[0].relevance.tensor, again.explanations[0].relevance.tensor)


REGION = regard.Volume((torch.arange(6)[:, None, None] < 3).expand(1, *SIZE).float(), np.diag([2.0, 2, 2, 1]), "HU")
TARGETS = [Mean(), Mean(REGION), Voxel((1, 2, 3)), Voxel(mm=(2.0, 2.0, 2.0)), ErrorTo(REGION)]


@pytest.mark.parametrize("target", [*TARGETS, Contrast(Mean(REGION), Mean())], ids=lambda t: t.label)
def test_an_image_without_channel_or_batch_axis_is_no_image_of_fewer_axes(target: AbstractTarget) -> None:
    without_channel = model(Network(lambda _, features: features.mean(1)), "image")
    with pytest.raises(TargetError, match=r"\(1, 6, 7, 5\).*3 spatial axes"):
        regard.explain(without_channel, scan(), "gradient", target=target)
    without_both = model(Network(lambda _, features: features.mean(1).squeeze()), "image")
    with pytest.raises(RowsError, match=r"\(6, 7, 5\) for 1 case"):
        regard.explain(without_both, scan(), "gradient", target=target)
    whole = model(Network(lambda _, features: features.mean(1, keepdim=True)), "image")
    assert bool(regard.explain(whole, scan(), "gradient", target=target).relevance.tensor.any())
