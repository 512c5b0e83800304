"""Age and sex beside an image, a constant image, a constant channel: what nothing was compared with is not 0."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.core.errors import CapabilityError, InputError
from regard.core.explainer import AbstractExplainer
from regard.core.quantity import Quantity
from regard.explainers import METHODS
from regard.explainers.describe import describe
from regard.explainers.gradient.smoothgrad import SmoothGrad
from regard.explainers.perturbation.lime import LIME
from regard.explainers.perturbation.occlusion import Occlusion
from regard.explainers.perturbation.rise import RISE

QUICK: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"n_steps": 16},
    "smoothgrad": {"n_samples": 16},
    "lam": {"n_steps": 6},
    "occlusion": {"window": 3},
    "rise": {"n_masks": 64},
    "lime": {"n_segments": 6, "n_samples": 100},
    "noise-map": {"n_steps": 8},
    "shapley": {"n_samples": 4, "n_segments": 6},
}
SAYS_NOTHING = ["integrated-gradients", "deeplift", "lam", "occlusion", "lime", "rise", "shapley", "smoothgrad"]
COMPARES = ["integrated-gradients", "deeplift", "occlusion", "lime", "shapley", "input-x-gradient"]
AGE, SEX = torch.tensor([[55.0, 1.0]], dtype=torch.float64), torch.tensor([[48.0, 0.0]], dtype=torch.float64)


class Clinical(nn.Module):
    """Brain age as many build it: pooled features of an image, plus 2 per year and -3 for one sex."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 1)
        self.double()

    def forward(self, image: Tensor, clinical: Tensor) -> Tensor:
        return self.head(self.act(self.body(image)).mean((2, 3))) + 2 * clinical[:, :1] - 3 * clinical[:, 1:2]


class Interacting(nn.Module):
    """Numbers alone, with an interaction: f = 2 a + a b - 3 c."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x[:, :1] + x[:, :1] * x[:, 1:2] - 3 * x[:, 2:3]


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 1, 8, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def method(name: str, network: Any) -> AbstractExplainer:
    return METHODS.load(name)(network, **QUICK.get(name, {}))


@pytest.mark.parametrize("name", SAYS_NOTHING)
def test_age_and_sex_without_a_reference_are_nan_and_never_0(name: str, image: Tensor) -> None:
    network = Clinical()
    found = method(name, network).compute({"image": image, "clinical": AGE})
    assert found.relevance[1].shape == (1, 2)
    assert bool(torch.isnan(found.relevance[1]).all())
    (told,) = [w for w in found.warnings if "clinical" in w]
    assert "no space" in told
    assert "NaN" in told

    class Image(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x, AGE.expand(len(x), 2))

    alone = method(name, Image()).compute(image)
    if name == "shapley":
        # Other orders are drawn where there are more players.
        error = (found.standard_error[0] + alone.standard_error[0]).max()
        assert float((found.relevance[0] - alone.relevance[0]).abs().max()) < 5 * float(error)
    else:
        torch.testing.assert_close(found.relevance[0], alone.relevance[0], rtol=1e-4, atol=1e-7)
    assert float(alone.relevance[0].abs().max()) > 1e-5


@pytest.mark.parametrize("name", COMPARES)
def test_age_and_sex_with_a_reference_are_compared_one_by_one(name: str, image: Tensor) -> None:
    """2 (55 - 48) = 14 and -3 (1 - 0) = -3, while the image keeps the method's own reference."""
    network = Clinical()
    found = method(name, network).compute({"image": image, "clinical": AGE}, reference={"image": None, "clinical": SEX})
    tolerance = 0.05 if name == "lime" else 1e-5
    assert found.relevance[1].flatten().tolist() == pytest.approx([14, -3], abs=tolerance)
    assert found.warnings == []
    without = method(name, network).compute({"image": image, "clinical": AGE}).relevance[0]
    torch.testing.assert_close(found.relevance[0], without, rtol=1e-3, atol=1e-6)
    if METHODS.load(name).quantity is Quantity.EFFECT:
        assert "the reference input" in found.notes["filler"]


