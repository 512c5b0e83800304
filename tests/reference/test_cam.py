"""Every class activation map against literal loops in float64, and the identities between them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.explainer import Attribution, Query
from regard.core.image_target import Mean
from regard.core.inputs import Inputs
from regard.core.randomness import uniform
from regard.core.target import Logit
from regard.explainers import METHODS
from regard.explainers.cam.base import AbstractCAM

from . import cam as literal

TIGHT = 1e-10


class Split(nn.Module):
    """A network in two halves, so that a test can run each without looking inside the whole."""

    def __init__(self, front: nn.Module, back: nn.Module) -> None:
        super().__init__()
        self.front, self.back = front, back

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.front(x))


def curved(n_axes: int, n_outputs: int = 1) -> tuple[Split, Tensor]:
    """A network whose tail is curved, and two images."""
    torch.manual_seed(10 + n_axes)
    size = {2: (6, 8), 3: (4, 6, 5)}[n_axes]
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[n_axes]
    front = nn.Sequential(conv(1, 3, 3, stride=2, padding=1), nn.ReLU())
    back = nn.Sequential(conv(3, 2, 2), nn.Tanh(), nn.Flatten(), nn.LazyLinear(n_outputs))
    network, x = Split(front, back).double(), torch.randn(2, 1, *size, dtype=torch.float64)
    network(x)
    return network.eval(), x


def pooled(n_axes: int, n_outputs: int = 1) -> tuple[Split, Tensor]:
    """A network that ends in global average pooling and a linear head, and two images."""
    network, x = curved(n_axes)
    pool = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}[n_axes]
    network.back = nn.Sequential(pool(1), nn.Flatten(), nn.Linear(3, n_outputs).double())
    return network.eval(), x


def attribute(method: AbstractCAM, x: Any, target: Any = None, seed: int = 0) -> Attribution:
    """The method's maps in the network's own precision, one case at a time where it takes one."""
    inputs = Inputs.of(x)
    with recording.intact(method.network) as network:
        parts = [inputs] if method.cases_together else [inputs.case(n) for n in range(inputs.n_cases)]
        return Attribution.joined([method._attribute(Query(network, p, target, seed=seed)) for p in parts])


def table(t: Tensor) -> np.ndarray:
    """(channel, *space) as rows of places."""
    return t.detach().flatten(1).numpy()


def inside(network: Split, x: Tensor, target: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Activations, gradients and value of one case, from the two halves alone."""
    a = network.front(x[None]).detach().requires_grad_()
    y = target(network.back(a))
    (g,) = torch.autograd.grad(y.sum(), a)
    return a.detach()[0], g[0], y.detach()


def same(found: Tensor, expected: Any, tolerance: float = TIGHT) -> None:
    expected = np.asarray(expected)
    off, size = np.abs(found.detach().numpy() - expected).max(), np.abs(expected).max()
    assert size > 0, "nothing is compared with nothing"
    assert off <= tolerance * size, f"off by {off:.3g} for a map of size {size:.3g}"


def relu(values: Any) -> Any:
    return np.maximum(values, 0)


