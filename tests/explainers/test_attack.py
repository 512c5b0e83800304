"""Attacks against closed forms: linear networks, a Hessian known by hand, balls and ranges without tolerance."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import CapabilityError, InputError, ShapeError
from regard.core.image_target import Mean
from regard.core.inputs import Inputs
from regard.core.likeness import spearman
from regard.core.target import Logit, Output
from regard.explainers.attack import AttackPlan, AttackResult, Intensities, attack
from regard.explainers.attack.ball import projected, scaled_to, size_of, within
from regard.explainers.attack.controls import CONTROLS, control_change
from regard.explainers.attack.descent import descend
from regard.explainers.attack.differentiable import _CAMS, _DIRECT, map_function
from regard.explainers.attack.smooth import Softened
from regard.explainers.cam.grad_cam import GradCAM
from regard.explainers.gradient.gradient import Gradient
from regard.explainers.gradient.input_x_gradient import InputXGradient
from regard.explainers.gradient.integrated_gradients import IntegratedGradients
from regard.explainers.gradient.smoothgrad import SmoothGrad
from regard.explainers.perturbation.occlusion import Occlusion

WIDE = Intensities(bounds=(-100.0, 100.0))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(weights: Tensor) -> nn.Module:
    layer = nn.Linear(weights.numel(), 1, bias=False).double()
    layer.weight.data = weights.reshape(1, -1).clone()
    return nn.Sequential(nn.Flatten(), layer)


def convolutions(axes: int = 2, n_outputs: int = 2) -> nn.Module:
    convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[axes]
    torch.manual_seed(axes)
    return nn.Sequential(
        convolution(1, 4, 3, padding=1), nn.ReLU(inplace=True), convolution(4, 6, 3, padding=1, stride=2), nn.ReLU(),
        nn.Flatten(2), _Mean(), nn.Linear(6, n_outputs),
    ).double()  # fmt: skip


class _Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


class Kinked(nn.Module):
    """v . relu(W (x - x0) + b) with b near 0: close to x0 the output hardly moves, and its gradient does."""

    def __init__(self, x0: Tensor) -> None:
        super().__init__()
        n = x0.numel()
        self.first = nn.Linear(n, 4 * n).double()
        self.last = nn.Linear(4 * n, 1, bias=False).double()
        self.first.weight.data = drawn(4 * n, n, seed=3)
        self.first.bias.data = 0.02 * drawn(4 * n, seed=4) - self.first.weight.data @ x0.flatten()
        self.last.weight.data = drawn(1, 4 * n, seed=5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x.flatten(1))))


@pytest.mark.parametrize(("norm", "dual"), [("inf", 1), ("2", 2)])
def test_a_linear_prediction_moves_by_the_budget_times_the_dual_norm(norm: str, dual: int) -> None:
    weights, x = drawn(1, 1, 6, 5), drawn(1, 1, 6, 5, seed=1)
    farthest = 0.3 * float(weights.norm(p=dual))
    plan = AttackPlan("change-keep", (0.3,), norm, tolerance=farthest, n_steps=120, controls=())
    made = attack(Gradient(linear(weights)), x, Output(), plan, intensities=WIDE).attempts[0]
    assert made.drift == pytest.approx(farthest, rel=1e-3)
    assert made.drift <= farthest * (1 + 1e-12)


@pytest.mark.parametrize("norm", ["inf", "2"])
def test_the_gradient_of_a_linear_network_cannot_be_moved(norm: str) -> None:
    weights, x = drawn(1, 1, 6, 5), drawn(1, 1, 6, 5, seed=1)
    plan = AttackPlan("keep-change", (1.0,), norm, tolerance=1e9)
    found = attack(Gradient(linear(weights)), x, Output(), plan, intensities=WIDE)
    assert all(a.likeness.spearman == pytest.approx(1.0) for a in found.attempts)
    assert all(a.likeness.overlap == pytest.approx(1.0) for a in found.attempts)
    assert not any(a.success for a in found.attempts)
    assert any("no rectifier" in w for w in found.warnings)


def test_the_way_a_map_moves_is_the_hessian() -> None:
    beta, first, last = 3.0, drawn(7, 6), drawn(7, seed=2)
    x, direction = drawn(1, 1, 6, seed=3), drawn(6, seed=4)

    class Two(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return (functional.relu(image.flatten(1) @ first.T) @ last)[:, None]

    relevance = map_function(Gradient(Two()), Two(), Inputs.of(x), Output())
    sigma = torch.sigmoid(beta * first @ x.flatten())
    hessian = first.T @ torch.diag(last * beta * sigma * (1 - sigma)) @ first
    leaf = x.clone().requires_grad_()
    with Softened(beta):
        moved = relevance(leaf)
    assert torch.allclose(moved.flatten(), first.T @ (last * sigma))
    assert torch.allclose(torch.autograd.grad(moved.flatten() @ direction, leaf)[0].flatten(), hessian @ direction)

    def objective(change: Tensor) -> Tensor:
        with Softened(beta):
            return -(relevance(x + change) - relevance(x).detach()).flatten(1) @ direction

    small = 1e-5
    reached = descend(objective, x, (small,), "2", (-9.0, 9.0), n_steps=80, n_restarts=1)[0]
    assert -reached.objective == pytest.approx(small * float((hessian @ direction).norm()), rel=1e-3)


def test_a_map_of_rectifiers_has_no_slope_and_moves_all_the_same() -> None:
    x = drawn(1, 1, 5, 5).abs()
    network = Kinked(x)
    leaf = x.clone().requires_grad_()
    flat = map_function(Gradient(network), network, Inputs.of(x), Output())(leaf)
    (slope,) = torch.autograd.grad(flat.sum(), leaf)
    assert not bool(slope.any())
    plan = AttackPlan("keep-change", (0.02,), tolerance=1.0, beta=100.0, controls=())
    made = attack(Gradient(network), x, Output(), plan, intensities=WIDE)
    assert made.attempts[0].success
    assert made.attempts[0].drift <= 1.0
    inside = x > x.min()
    maps = [Gradient(network).attribute(image)[inside] for image in (made.attempts[0].image, x)]
    assert spearman(*maps) == pytest.approx(made.attempts[0].likeness.spearman)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize("norm", ["inf", "2"])
def test_ball_and_range_are_kept_without_tolerance(norm: str, dtype: torch.dtype) -> None:
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        scale = 10.0 ** float(torch.rand(1, generator=generator) * 8 - 4)
        image = (scale * torch.rand(1, 2, 4, 3, generator=generator)).to(dtype)
        bounds = float(image.min()), float(image.max())
        change = scale * drawn(1, 2, 4, 3, seed=seed + 1)
        budget = scale * 10.0 ** float(torch.rand(1, generator=generator) * 4 - 4)
        cut = projected(change, image.double(), torch.tensor([budget]).double(), norm, bounds)
        made = within(cut, image, budget, norm, bounds)
        assert made.dtype == dtype
        assert float(size_of(made.double() - image.double(), norm)) <= budget
        assert bounds[0] <= float(made.min())
        assert float(made.max()) <= bounds[1]


@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("name", CONTROLS)
def test_controls_are_as_large_as_the_attack(name: str, norm: str) -> None:
    image = drawn(1, 1, 9, 8).sigmoid()
    bounds = (0.0, 1.0)
    made = projected(0.3 * drawn(1, 1, 9, 8, seed=2), image, torch.tensor([0.1]).double(), norm, bounds)
    change, of = control_change(name, image, made, norm, bounds, seed=3, case="a")
    assert of == {"uniform noise": "inf", "sign noise": "inf", "Gaussian noise": "2"}.get(name, norm)
    assert change is not None
    size = float(made.abs().max() if of == "inf" else made.norm())
    assert float(size_of(change, of)) == pytest.approx(size, rel=1e-12)
    assert float((image + change).min()) >= 0
    assert float((image + change).max()) <= 1
    again, _ = control_change(name, image, made, norm, bounds, seed=3, case="a")
    assert again is not None
    assert torch.equal(again, change)
    assert not torch.allclose(change, made)


def test_a_size_that_the_range_has_no_room_for_is_no_control() -> None:
    image = torch.zeros(1, 1, 4, 4).double()
    assert scaled_to(torch.ones_like(image), image, 2.0, "inf", (-1.0, 1.0)) is None
    assert scaled_to(torch.zeros_like(image), image, 0.5, "inf", (-1.0, 1.0)) is None


KNOBS: dict[type, dict[str, int]] = {IntegratedGradients: {"n_steps": 4}, SmoothGrad: {"n_samples": 4}}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("method", _DIRECT + _CAMS, ids=lambda m: m.__name__)
def test_the_map_that_is_followed_is_the_method_s_own(method: type, axes: int) -> None:
    network, x = convolutions(axes), drawn(2, 1, *[7] * axes)
    for form in ("signed", "published"):
        explainer = method(network, form=form, **KNOBS.get(method, {}))
        one = x[:1]
        relevance = map_function(explainer, network, Inputs.of(one), Output(1), seed=5, case="a")
        for k in range(2):
            wanted = explainer.attribute(x[k : k + 1], Output(1), seed=5, case="a").sum(1, keepdim=True)
            assert torch.allclose(relevance(x)[k].float(), wanted[0], rtol=1e-4, atol=1e-6), form
        leaf = one.clone().requires_grad_()
        with Softened():
            assert relevance(leaf).requires_grad


def test_a_class_changes_at_its_margin_over_the_dual_norm() -> None:
    weights, x = drawn(1, 1, 5, 5), drawn(1, 1, 5, 5, seed=1)
    network = linear(weights)
    score = float(network(x).detach())
    border = abs(score) / float(weights.abs().sum())
    plan = AttackPlan("change-keep", (0.95 * border, 1.3 * border), n_steps=80, controls=())
    short, far = attack(Gradient(network), x, Logit(1), plan, intensities=WIDE).attempts
    assert (short.success, far.success) == (False, True)
    assert short.class_changed is False
    assert far.class_changed is True
    own = int(score > 0)
    chance = torch.sigmoid(network(far.image)).detach()
    assert far.after.label == 1 - own
    assert far.after.probability == pytest.approx(float(chance if own else 1 - chance), rel=1e-6)


def test_a_class_that_stays_while_its_probability_moves_is_not_kept() -> None:
    weights, x = drawn(1, 1, 5, 5), drawn(1, 1, 5, 5, seed=1)
    network = linear(weights * 0.1)
    plan = AttackPlan("keep-keep", (0.5,), tolerance=1e-6, controls=("sign noise",))
    made = attack(Gradient(network), x, Logit(1), plan, intensities=WIDE).attempts[1]
    if made.class_changed is False:
        assert made.drift > 1e-6
    assert not made.success


def test_a_region_of_an_image_is_a_target_like_any_other() -> None:
    region = torch.zeros(6, 6)
    region[1:3, 2:5] = 1
    x = drawn(1, 1, 6, 6)
    plan = AttackPlan("change-keep", (0.25,), tolerance=0.25, controls=())
    made = attack(Gradient(nn.Identity()), x, Mean(region, name="region"), plan, intensities=WIDE).attempts[0]
    assert made.drift == pytest.approx(0.25, rel=1e-3)
    assert made.after.label is None


def test_budgets_are_in_the_image_s_unit() -> None:
    weights, image = drawn(1, 1, 6, 6), 1000 * drawn(1, 1, 6, 6, seed=1)
    scale, shift = 0.002, -3.0
    plan = AttackPlan("change-keep", (40.0,), tolerance=40 * scale * float(weights.abs().sum()), controls=())
    found = attack(
        Gradient(linear(weights)), image * scale + shift, Output(), plan,
        intensities=Intensities(scale, shift, (-9000.0, 9000.0), "HU"),
    ).attempts[0]  # fmt: skip
    assert found.linf == pytest.approx(40.0, rel=1e-9)
    assert found.unit == "HU"
    assert found.drift == pytest.approx(40 * scale * float(weights.abs().sum()), rel=1e-3)
    assert torch.allclose(found.image - image, (found.image - image).clamp(-40, 40))


class _Fails(nn.Module):
    def __init__(self, after: int) -> None:
        super().__init__()
        self.network, self.left = convolutions(), after

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("the network fails")
        return self.network(x)


@pytest.mark.parametrize("after", [1, 3, 6, 10, 10_000])
def test_the_network_is_as_it_was_also_after_an_exception(after: int) -> None:
    network = _Fails(after).train()
    network.network[0].weight.requires_grad_(False)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    flags = [p.requires_grad for p in network.parameters()]
    plan = AttackPlan(budgets=(0.1,), n_steps=4, n_restarts=1, controls=())

    def run() -> AttackResult:
        return attack(GradCAM(network, layer="network.3"), drawn(1, 1, 8, 8), Logit(1), plan, batch_size=1)

    if after < 10_000:
        with pytest.raises(RuntimeError, match="the network fails"):
            run()
    else:
        run()
    assert all(m.training for m in network.modules())
    assert [p.requires_grad for p in network.parameters()] == flags
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in network.modules())
    assert all(p.grad is None for p in network.parameters())
    assert float(functional.relu(torch.tensor(-1.0))) == 0


def _one(**more: object) -> AttackResult:
    settings: dict[str, object] = {"budgets": (0.05, 0.2), "n_steps": 5, "controls": ("uniform noise",)}
    plan = AttackPlan(**{**settings, **{k: v for k, v in more.items() if k in settings or k == "goal"}})  # type: ignore[arg-type]
    rest = {k: v for k, v in more.items() if k in ("seed", "case", "batch_size")}
    return attack(InputXGradient(convolutions()), drawn(1, 1, 8, 8).sigmoid(), Logit(1), plan, **rest)  # type: ignore[arg-type]


def test_the_same_key_gives_the_same_attack_whatever_the_batch() -> None:
    first, alone, other = _one(seed=1), _one(seed=1, batch_size=1), _one(seed=2)
    for a, b, c in zip(first.attempts, alone.attempts, other.attempts, strict=True):
        assert torch.allclose(a.image, b.image, atol=1e-9)
        assert not torch.equal(a.image, c.image)
    assert _one(seed=1).attempts[0].image.equal(first.attempts[0].image)
    narrow = _one(seed=1, budgets=(0.05,)).attempts[0]
    assert torch.allclose(narrow.image, first.attempts[0].image, atol=1e-9)


@pytest.mark.parametrize("goal", ["keep-change", "change-keep", "change-change", "keep-keep"])
def test_a_larger_budget_is_never_worse_by_the_attack_s_own_measure(goal: str) -> None:
    small, large = _one(goal=goal).attacks()
    assert large.objective <= small.objective
    assert small.linf <= 0.05
    assert large.linf <= 0.2


def test_a_map_is_brought_towards_another() -> None:
    x = drawn(1, 1, 5, 5).abs()
    network, wanted = Kinked(x), drawn(1, 1, 5, 5, seed=9)
    plan = AttackPlan(
        "keep-change", (0.03,), tolerance=2.0, beta=100.0, n_steps=120, n_restarts=4, controls=CONTROLS[:3]
    )
    found = attack(Gradient(network), x, Output(), plan, intensities=WIDE, towards=wanted)
    made, controls, inside = found.attempts[0], found.attempts[1:], x > x.min()
    assert made.to_wanted is not None
    assert made.to_wanted.spearman == pytest.approx(spearman(made.map_after[inside], wanted[inside].float()))
    assert made.to_wanted.spearman > max(c.to_wanted.spearman for c in controls if c.to_wanted) + 0.2


def test_a_change_below_half_a_grey_level_is_told_and_lost_by_rounding() -> None:
    levels = torch.randint(1, 255, (1, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    x = levels.double() / 255
    plan = AttackPlan("change-change", (0.4 / 255, 30 / 255), n_steps=8, controls=())
    found = attack(InputXGradient(convolutions()), x, Logit(1), plan, intensities=Intensities(bounds=(0.0, 1.0)))
    assert any("half a grey level" in w for w in found.warnings)
    assert found.attempts[0].rounded == (False, False)
    assert found.attempts[0].linf > 0


def test_methods_without_gradients_are_attacked_through_another_and_others_look_on() -> None:
    network, x = convolutions(), drawn(1, 1, 8, 8).sigmoid()
    plan = AttackPlan(budgets=(0.3,), n_steps=4, controls=("blur",))
    with pytest.raises(CapabilityError, match="surrogate"):
        attack(Occlusion(network, window=3), x, Logit(1), plan)
    seen = {"slope": Gradient(network), "cam": GradCAM(network)}
    found = attack(
        Occlusion(network, window=3), x, Logit(1), plan, surrogate=InputXGradient(network), seen_by=seen,
        label="occlusion",
    )  # fmt: skip
    assert [(a.kind, a.method) for a in found.attempts] == [
        ("attack", "occlusion"), ("attack", "slope"), ("attack", "cam"), ("blur", "occlusion"),
    ]  # fmt: skip
    assert {a.attacked for a in found.attempts} == {"InputXGradient"}
    images = [a.image for a in found.attempts[:3]]
    assert all(torch.equal(i, images[0]) for i in images)
    cam = GradCAM(network).attribute(images[0], Logit(1))
    assert torch.allclose(found.attempts[2].map_after, cam)


def _plan(**more: object) -> Callable[[], object]:
    return lambda: AttackPlan(**more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        _plan(goal="keep"), _plan(norm="1"), _plan(budgets=()), _plan(budgets=(0.0,)), _plan(budgets=(math.nan,)),
        _plan(n_steps=0), _plan(n_restarts=0), _plan(controls=("snow",)), _plan(beta=0.0),
        lambda: Intensities(scale=0.0),
        lambda: attack(Gradient(convolutions()), drawn(1, 1, 8, 8), Output(1), AttackPlan(controls=())),
        lambda: attack(Gradient(convolutions()), drawn(2, 1, 8, 8), Logit(1)),
        lambda: attack(Gradient(convolutions()), drawn(1, 1, 8, 8), Logit(1), intensities=Intensities(bounds=(0, 0.1))),
        lambda: attack(Gradient(convolutions()), drawn(1, 1, 8, 8), Logit(1), towards=drawn(1, 1, 4, 4)),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises((InputError, ShapeError)):
        wrong()
