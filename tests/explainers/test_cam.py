"""Class activation maps: symptoms seen elsewhere that must not show here, and what each method says of itself."""

import copy
import logging
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.core.errors import CapabilityError, InputError
from regard.core.quantity import Quantity, Sign
from regard.explainers import METHODS
from regard.testing.networks import Faulty

CAMS = [name for name in METHODS if ".cam." in METHODS.entry(name)[0]]
ONE_PASS = [name for name in CAMS if METHODS.load(name).cases_together]


class Small(nn.Module):
    """Convolution, norm, activation, convolution, pooling, linear; front and back to be named."""

    def __init__(self, n_outputs: int = 1, *, in_place: bool = False, channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.front = nn.Conv2d(channels, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=in_place)
        self.back = nn.Conv2d(4, 3, 3, padding=1)
        self.head = nn.Linear(3, n_outputs)
        self.head.weight.data[:, :2] = torch.tensor([1.5, -1.0])
        self.back.bias.data += 0.3
        self.double().eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.front(x)))
        return self.head(self.relu(self.back(x)).mean((2, 3)))


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-6) -> None:
    assert a.shape == b.shape
    assert float((a - b).abs().max()) <= tolerance * float(b.abs().max())
    assert float(b.abs().max()) > 0


def make(name: str, network: Any, layer: Any = None, **knobs: Any) -> Any:
    return METHODS.load(name)(network, layer, **knobs)


def test_the_family_is_whole() -> None:
    assert len(CAMS) == 11
    assert len(ONE_PASS) == 8