ONE_PASS: list[tuple[str, str, Callable[..., Any], Callable[..., Any]]] = [
    ("grad-cam", "signed", literal.grad_cam, literal.interpolate),
    ("grad-cam", "published", lambda A, g: relu(literal.grad_cam(A, g)), literal.interpolate),
    ("grad-cam++", "signed", literal.grad_cam_pp_signed, literal.interpolate),
    ("grad-cam++", "published", lambda A, g: relu(literal.grad_cam_pp_published(A, g)), literal.interpolate),
    ("hires-cam", "signed", literal.by_place, literal.spread),
    ("hires-cam", "published", lambda A, g: relu(literal.by_place(A, g)), literal.interpolate),
    ("layer-cam", "signed", literal.layer_cam, literal.interpolate),
    ("layer-cam", "published", lambda A, g: relu(literal.layer_cam(A, g)), literal.interpolate),
    ("eigen-grad-cam", "signed", literal.eigen_grad_cam, literal.interpolate),
    ("eigen-grad-cam", "published", lambda A, g: relu(literal.eigen_grad_cam(A, g)), literal.interpolate),
    ("grad-ram", "signed", literal.grad_ram, literal.interpolate),
    ("grad-ram", "published", lambda A, g: np.abs(literal.grad_ram(A, g)), literal.interpolate),
    ("grad-ramp", "signed", literal.by_place, literal.spread),
    ("grad-ramp", "published", lambda A, g: np.abs(literal.by_place(A, g)), literal.interpolate),
]


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize(("name", "form", "loops", "home"), ONE_PASS, ids=[f"{n}-{f}" for n, f, *_ in ONE_PASS])
def test_one_pass_maps(name: str, form: str, loops: Any, home: Any, n_axes: int) -> None:
    network, x = curved(n_axes)
    found = attribute(METHODS.load(name)(network, "front", form=form), x).relevance[0]
    for n in range(2):
        a, g, _ = inside(network, x[n], lambda y: y[:, 0])
        coarse = np.asarray(loops(table(a), table(g))).reshape(a.shape[1:])
        same(found[n, 0], home(coarse, x.shape[2:]))


@pytest.mark.parametrize("n_axes", [2, 3])
def test_signed_grad_cam_pp_has_no_pole_where_activations_are_negative(n_axes: int) -> None:
    network, x = curved(n_axes)
    network.front[1] = nn.Identity()
    found = attribute(METHODS.load("grad-cam++")(network, "front"), x[:1]).relevance[0]
    a, g, _ = inside(network, x[0], lambda y: y[:, 0])
    assert bool((a < 0).any())
    weights = [
        sum(float(v) / (2 + abs(float(v)) * float(a[k].abs().sum())) for v in g[k].flatten()) for k in range(len(a))
    ]
    coarse = np.reshape(literal.weighted(table(a), weights), a.shape[1:])
    same(found[0, 0], literal.interpolate(coarse, x.shape[2:]))


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize("form", ["signed", "published"])
def test_ablation_cam(form: str, n_axes: int) -> None:
    network, x = curved(n_axes, n_outputs=3)
    found = attribute(METHODS.load("ablation-cam")(network, "front", form=form), x, target=1).relevance[0]
    for n in range(2):
        a, _, _ = inside(network, x[n], lambda y: y[:, 1])

        def tail(A: np.ndarray, a: Tensor = a) -> float:
            return float(network.back(torch.from_numpy(A).reshape(1, *a.shape)).detach()[0, 1])

        coarse = literal.ablation_cam(table(a), tail, published=form == "published")
        coarse = np.reshape(coarse if form == "signed" else relu(coarse), a.shape[1:])
        same(found[n, 0], literal.interpolate(coarse, x.shape[2:]))


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize("form", ["signed", "published"])
def test_score_cam(form: str, n_axes: int) -> None:
    network, x = curved(n_axes)
    network.front[0].weight.data[1] = 0
    network.front[0].bias.data[1] = 1.0
    found = attribute(METHODS.load("score-cam")(network, "front", form=form, filler_width=0.2), x).relevance[0]
    for n in range(2):
        a, _, _ = inside(network, x[n], lambda y: y[:, 0])
        assert float(a[1].std()) == 0, "the middle channel is the same at all places, and to be skipped"
        kept = a[[0, 2]]
        masks = [literal.interpolate(h.numpy(), x.shape[2:]) for h in kept]
        filler = literal.blur(x[n].numpy(), [0.2 * s for s in x.shape[2:]])

        def f(shown: np.ndarray) -> float:
            with torch.no_grad():
                return float(network(torch.from_numpy(shown)[None]))

        weights = literal.score_cam_weights(masks, x[n].numpy(), filler, f, published=form == "published")
        coarse = literal.weighted(table(kept), weights)
        coarse = np.reshape(coarse if form == "signed" else relu(coarse), a.shape[1:])
        same(found[n, 0], literal.interpolate(coarse, x.shape[2:]))


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize("form", ["signed", "published"])
def test_random_cam(form: str, n_axes: int) -> None:
    network, x = curved(n_axes)
    found = attribute(METHODS.load("random-cam")(network, "front", form=form), x, seed=0).relevance[0]
    weights = [2 * float(u) - 1 for u in uniform((3,), 0, "", "channel weights")]
    assert min(weights) < 0 < max(weights)
    for n in range(2):
        a, _, _ = inside(network, x[n], lambda y: y[:, 0])
        coarse = np.reshape(literal.weighted(table(a), weights), a.shape[1:])
        same(found[n, 0], literal.interpolate(coarse if form == "signed" else relu(coarse), x.shape[2:]))


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize("form", ["signed", "published"])
def test_crm_of_a_curved_network(form: str, n_axes: int) -> None:
    network, x = curved(n_axes, n_outputs=3)
    found = attribute(METHODS.load("crm")(network, "front", form=form), x, target=Logit(2)).relevance[0]
    for n in range(2):
        a, _, _ = inside(network, x[n], lambda y: y[:, 2])

        def outputs(A: np.ndarray, a: Tensor = a) -> np.ndarray:
            return network.back(torch.from_numpy(A).reshape(1, *a.shape))[0].detach().numpy()

        changes = literal.crm_ablation(table(a), outputs)
        coarse = changes[2] if form == "signed" else (changes**2).sum(0)
        same(found[n, 0], literal.interpolate(coarse.reshape(a.shape[1:]), x.shape[2:]))


