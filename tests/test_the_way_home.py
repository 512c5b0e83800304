"""What belongs to a map goes home as the map does: standard errors, members, and the grid of an output image."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import regard
from regard.case.bring_home import bring_home
from regard.core.errors import ReferenceInputError
from regard.core.explainer import Attribution
from regard.core.quantity import Quantity
from regard.models import ModelCard
from regard.models.case import prepare_case

SHAPE = (6, 7, 5)


def card(shape: tuple[int, ...] = SHAPE, kind: str = "regression", ranges: dict | None = None) -> ModelCard:
    """A network whose grid is resized to ``shape``, whatever the scan's."""
    entry = {
        "name": "image", "channels": 1, "orientation": "RAS", "shape": list(shape), "fit": "resize", "unit": "HU",
        "normalise": "none",
    }  # fmt: skip
    output = {"kind": kind, "names": ["density"], "units": ["mg/cm3"], "activation": "none"}
    trained = {"n": 5, "ranges": ranges or {}}
    return ModelCard.model_validate({"name": "m", "inputs": [entry], "output": output, "trained_on": trained})


class Wavy(nn.Module):
    """A curved function of all voxels in which neighbours interact, with weights of a seed."""

    def __init__(self, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin((x[:, 0] * self.weights).sum(2)).flatten(1).sum(1, keepdim=True) * 3


def scan(times: float = 1, seed: int = 1) -> regard.Volume:
    shape = [round(n * times) for n in SHAPE]
    values = torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed)) * 2
    return regard.Volume(values, np.diag([-2.0 / times, 2.0 / times, 2.0 / times, 1]), "HU")


@pytest.mark.parametrize("times", [2, 4, 0.5])
def test_the_error_of_a_contribution_is_that_of_the_map_at_home(times: float) -> None:
    """Maps with known errors are carried one by one; their spread at home is the error that is stated there."""
    part = prepare_case(regard.Model(Wavy(), card()), {"image": scan(times)}).parts[0]
    generator = torch.Generator().manual_seed(0)
    error = torch.rand(1, 1, *SHAPE, generator=generator, dtype=torch.float64) + 0.1
    relevance = torch.randn(1, 1, *SHAPE, generator=generator, dtype=torch.float64)

    def home(m: Tensor) -> Tensor:
        found = Attribution((m,), torch.zeros(1), standard_error=(error,))
        return bring_home(part, [found], 0, Quantity.CONTRIBUTION)["relevance"][0]

    found = Attribution((relevance,), torch.zeros(1), standard_error=(error,))
    stated = bring_home(part, [found], 0, Quantity.CONTRIBUTION)["standard_error"][0]
    shared = torch.randn(400, generator=generator, dtype=torch.float64)
    together = torch.stack([home(relevance + z * error) for z in shared]).std(0) / shared.std()
    torch.testing.assert_close(stated, together, rtol=1e-9, atol=1e-12)
    apart = torch.stack(
        [home(relevance + torch.randn(error.shape, generator=generator) * error) for _ in range(400)]
    ).std(0)
    assert bool((apart <= 1.2 * stated).all())
    if times == 4:
        # Well inside a network voxel's share nothing is added up: the bound is the error itself.
        assert float((apart / stated).max()) > 0.9


@pytest.mark.parametrize("times", [1, 2, 4])
def test_a_finer_scan_does_not_grey_a_map(times: int) -> None:
    """Law: median error over the map's largest value does not grow with the scan's samples."""
    found = regard.explain(
        regard.Model(Wavy(), card()), scan(times), "shapley:n_segments=20,n_samples=8,tolerance=0.000001"
    )
    share = float(found.standard_error.tensor.median() / found.relevance.tensor.abs().max())
    assert 0.005 < share < 0.2
    assert found.resolved() is not None
    assert float(found.resolved().double().mean()) > 0.3


@pytest.mark.parametrize("method", ["smoothgrad:n_samples=16", "shapley:n_segments=8,n_samples=8,tolerance=0.000001"])
def test_the_error_of_an_ensemble_is_that_of_its_mean(method: str) -> None:
    """Three members: the root of the summed squares over three, member by member from maps of their own."""
    members = [regard.Model(Wavy(s), card()) for s in range(3)]
    volume = scan(2)
    singles = [regard.explain(m, volume, method).standard_error.tensor.double() for m in members]
    found = regard.explain(regard.Ensemble(members), volume, method).standard_error.tensor.double()
    assert float(found.max()) > 0
    torch.testing.assert_close(found, sum(s**2 for s in singles).sqrt() / 3, rtol=1e-5, atol=1e-8)


