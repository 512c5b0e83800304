"""Attacks on a model and a scan: budgets in the scan's intensities, images and maps on its grid."""

import numpy as np
import pytest
import torch
from torch import nn

from regard.core.target import Output
from regard.core.volume import Volume
from regard.explainers.attack import AttackPlan, attack_case
from regard.explainers.spec import parse_methods
from regard.models import Model
from regard.models.card import ModelCard

SHAPE = (6, 5)


class _Sum(nn.Module):
    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * self.weights).flatten(1).sum(1, keepdim=True)


def model_of(weights: torch.Tensor, **more: object) -> Model:
    spec = {"unit": "HU", "window": [-500, 1500], "normalise": {"low": -1, "high": 1}, "orientation": "RA", **more}
    card = {
        "name": "sum", "inputs": [spec],
        "output": {"kind": "regression", "names": ["sum"], "units": ["g"]},
    }  # fmt: skip
    return Model(_Sum(weights), ModelCard.model_validate(card))


def scan_of(*shape: int) -> Volume:
    values = torch.rand(1, *shape, 1, generator=torch.Generator().manual_seed(1))
    return Volume(400 * values + 100, np.diag([2.0, 2.0, 2.0, 1.0]), "HU", "", True)


def test_budgets_are_in_hounsfield_units_and_the_scan_comes_home() -> None:
    weights = torch.randn(1, 1, *SHAPE, generator=torch.Generator().manual_seed(2))
    scale = 2 / 2000
    farthest = 30 * scale * float(weights.abs().sum())
    method, *others = parse_methods(["gradient", "input-x-gradient"])
    plan = AttackPlan("change-keep", (30.0,), tolerance=farthest, controls=("gamma",))
    scan = scan_of(*SHAPE)
    found = attack_case(model_of(weights), scan, method, plan, seen_by=others, case="a")
    made, other, control = found.result.attempts
    assert (made.unit, made.prediction_unit) == ("HU", "g")
    assert [a.method for a in (made, other, control)] == ["gradient", "input-x-gradient", "gradient"]
    assert made.linf == pytest.approx(30, rel=1e-5)
    assert made.linf <= 30
    assert made.drift == pytest.approx(farthest, rel=1e-3)
    attacked = found.scan(made)
    assert attacked.shape == scan.shape
    assert np.allclose(attacked.affine, scan.affine)
    assert float((attacked.tensor - scan.tensor).abs().max()) == pytest.approx(30, rel=1e-4)
    assert found.value_of_scan(made) == pytest.approx(made.after.value, rel=1e-4)
    before, after = found.maps(made)
    # Output per intensity of the scan, not of the network's input.
    assert torch.allclose(before.tensor.flatten().sort().values, (scale * weights).flatten().sort().values, rtol=1e-4)
    assert torch.equal(before.tensor, after.tensor)


def test_the_range_is_the_card_s_window() -> None:
    weights = torch.ones(1, 1, *SHAPE)
    (method,) = parse_methods(["gradient"])
    plan = AttackPlan("change-keep", (5000.0,), tolerance=1e6, controls=())
    made = attack_case(model_of(weights), scan_of(*SHAPE), method, plan).result.attempts[0]
    assert float(made.image.max()) <= 1500
    assert float(made.image.min()) >= -500
    assert made.drift > 0


def test_constants_that_follow_the_image_are_told_apart() -> None:
    """A z-score takes a common shift away: attacked with constants held fixed, the saved scan says something else."""
    weights = torch.ones(1, 1, *SHAPE) / 30
    (method,) = parse_methods(["gradient"])
    plan = AttackPlan("change-keep", (50.0,), tolerance=1e-3, controls=())
    found = attack_case(
        model_of(weights, window=None, normalise="zscore"), scan_of(*SHAPE), method, plan, target=Output(),
        bounds=(-1000.0, 3000.0),
    )  # fmt: skip
    made = found.result.attempts[0]
    assert abs(made.after.value - made.before.value) > 0.01
    assert found.value_of_scan(made) == pytest.approx(0, abs=1e-4)