@pytest.mark.parametrize("n_axes", [2, 3])
@pytest.mark.parametrize("ablate", ["auto", "never", "always"])
def test_crm_is_the_sum_of_squared_class_activation_maps(ablate: str, n_axes: int) -> None:
    network, x = pooled(n_axes, n_outputs=4)
    found = attribute(METHODS.load("crm")(network, "front", form="published", ablate=ablate), x, target=0).relevance[0]
    for n in range(2):
        a, _, _ = inside(network, x[n], lambda y: y[:, 0])
        per_place = network.back[2].weight.detach().numpy() / a[0].numel()
        by_definition = literal.crm_double_loop(table(a), per_place)
        maps = np.einsum("ck,kp->cp", per_place, table(a))
        np.testing.assert_allclose(by_definition, (maps**2).sum(0), rtol=1e-9)
        same(found[n, 0], literal.interpolate(np.reshape(by_definition, a.shape[1:]), x.shape[2:]))


@pytest.mark.parametrize("form", ["signed", "published"])
def test_crm_of_an_image_output(form: str) -> None:
    network, x = curved(2)
    network.back = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.Softplus(), nn.Upsample(scale_factor=2)).double()
    found = attribute(METHODS.load("crm")(network, "front", form=form), x[:1], target=Mean()).relevance[0]
    a, _, _ = inside(network, x[0], lambda y: y.flatten(1).mean(1))

    def pixels(A: np.ndarray) -> np.ndarray:
        return network.back(torch.from_numpy(A).reshape(1, *a.shape))[0].detach().flatten().numpy()

    changes = literal.crm_ablation(table(a), pixels)
    coarse = changes.mean(0) if form == "signed" else (changes**2).sum(0)
    same(found[0, 0], literal.interpolate(coarse.reshape(a.shape[1:]), x.shape[2:]))


@pytest.mark.parametrize("n_axes", [2, 3])
def test_fast_crm_and_cell_by_cell_agree_under_a_linear_tail(n_axes: int) -> None:
    network, x = pooled(n_axes)
    crm = METHODS.load("crm")
    fast = attribute(crm(network, "front", ablate="never"), x).relevance[0]
    same(fast, attribute(crm(network, "front", ablate="always"), x).relevance[0].numpy())