def lowering() -> nn.Module:
    """A regressor near 60 whose evidence lowers the output."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1)
    )
    network[4].weight.data = -network[4].weight.data.abs()
    network[4].bias.data[:] = 60
    return network.double().eval()


@pytest.mark.parametrize("name", [n for n in CAMS if n != "layer-cam"])
def test_negative_evidence_of_a_regressor_gives_no_empty_map(name: str) -> None:
    found = make(name, lowering(), "1").attribute(image(1, 1, 6, 6))
    assert float(found.abs().max()) > 1e-4
    if name in ("grad-cam", "grad-ram", "grad-ramp", "hires-cam", "grad-cam++", "ablation-cam", "crm"):
        assert float(found.max()) <= 0


def test_layer_cam_says_that_it_left_all_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = make("layer-cam", lowering(), "1").compute(image(2, 1, 6, 6))
    assert float(found.relevance[0].abs().max()) == 0
    assert found.notes["left_out"] == [1.0, 1.0]
    assert "choose hires-cam or grad-ram" in caplog.text


def test_layer_cam_states_what_it_left_out() -> None:
    network, x = Small(), image(1, 1, 8, 8)
    found = make("layer-cam", network, "norm").compute(x)
    products, gradients = _by_hand(network, x)
    share = products.abs()[gradients < 0].sum() / products.abs().sum()
    assert 0 < found.notes["left_out"] < 1
    assert found.notes["left_out"] == pytest.approx(float(share), rel=1e-6)


def _by_hand(network: Small, x: Tensor) -> tuple[Tensor, Tensor]:
    a = network.norm(network.front(x)).detach().requires_grad_()
    y = network.head(network.relu(network.back(network.relu(a.clone()))).mean((2, 3)))
    (g,) = torch.autograd.grad(y.sum(), a)
    return a.detach() * g, g


@pytest.mark.parametrize("name", CAMS)
def test_a_batch_without_target_gives_what_its_cases_give(name: str) -> None:
    network, x = Small(), image(3, 1, 8, 8)
    together = make(name, network, "back").attribute(x)
    for n in range(3):
        close(together[n : n + 1], make(name, network, "back").attribute(x[n : n + 1]))


@pytest.mark.parametrize("name", CAMS)
def test_a_batch_of_two_with_features_of_two_by_two_does_not_broadcast(name: str) -> None:
    network, x = Small(), image(2, 1, 4, 4)
    together = make(name, network, "back").attribute(x)
    assert together.shape == (2, 1, 4, 4)
    for n in range(2):
        close(together[n : n + 1], make(name, network, "back").attribute(x[n : n + 1]))


@pytest.mark.parametrize("name", CAMS)
def test_a_target_for_each_case(name: str) -> None:
    network, x = Small(3), image(2, 1, 8, 8)
    both = make(name, network, "back").attribute(x, [2, 0])
    for n, target in enumerate((2, 0)):
        close(both[n : n + 1], make(name, network, "back").attribute(x[n : n + 1], target))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["grad-cam", "grad-ram"])
def test_volumes_are_pooled_over_all_three_axes(name: str, axis: int) -> None:
    slope = torch.arange(1.0, 4.0, dtype=torch.float64).reshape([3 if a == axis else 1 for a in range(3)])

    class Sloped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            return (self.layer(x * 1)[:, 0] * slope).sum((1, 2, 3))

    x = image(1, 1, 3, 3, 3)
    close(make(name, Sloped(), "layer").attribute(x), (2 * x).float())


@pytest.mark.parametrize("name", CAMS)
def test_training_mode_comes_back_and_batch_norm_saw_nothing(name: str) -> None:
    network = Small().train()
    network.back.eval()
    before = copy.deepcopy(network.state_dict())
    make(name, network, "back").attribute(image(2, 1, 8, 8))
    assert [m.training for m in (network, network.norm, network.back)] == [True, True, False]
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


@pytest.mark.parametrize("name", CAMS)
def test_no_gradient_is_left_in_the_parameters_or_the_input(name: str) -> None:
    network, x = Small(), image(1, 1, 8, 8).requires_grad_()
    network.head.weight.grad = torch.full_like(network.head.weight, 7)
    make(name, network, "back").attribute(x)
    assert x.grad is None
    assert all(p.requires_grad for p in network.parameters())
    assert bool((network.head.weight.grad == 7).all())
    assert [n for n, p in network.named_parameters() if p.grad is not None] == ["head.weight"]


def hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in network.modules())


@pytest.mark.parametrize("name", CAMS)
def test_twenty_explainers_leave_no_hooks(name: str) -> None:
    network = Small()
    explainers = [make(name, network, "back") for _ in range(20)]
    explainers[0].attribute(image(1, 1, 8, 8))
    explainers[19].attribute(image(1, 1, 8, 8))
    assert hooks(network) == 0


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("name", CAMS)
def test_a_network_that_fails_keeps_no_hook_and_no_patched_layer(name: str, at: int) -> None:
    network = Faulty(Small(), at)
    explainer = make(name, network, "network.back", **({"ablate": "always"} if name == "crm" else {}))
    expected = at == 1 or name in ("ablation-cam", "score-cam", "crm")
    try:
        explainer.attribute(image(1, 1, 8, 8))
    except ArithmeticError:
        assert expected
    else:
        assert not expected
    assert hooks(network) == 0
    assert not [m for m in network.modules() if "forward" in m.__dict__]
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("name", CAMS)
def test_an_in_place_activation_right_after_the_layer(name: str) -> None:
    x = image(2, 1, 8, 8)
    plain = make(name, Small(), "norm").attribute(x)
    close(make(name, Small(in_place=True), "norm").attribute(x), plain)


@pytest.mark.parametrize("name", CAMS)
def test_a_reused_activation_is_no_trouble_after_the_layer_and_refused_as_the_layer(name: str) -> None:
    network, x = Small(), image(1, 1, 8, 8)
    twin = copy.deepcopy(network)
    twin.second = nn.ReLU()
    twin.forward = lambda x: twin.head(twin.second(twin.back(twin.relu(twin.norm(twin.front(x))))).mean((2, 3)))
    close(make(name, network, "norm").attribute(x), make(name, twin, "norm").attribute(x))
    with pytest.raises(CapabilityError, match="runs more than once"):
        make(name, network, "relu").attribute(x)


@pytest.mark.parametrize("name", CAMS)
def test_a_compiled_network_is_looked_into(name: str) -> None:
    network, x = Small(), image(1, 1, 8, 8)
    compiled = torch.compile(network)
    close(make(name, compiled, "back").attribute(x), make(name, network, "back").attribute(x))
    close(make(name, compiled, compiled.back).attribute(x), make(name, network, "back").attribute(x))


@pytest.mark.parametrize("name", CAMS)
def test_the_prefix_stores_no_graph(name: str) -> None:
    stored: list[torch.Size] = []

    def note(t: Tensor) -> Tensor:
        stored.append(t.shape)
        return t

    network, x = Small(), image(1, 1, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        make(name, network, "back").attribute(x)
    assert all(shape[1] == 3 for shape in stored if len(shape) == 4), "only what follows the layer is kept"


@pytest.mark.parametrize("name", CAMS)
def test_an_output_that_does_not_depend_on_the_layer_is_an_error(name: str) -> None:
    class Beside(Small):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            return x.flatten(1).sum(1)

    with pytest.raises(CapabilityError, match="no gradient ties to the layer 'back'"):
        make(name, Beside(), "back").compute(image(2, 1, 8, 8))


class Counted(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls, self.largest = inner, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.largest = max(self.largest, len(x))
        return self.inner(x)


def test_published_forms_and_what_they_mean() -> None:
    network, x = Small(), image(2, 1, 8, 8)
    for name in CAMS:
        method = make(name, network, "norm", form="published")
        assert float(method.attribute(x).min()) >= 0
        assert not method.meaning[0].sums
    for name in ("grad-ram", "grad-ramp", "crm"):
        assert make(name, network, form="published").meaning == (Quantity.SCORE, Sign.UNSIGNED)
    assert make("hires-cam", network, form="published").compute(x).completeness_error is None


def test_published_ablation_cam_of_an_output_of_zero_is_refused() -> None:
    network = Small()
    network.head.weight.data.zero_()
    network.head.bias.data.zero_()
    with pytest.raises(InputError, match="form=signed"):
        make("ablation-cam", network, "back", form="published").attribute(image(1, 1, 8, 8))


@pytest.mark.parametrize("name", ["ablation-cam", "score-cam", "crm"])
def test_evaluations_are_streamed(name: str) -> None:
    network, x = Counted(Small()), image(1, 1, 8, 8)
    whole = make(name, network, "inner.front").attribute(x, batch_size=64)
    network.largest = 0
    close(make(name, network, "inner.front").attribute(x, batch_size=2), whole)
    assert network.largest == 2


def test_ablation_runs_the_tail_only() -> None:
    network = Small()
    network.front, network.back = Counted(network.front), Counted(network.back)
    make("ablation-cam", network, "norm").attribute(image(1, 1, 8, 8))
    assert network.front.calls == 2, "one to record, one to open the tail"
    assert network.back.calls > 2


def test_crm_is_not_fooled_by_a_head_that_is_linear_only_near_the_case() -> None:
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)
    ).double()
    x = image(1, 1, 6, 6)
    close(make("crm", network, "0").attribute(x), make("crm", network, "0", ablate="always").attribute(x))
    with pytest.raises(CapabilityError, match="not linear after the layer '0'"):
        make("crm", network, "0", ablate="never").attribute(x)


def test_crm_takes_the_fast_way_after_pooling_and_a_linear_head() -> None:
    network, x = Counted(lowering()), image(1, 1, 16, 16)
    make("crm", network, "inner.1").attribute(x, batch_size=1)
    assert network.calls < 16
    network.calls = 0
    make("crm", network, "inner.1", ablate="always").attribute(x, batch_size=1)
    assert network.calls > 256


@pytest.mark.parametrize(
    ("name", "knobs"),
    [("crm", {"ablate": "sometimes"}), ("score-cam", {"filler_width": 0}), ("grad-cam", {"form": "raw"})],
)
def test_knobs_that_mean_nothing_are_refused(name: str, knobs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        make(name, Small(), **knobs)


def test_a_channel_that_is_the_same_everywhere_is_skipped_by_score_cam() -> None:
    network, x = Small(), image(1, 1, 8, 8)
    network.front.weight.data.zero_()
    assert float(make("score-cam", network, "front").attribute(x).abs().max()) == 0