@pytest.mark.parametrize("name", ["occlusion", "lime", "rise"])
def test_a_number_fills_features_one_by_one(name: str) -> None:
    """f = 2 a + a b - 3 c at (3, 4, 5), each feature alone at 1: by hand 12, 9 and -12."""
    x = torch.tensor([[3.0, 4.0, 5.0]], dtype=torch.float64)
    knobs = {"occlusion": {}, "lime": {"n_samples": 2000}, "rise": {"n_masks": 4000, "tolerance": None}}[name]
    found = METHODS.load(name)(Interacting(), filler=1.0, **knobs).compute(x)
    if name == "occlusion":
        assert found.relevance[0].flatten().tolist() == pytest.approx([12, 9, -12])
        assert found.notes["n_windows"] == 3
        return
    # All eight ways to show and hide three features, as often as each other: by least squares over them.
    shown = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    values = [2 * a + a * b - 3 * c for a, b, c in np.where(shown, [3.0, 4.0, 5.0], 1.0)]
    near = np.exp(-((1 - np.sqrt(shown.mean(1))) ** 2) / 0.25**2) if name == "lime" else np.ones(8)
    rows = np.column_stack([shown, np.ones(8)]) * np.sqrt(near)[:, None]
    expected = np.linalg.lstsq(rows, np.sqrt(near) * values, rcond=None)[0][:3]
    error = found.standard_error[0].flatten()
    assert bool((error > 0).all())
    assert bool(((found.relevance[0].flatten() - torch.from_numpy(expected)).abs() < 4 * error + 0.02).all())


def test_shapley_of_numbers_alone_is_that_of_all_orders() -> None:
    x, reference = torch.tensor([[3.0, 4.0, 5.0]]), torch.tensor([[1.0, 1.0, 1.0]])
    network, values = Interacting(), [0.0] * 3
    for order in itertools.permutations(range(3)):
        now = reference.clone()
        for k in order:
            before = float(network(now))
            now[0, k] = x[0, k]
            values[k] += (float(network(now)) - before) / math.factorial(3)
    found = METHODS.load("shapley")(network, n_samples=400, tolerance=0.000001).compute(x, reference=reference)
    error = found.standard_error[0].flatten()
    assert bool(((found.relevance[0].flatten() - torch.tensor(values)).abs() <= 4 * error + 1e-6).all())
    assert float(found.completeness_error.abs()) < 1e-5


@pytest.mark.parametrize("name", ["integrated-gradients", "occlusion", "lime", "rise", "shapley"])
def test_a_constant_image_is_nan_and_asks_for_a_reference(name: str) -> None:
    network, image = Clinical(), torch.full((1, 1, 8, 9), 0.7, dtype=torch.float64)
    found = method(name, network).compute((image, AGE), reference=(None, SEX))
    assert bool(torch.isnan(found.relevance[0]).all())
    assert bool(torch.isfinite(found.relevance[1]).all())
    (told,) = found.warnings
    assert told.startswith("input 0 ")
    assert "reference=..." in told
    other = method(name, network).compute((image, AGE), reference=(0.0, SEX))
    assert float(other.relevance[0].abs().max()) > 1e-4
    assert other.warnings == []