@pytest.mark.parametrize("n_axes", [2, 3])
def test_under_global_pooling_grad_ram_grad_ramp_and_crm_are_one_map(n_axes: int) -> None:
    network, x = pooled(n_axes)
    for n in range(2):
        a, g, y = inside(network, x[n], lambda y: y[:, 0])
        one = x[n : n + 1]
        coarse = np.reshape(literal.grad_ram(table(a), table(g)), a.shape[1:])
        ram = attribute(METHODS.load("grad-ram")(network, "front"), one)
        ramp = attribute(METHODS.load("grad-ramp")(network, "front"), one)
        crm = attribute(METHODS.load("crm")(network, "front"), one)
        same(ram.relevance[0][0, 0], literal.interpolate(coarse, x.shape[2:]))
        same(crm.relevance[0][0, 0], literal.interpolate(coarse, x.shape[2:]))
        same(ramp.relevance[0][0, 0], literal.spread(coarse, x.shape[2:]))
        assert abs(ramp.notes["remainder"] - float(network.back[2].bias.detach())) < TIGHT


@pytest.mark.parametrize("n_axes", [2, 3])
def test_published_grad_ram_is_the_absolute_grad_cam_before_relu(n_axes: int) -> None:
    network, x = curved(n_axes)
    network.front[1] = nn.Identity()
    a, g, _ = inside(network, x[0], lambda y: y[:, 0])
    before_relu = np.reshape(literal.grad_cam(table(a), table(g)), a.shape[1:])
    assert before_relu.min() < 0, "a test that needs both signs"
    found = attribute(METHODS.load("grad-ram")(network, "front", form="published"), x[:1]).relevance[0]
    same(found[0, 0], literal.interpolate(np.abs(before_relu), x.shape[2:]))


@pytest.mark.parametrize("name", ["grad-ramp", "hires-cam"])
@pytest.mark.parametrize("n_axes", [2, 3])
def test_map_and_effective_bias_of_a_piecewise_linear_tail_make_the_output(name: str, n_axes: int) -> None:
    network, x = curved(n_axes)
    network.back[1] = nn.ReLU()
    found = attribute(METHODS.load(name)(network, "front"), x)
    for n in range(2):
        a, g, y = inside(network, x[n], lambda y: y[:, 0])
        with torch.no_grad():
            active = (network.back[0](a[None]) > 0).double()
            bias = network.back[3]((active * network.back[0].bias.reshape(1, -1, *[1] * n_axes)).flatten(1))
        total = float(found.relevance[0][n].sum())
        assert abs(total + float(bias) - float(y)) < TIGHT
        assert abs(found.notes["remainder"][n] - float(bias)) < TIGHT
        assert abs(float(found.completeness_error[n]) + float(bias)) < TIGHT


def test_random_cam_differs_by_seed_and_case_and_by_nothing_else() -> None:
    network, x = curved(2)
    random = METHODS.load("random-cam")(network, "front")
    torch.manual_seed(0)
    first = random.attribute(x, seed=1)
    torch.manual_seed(1)
    assert torch.equal(first, random.attribute(x, seed=1))
    network.back[3].weight.data *= -7
    assert torch.equal(first, random.attribute(x, seed=1))
    assert not torch.allclose(first, random.attribute(x, seed=2))
    assert not torch.allclose(first, random.attribute(x, seed=1, case="other"))


@pytest.mark.parametrize("sign", [1, -1])
def test_eigen_grad_cam_points_the_way_of_gradient_times_activation(sign: int) -> None:
    network, x = curved(2)
    a, g, _ = inside(network, x[0], lambda y: sign * y[:, 0])
    found = attribute(METHODS.load("eigen-grad-cam")(network, "front"), x[:1], target=lambda y: sign * y[:, 0])
    direction = literal.interpolate(np.reshape(literal.by_place(table(a), table(g)), a.shape[1:]), x.shape[2:])
    assert np.corrcoef(found.relevance[0].flatten().numpy(), direction.ravel())[0, 1] > 0.3
    assert found.notes["compared_with"] == "the mean place of the layer"
