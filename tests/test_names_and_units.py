"""What is explained is told by the card's name, in the unit of that very output."""

from pathlib import Path

import pytest
import torch
from torch import nn

import regard
from regard.core.volume import Volume
from regard.io import read_map, save_map
from regard.models.card import InputSpec, ModelCard, OutputSpec


def model(**output: object) -> regard.Model:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)
    )
    card = ModelCard(name="two", inputs=(InputSpec(orientation="PL"),), output=OutputSpec(**output))  # type: ignore[arg-type]
    return regard.Model(network.eval(), card)


SCAN = Volume(torch.rand(1, 12, 12, 1), torch.diag(torch.tensor([-1.0, -1, 1, 1])).numpy(), "grey level", "x")


@pytest.mark.parametrize(
    ("target", "asked", "unit"),
    [
        ("output:0", "bone density (output:0)", "mg/cm3"),
        ("output:1", "age (output:1)", "years"),
        ("logit:1", "logit of age (logit:1)", "logit"),
        ("probability:0", "probability of bone density (probability:0)", "probability"),
    ],
)
def test_a_target_has_the_name_and_the_unit_of_its_output(tmp_path: Path, target: str, asked: str, unit: str) -> None:
    two = model(kind="regression", names=("bone density", "age"), units=("mg/cm3", "years"))
    found = regard.explain(two, SCAN, "input-x-gradient", target=target)
    assert (found.asked, found.output_unit, found.unit) == (asked, unit, unit)
    save_map(found, tmp_path / "a_desc-x_relevance.nii.gz")
    back = read_map(tmp_path / "a_desc-x_relevance.nii.gz").explanation(SCAN)
    assert (back.asked, back.output_unit, back.target) == (asked, unit, target)


def test_one_unit_stands_for_all_and_no_name_is_made_up() -> None:
    found = regard.explain(model(kind="regression", units=("mm",)), SCAN, "gradient", target="output:1")
    assert (found.asked, found.output_unit, found.target_name) == ("output:1", "mm", "")