class TwoChannels(nn.Module):
    """The mean of an image times an age that comes as a constant second channel."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 0] * x[:, 1]).flatten(1).mean(1, keepdim=True)


@pytest.mark.parametrize("name", ["integrated-gradients", "occlusion", "lime", "rise", "shapley"])
def test_a_constant_channel_is_told(name: str, image: Tensor) -> None:
    x = torch.cat([image, torch.full_like(image, 0.55)], 1)
    found = method(name, TwoChannels()).compute(x)
    (told,) = found.warnings
    assert told.startswith("channel 1 of the input ")
    if found.relevance[0].shape[1] == 2:
        assert bool(torch.isnan(found.relevance[0][:, 1]).all())
        assert bool(torch.isfinite(found.relevance[0][:, 0]).all())
        assert abs(float(found.completeness_error)) < 1e-6
    else:
        assert bool(torch.isfinite(found.relevance[0]).all())


@pytest.mark.parametrize("name", COMPARES)
def test_a_feature_that_equals_its_reference_is_told_by_its_number(name: str, image: Tensor) -> None:
    same_sex = torch.tensor([[48.0, 1.0]], dtype=torch.float64)
    found = method(name, Clinical()).compute((image, AGE), reference=(None, same_sex))
    (told,) = found.warnings
    assert told.startswith("feature 1 of input 1 ")
    age, sex = found.relevance[1].flatten().tolist()
    assert age == pytest.approx(14, abs=0.05)
    # A contribution to a difference of nothing is 0; what hiding it does was never tried.
    assert sex == 0 if METHODS.load(name).quantity is Quantity.CONTRIBUTION else math.isnan(sex)


def test_smoothgrad_scales_no_noise_across_unlike_features(image: Tensor) -> None:
    class Curved(nn.Module):
        """f = mean image + a^2 + b^2 / 100: the noise on each feature decides the error of its slope."""

        def forward(self, image: Tensor, clinical: Tensor) -> Tensor:
            return image.flatten(1).mean(1, keepdim=True) + clinical[:, :1] ** 2 + clinical[:, 1:2] ** 2 / 100

    explainer = SmoothGrad(Curved(), feature_noise=(0.5, 20.0), n_samples=400, tolerance=None)
    found = explainer.compute((image, torch.tensor([[3.0, 100.0]], dtype=torch.float64)))
    slopes, errors = found.relevance[1].flatten(), found.standard_error[1].flatten()
    # The slope 2 a has the spread 2 * 0.5, and b / 50 that of 20 / 50.
    assert errors.tolist() == pytest.approx([1.0 / 20, 0.4 / 20], rel=0.15)
    assert bool(((slopes - torch.tensor([6.0, 2.0])).abs() < 4 * errors).all())
    with pytest.raises(InputError, match="3 numbers for input 1 of 2 features"):
        SmoothGrad(Curved(), feature_noise=(1.0, 2.0, 3.0)).attribute((image, AGE))


@pytest.mark.parametrize("name", ["noise-map", "smoothgrad"])
def test_no_noise_is_put_on_age(name: str, image: Tensor) -> None:
    seen = []

    class Watched(Clinical):
        def forward(self, image: Tensor, clinical: Tensor) -> Tensor:
            seen.append(clinical.detach().clone())
            return super().forward(image, clinical)

    found = method(name, Watched()).compute((image, AGE))
    assert all(torch.equal(c, AGE.expand_as(c)) for c in seen)
    assert bool(torch.isnan(found.relevance[1]).all())
    assert bool(torch.isfinite(found.relevance[0]).all())
    assert any("input 1 has no space" in w for w in found.warnings)


def test_noise_on_a_constant_image_is_told() -> None:
    flat = torch.full((1, 1, 8, 9), 0.5, dtype=torch.float64)
    for name in ("noise-map", "smoothgrad"):
        (told,) = method(name, Clinical()).compute((flat, AGE)).warnings[:1]
        assert "constant" in told


def test_a_noise_map_of_numbers_alone_is_refused() -> None:
    with pytest.raises(CapabilityError, match="noise map of inputs without space"):
        method("noise-map", Interacting()).attribute(torch.rand(1, 3))


def test_a_reference_that_is_the_input_itself_is_no_comparison(image: Tensor) -> None:
    for name in ("integrated-gradients", "occlusion", "lime", "rise", "shapley", "deeplift"):
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 6 * 7, 1)).double()
        found = method(name, network).compute(image, reference=image)
        assert bool(torch.isnan(found.relevance[0]).all()), name
        assert any("the input" in w and "differs" in w for w in found.warnings), name


def test_cases_of_a_batch_are_compared_each_for_itself(image: Tensor) -> None:
    batch = torch.cat([image, torch.full_like(image, 0.3)])
    clinical = torch.cat([AGE, SEX])
    found = method("integrated-gradients", Clinical()).compute((batch, clinical))
    assert bool(torch.isfinite(found.relevance[0][0]).all())
    assert bool(torch.isnan(found.relevance[0][1]).all())
    assert bool(torch.isnan(found.relevance[1]).all())
    assert len([w for w in found.warnings if "input 1" in w]) == 1


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_says_what_it_does_with_an_input_without_space(name: str, image: Tensor) -> None:
    said = describe(name)["an input without space (batch, feature)"]
    assert said != AbstractExplainer.without_space, "a sentence of its own"
    try:
        found = method(name, Clinical()).compute((image, AGE))
    except CapabilityError:
        return
    nothing = bool(torch.isnan(found.relevance[1]).all())
    assert nothing == ("NaN" in said)
    assert not nothing or any("NaN" in w for w in found.warnings)


@pytest.mark.parametrize("form", ["signed", "published"])
def test_rise_in_either_form_takes_an_image_and_numbers(form: Any, image: Tensor) -> None:
    found = RISE(Clinical(), n_masks=64, form=form, filler=0.0).compute((image, AGE))
    assert [tuple(r.shape) for r in found.relevance] == [(1, 1, 8, 9), (1, 2)]


def test_fillers_of_a_constant_image_are_told_for_the_neighbours_too() -> None:
    found = Occlusion(lambda x: x.flatten(1).sum(1), window=2, filler="neighbour").compute(
        torch.full((1, 1, 4, 4), 3.0)
    )
    assert bool(torch.isnan(found.relevance[0]).all())
    found = LIME(lambda x: x.flatten(1).sum(1), filler="noise").compute(torch.full((1, 1, 4, 4), 3.0))
    assert bool(torch.isnan(found.relevance[0]).all())