def test_members_whose_remainders_cancel_carry_a_warning() -> None:
    class Opposed(nn.Module):
        """f(x) = s w.x^2 with s of either sign: half of it is missed by the first order, with the sign of s."""

        def __init__(self, sign: float) -> None:
            super().__init__()
            self.sign = nn.Parameter(torch.tensor(sign))

        def forward(self, x: Tensor) -> Tensor:
            return self.sign * x.square().flatten(1).sum(1, keepdim=True) + x.flatten(1).sum(1, keepdim=True)

    model = regard.Ensemble([regard.Model(Opposed(1.0), card()), regard.Model(Opposed(-1.0), card())])
    found = regard.explain(model, scan(), "input-x-gradient")
    assert abs(found.completeness_error) < 1e-3 * found.notes["completeness_error_rms"]
    assert any("members' maps miss" in w for w in found.warnings), found.warnings


def test_an_empty_map_is_told_before_it_is_shown() -> None:
    class Blind(Wavy):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(0 * x)

    found = regard.explain(regard.Model(Blind(), card()), scan(2), "gradient")
    assert any("0 everywhere" in w for w in found.warnings)


def test_members_that_cancel_leave_an_empty_mean_and_say_so() -> None:
    class Turned(Wavy):
        def forward(self, x: Tensor) -> Tensor:
            return -super().forward(x)

    members = [regard.Model(Wavy(), card()), regard.Model(Turned(), card())]
    found = regard.explain(regard.Ensemble(members), scan(), "gradient")
    assert float(found.relevance.tensor.abs().max()) == 0
    assert any("the map is 0 everywhere" in w for w in found.warnings)


@pytest.mark.parametrize("pooled", [2, 4])
def test_a_voxel_of_a_coarser_output_is_the_one_that_covers_it(pooled: int) -> None:
    """The output's grid begins half a step before the input's: voxel by voxel along an axis, by its receptive field."""

    class Pool(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.avg_pool3d(x, (pooled, 1, 1))

    shape = (16, 3, 2)
    volume = regard.Volume(torch.rand(1, *shape), np.diag([2.0, 2, 2, 1]), "HU")
    model = regard.Model(Pool(), card(shape, "image"))
    for i in range(16):
        found = regard.explain(model, volume, "gradient", target=regard.Voxel((i, 1, 1))).relevance.tensor[0]
        first = i // pooled * pooled
        seen = (found.abs() > 1e-9).nonzero()
        assert seen[:, 0].tolist() == list(range(first, first + pooled)), i
        assert set(seen[:, 1].tolist()) == set(seen[:, 2].tolist()) == {1}


def test_without_a_tolerance_a_reference_must_come_within_a_hundredth_of_the_cards_range() -> None:
    model = regard.Model(Wavy(), card(ranges={"output": [0.0, 50.0]}))
    other = scan(seed=2)
    value = regard.explain_case(model, other, []).prediction
    near = regard.ReferenceValue(value + 0.45, among=[other])
    found = regard.explain(model, scan(), "integrated-gradients", reference=near)
    assert found.reference["value"] == pytest.approx(value, abs=1e-5)
    with pytest.raises(ReferenceInputError, match=r"at most 0\.5 away"):
        regard.explain(
            model, scan(), "integrated-gradients", reference=regard.ReferenceValue(value + 0.55, among=[other])
        )


@pytest.mark.parametrize("tolerance", [0.5, 0.01])
def test_a_searched_reference_comes_within_a_tenth_of_the_tolerance(tolerance: float) -> None:
    model, volume = regard.Model(Wavy(), card()), scan()
    wanted = regard.explain_case(model, volume, []).prediction + 4
    found = regard.explain(
        model, volume, "input-x-gradient", reference=regard.ReferenceValue(wanted, tolerance=tolerance)
    )
    assert abs(found.reference["value"] - wanted) <= 0.1 * tolerance
