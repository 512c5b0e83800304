"""Incremental occlusion gives what the plain loop gives, on networks of any supported operations."""

import copy
import logging
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import CapabilityError, InputError
from regard.core.image_target import Mean
from regard.core.inputs import Inputs
from regard.core.spatial import windows
from regard.explainers.perturbation.incremental.engine import Engine
from regard.explainers.perturbation.incremental.program import Kind, read_program
from regard.explainers.perturbation.incremental.trace import UnsupportedGraphError, trace
from regard.explainers.perturbation.occlusion import Occlusion
from regard.models.zoo.sfcn import sfcn
from regard.testing.networks import Faulty, TinyNetwork, TwoInputs

ENGINE = "regard.explainers.perturbation.incremental.engine"


def both(network: Any, x: Tensor, target: Any = None, **knobs: Any) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """The maps of the engine and of the plain loop, before they become float32, and the engine's notes."""
    maps, notes = [], {}
    for mode in ("always", "never"):
        explainer = Occlusion(network, incremental=mode, **knobs)
        kept: list[Tensor] = []
        plain_map = explainer._map
        explainer._map = lambda *a, plain_map=plain_map, kept=kept: kept.append(plain_map(*a)) or kept[-1]  # type: ignore
        found = explainer.compute(x, target)
        maps.append(kept[0][0])
        notes = notes or found.notes
    return maps[0], maps[1], notes


def assert_equal(network: Any, x: Tensor, target: Any = None, **knobs: Any) -> dict[str, Any]:
    """Equal to 1e-10 of the range, or to the rounding of the output where the range is smaller than that."""
    found, expected, notes = both(network, x, target, **knobs)
    assert found.dtype == torch.float64
    spread = float(expected.max() - expected.min())
    with torch.no_grad():
        rounding = 1e-13 * float(network(x).abs().max())
    assert float((found - expected).abs().max()) <= 1e-10 * spread + rounding
    return notes


# --- architectures -----------------------------------------------------------------------------------------------


def layer(name: str, n: int) -> type[nn.Module]:
    return getattr(nn, f"{name}{n}d")  # type: ignore[no-any-return]


class Functions(nn.Module):
    """Activations and pooling as functions and methods, some in place."""

    def __init__(self, n: int, kind: str) -> None:
        super().__init__()
        self.n, self.kind = n, kind
        self.weight = nn.Parameter(torch.linspace(-1, 1, 2 * 2 * 3**n).reshape(2, 2, *[3] * n))

    def forward(self, x: Tensor) -> Tensor:
        pool = {2: functional.max_pool2d, 3: functional.max_pool3d}[self.n]
        mean = {2: functional.avg_pool2d, 3: functional.avg_pool3d}[self.n]
        convolve = {2: functional.conv2d, 3: functional.conv3d}[self.n]
        if self.kind == "pool":
            return pool(functional.leaky_relu(x, 0.2, inplace=True), 2, padding=1)
        if self.kind == "mean":
            return mean(torch.tanh(x).mul(2).clamp(max=1.5), kernel_size=3, stride=1, padding=1) - 0.1
        if self.kind == "convolve":
            return convolve(functional.dropout(x, 0.5, self.training), self.weight, padding="same").relu_()
        if self.kind == "enlarge":
            return functional.interpolate(x, scale_factor=2, mode="nearest")
        return functional.softmax(x, 1) / (1 + x.square()) + torch.sigmoid(x)


@st.composite
def simple(draw: Any, n: int) -> nn.Module:
    """One operation on two channels that gives two channels."""
    kind = draw(
        st.sampled_from(
            ("conv", "transposed", "max", "mean", "norm", "activation", "enlarge", "functions", "shape-keeping", "pad")
        )
    )
    k, s, d = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    if kind == "conv":
        groups, bias = draw(st.sampled_from((1, 2))), draw(st.booleans())
        padding = draw(st.integers(0, 2))
        return layer("Conv", n)(2, 2, k, stride=s, padding=padding, dilation=d, groups=groups, bias=bias)
    if kind == "shape-keeping":
        return layer("Conv", n)(2, 2, k, padding="same", dilation=d)
    if kind == "pad":
        border = draw(st.tuples(*[st.integers(0, 2)] * (2 * n)))
        return layer("ConstantPad", n)(border, draw(st.sampled_from((0.0, 1.5))))
    if kind == "transposed":
        padding, more = draw(st.integers(0, k - 1)), draw(st.integers(0, max(s, d) - 1))
        groups = draw(st.sampled_from((1, 2)))
        return layer("ConvTranspose", n)(2, 2, k, s, padding, more, groups, dilation=d)
    if kind == "max":
        return layer("MaxPool", n)(k, s, draw(st.integers(0, k // 2)), d, ceil_mode=draw(st.booleans()))
    if kind == "mean":
        padding, ceil, pad = draw(st.integers(0, k // 2)), draw(st.booleans()), draw(st.booleans())
        return layer("AvgPool", n)(k, s, padding, ceil, pad, draw(st.sampled_from((None, 3))))
    if kind == "norm":
        norm = layer("BatchNorm", n)(2)
        norm.running_mean.copy_(torch.tensor([0.3, -0.2]))
        norm.running_var.copy_(torch.tensor([0.5, 2.0]))
        return norm
    if kind == "activation":
        chosen = draw(
            st.sampled_from((nn.ReLU(), nn.ReLU(True), nn.ELU(inplace=True), nn.PReLU(2), nn.Dropout(), nn.Softplus()))
        )
        return copy.deepcopy(chosen)
    if kind == "enlarge":
        mode = draw(st.sampled_from(("nearest", {2: "bilinear", 3: "trilinear"}[n])))
        return nn.Upsample(scale_factor=draw(st.sampled_from((2, 3) if n == 2 else (2,))), mode=mode)
    return Functions(n, draw(st.sampled_from(("pool", "mean", "convolve", "enlarge", "other"))))


class Branches(nn.Module):
    """Two ways from the same tensor, joined."""

    def __init__(self, n: int, left: nn.Module, right: nn.Module, join: str) -> None:
        super().__init__()
        self.left, self.right, self.join = left, right, join
        self.mix = layer("Conv", n)(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.left(x), self.right(x)
        if self.join == "cat":
            return self.mix(torch.cat([a, b], dim=1))  # type: ignore[no-any-return]
        if self.join == "mul":
            return a * b
        if self.join == "in-place":
            a = a * 1
            a += b
            return functional.relu_(a)
        return torch.sub(a, b, alpha=0.5)


@st.composite
def keeping(draw: Any, n: int) -> nn.Module:
    """A short way that keeps the grid, so that it can be joined with another."""
    steps: list[nn.Module] = []
    for kind in draw(st.lists(st.sampled_from(("conv", "relu", "max", "mean", "transposed")), max_size=3)):
        d = draw(st.integers(1, 2))
        if kind == "conv":
            steps.append(layer("Conv", n)(2, 2, 3, padding=d, dilation=d))
        elif kind == "relu":
            steps.append(nn.LeakyReLU(0.1))
        elif kind == "transposed":
            steps += [layer("MaxPool", n)(1), layer("ConvTranspose", n)(2, 2, 3, padding=1)]
        else:
            steps.append(layer("MaxPool" if kind == "max" else "AvgPool", n)(3, 1, 1))
    return nn.Sequential(*steps)


@st.composite
def network(draw: Any, n: int) -> nn.Module:
    seed = draw(st.integers(0, 2**16))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        steps: list[nn.Module] = []
        for _ in range(draw(st.integers(1, 5))):
            if draw(st.integers(0, 3)) == 0:
                join = draw(st.sampled_from(("cat", "mul", "sub", "in-place")))
                steps.append(Branches(n, draw(keeping(n)), draw(keeping(n)), join))
            else:
                steps.append(draw(simple(n)))
        pool = layer("AdaptiveAvgPool", n)(1)
        steps += [pool, nn.Flatten(), nn.Linear(2, 1)]
        return nn.Sequential(*steps).double().eval().requires_grad_(False)


@st.composite
def case(draw: Any) -> tuple[nn.Module, Tensor, list[tuple[slice, ...]]]:
    n = draw(st.sampled_from((2, 3)))
    size = draw(st.tuples(*[st.integers(6, 11) if n == 2 else st.integers(5, 7)] * n))
    window = draw(st.tuples(*[st.integers(1, 4)] * n))
    stride = [draw(st.integers((w + 1) // 2, w)) for w in window]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    x = torch.randn(1, 2, *size, generator=generator, dtype=torch.float64)
    return draw(network(n)), x, list(windows(size, window, stride))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@given(case(), st.sampled_from((None, 1, 3)))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_it_equals_the_plain_loop_on_any_architecture(drawn: Any, batch_size: int | None) -> None:
    built, x, boxes = drawn
    try:
        built(x)
    except RuntimeError:
        assume(False)  # a grid that has shrunk to nothing
    program = read_program(trace(built, Inputs.of(x)), x, limit=100)
    # All but the last pooling, the flattening, the head and the output run on patches.
    assert [s.kind for s in program.steps.values()].count(Kind.WHOLE) == 4
    engine = Engine(program, boxes, batch_size)
    found, expected = [], []
    for k in range(0, len(boxes), engine.batch_size):
        items = engine.order[k : k + engine.batch_size]
        found.append(engine.run(items, torch.zeros(len(items), 2, *[p.stop - p.start for p in boxes[0]]).double()))
    for i in engine.order:
        hidden = x.clone()
        hidden[(slice(None), slice(None), *boxes[i])] = 0
        expected.append(built(hidden))
    exact = torch.cat(expected)
    off = float((torch.cat(found) - exact).abs().max())
    assert off <= 1e-10 * float(exact.max() - exact.min()) + 1e-13 * float(exact.abs().max())


# --- whole maps --------------------------------------------------------------------------------------------------


def test_sfcn() -> None:
    torch.manual_seed(0)
    network = sfcn(3, widths=(4, 6, 6, 4)).double().eval()
    notes = assert_equal(network, torch.randn(1, 1, 20, 24, 16, dtype=torch.float64), window=4, stride=3, filler=0.0)
    assert notes["operations"] > 2


class Residual(nn.Module):
    """A residual network that reads its own shape, as many do."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 5, 2, 2)
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        y = self.b(self.relu(self.a(x)))
        y += x
        y = self.relu(y)
        y = y.mean((2, 3)).view(x.size(0), -1)
        return self.head(y)  # type: ignore[no-any-return]


def test_residual() -> None:
    torch.manual_seed(0)
    assert_equal(Residual().double().eval(), torch.randn(1, 1, 40, 33, dtype=torch.float64), window=6, filler="blur")


class SavedBefore(nn.Module):
    """Reads a tensor both before and after it is written on."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv1d(1, 3, 3, padding=1), nn.ReLU(inplace=True)
        self.after = nn.Conv1d(3, 3, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        before = functional.max_pool1d(x, 3, 1, 1)
        after = self.after(self.relu(x))
        return (before + after + x).flatten(1).square().sum(1)  # this x was written on


def test_a_tensor_read_before_and_after_it_is_written_on() -> None:
    torch.manual_seed(0)
    assert_equal(SavedBefore().double(), torch.randn(1, 1, 50, dtype=torch.float64), window=4, filler=0.0)


def test_an_image_to_image_network_and_a_region() -> None:
    torch.manual_seed(0)
    down, up = nn.Conv2d(1, 4, 3, 2, 1), nn.ConvTranspose2d(4, 4, 3, 2, 1, 1)
    network = nn.Sequential(down, nn.PReLU(), up, nn.PReLU(), nn.Conv2d(4, 1, 3, padding=1)).double()
    region = torch.zeros(24, 24, dtype=torch.bool)
    region[5:9, 10:20] = True
    assert_equal(network, torch.randn(1, 1, 24, 24, dtype=torch.float64), Mean(region), window=4, filler=1.0)


def test_bfloat16_and_a_batch() -> None:
    torch.manual_seed(0)
    network = sfcn(2, widths=(4, 4, 4)).eval()
    x = torch.randn(3, 1, 32, 32)
    one_by_one = torch.cat(
        [Occlusion(network, window=8, incremental="always").attribute(x[n : n + 1]) for n in range(3)]
    )
    together = Occlusion(network, window=8, incremental="always").attribute(x)
    torch.testing.assert_close(together, one_by_one, rtol=1e-5, atol=1e-8)
    coarse = Occlusion(copy.deepcopy(network).bfloat16(), window=8, incremental="always").attribute(x.bfloat16())
    assert coarse.dtype == torch.float32
    assert float(torch.corrcoef(torch.stack([coarse.flatten(), together.flatten()]))[0, 1]) > 0.8


def test_its_float32_error_is_at_most_twice_that_of_the_plain_loop() -> None:
    torch.manual_seed(0)
    network = sfcn(3, widths=(8, 16, 8)).eval()
    x = torch.randn(1, 1, 20, 20, 20)
    exact = Occlusion(copy.deepcopy(network).double(), window=6, filler=0.0, incremental="never").attribute(x.double())
    errors = [
        float((Occlusion(network, window=6, filler=0.0, incremental=m).attribute(x) - exact).abs().max())
        for m in ("always", "never")
    ]
    assert 0 < errors[0] <= 2 * errors[1]


# --- the count of operations --------------------------------------------------------------------------------------


def test_operations_are_counted_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv1d(1, 2, 3, padding=1), nn.Conv1d(2, 1, 3, padding=1), nn.Flatten(), nn.Linear(32, 1)
    )
    x = torch.randn(1, 1, 32, dtype=torch.float64)
    program = read_program(trace(network.double().eval(), Inputs.of(x)), x, limit=1)
    # per place: 3 x 1 x 2 multiply-adds, then 3 x 2 x 1; the head 32
    assert program.flops == 2 * (32 * 6 + 32 * 6 + 32)
    # windows of 4: the interior reach 6 and 8 places, the two at the ends 5 and 6
    engine = Engine(program, list(windows((32,), (4,), (4,))))
    interior, end = 6 * 6 + 6 * 8 + 32, 6 * 5 + 6 * 6 + 32
    assert engine.bound == pytest.approx(8 * (6 * 64 + 32) / (6 * interior + 2 * end))
    assert engine.batch_size == 256
    assert engine.operations == pytest.approx((6 * 64 + 32) / interior)  # one batch, as large as the largest


def test_the_reach_is_no_larger_than_what_changes() -> None:
    """The boxes are tight: with kernels of positive weights their outermost places do change."""
    network = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.AvgPool2d(3, 1, 1), nn.Conv2d(1, 1, 3, padding=2, dilation=2))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.5)
    x = torch.rand(1, 1, 20, 20, dtype=torch.float64)
    network = network.double().eval()
    boxes = list(windows((20, 20), (3, 3), (3, 3)))
    program = read_program(trace(network, Inputs.of(x)), x, limit=1)
    engine = Engine(program, boxes)
    last = [n for n, s in program.steps.items() if s.kind is Kind.PATCH][-1]
    reach = engine._reach[last]
    for k, box in enumerate(boxes):
        hidden = x.clone()
        hidden[(slice(None), slice(None), *box)] = -1
        changed = torch.nonzero((network(hidden) - network(x))[0, 0].abs() > 1e-12).numpy()
        assert np.array_equal(changed.min(0), reach.start[k])
        assert np.array_equal(changed.max(0) + 1, reach.stop[k])


# --- when the plain loop runs --------------------------------------------------------------------------------------


class Decides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).sum(1) if x.sum() > 0 else x.flatten(1).square().sum(1)


class Notes(nn.Module):
    """Keeps what it saw, and has a state that tracing must not touch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)
        self.seen: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return self.conv(x * torch.tensor(2.0, dtype=x.dtype)).flatten(1).square().sum(1)


class Aliases(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        z = y
        y += 1
        return (y * z).flatten(1).sum(1)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "explainers" in r.name]


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Decides(), "cannot be traced"),
        (lambda x: x.flatten(1).sum(1), "no torch.nn.Module"),
        (Aliases(), "where the network gives"),
        (nn.Sequential(nn.InstanceNorm1d(1), nn.Conv1d(1, 1, 3), nn.Flatten(), nn.Linear(18, 1)), "too few"),
    ],
)
def test_falling_back_is_one_sentence(network: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    x = torch.rand(1, 1, 20, dtype=torch.float64)
    network = network.double() if isinstance(network, nn.Module) else network
    with caplog.at_level(logging.INFO):
        found = Occlusion(network, window=4, filler=-1.0).attribute(x)
    said = [line for line in lines(caplog) if "whole network" in line]
    assert len(said) == 1
    assert reason in said[0]
    plain = Occlusion(network, window=4, filler=-1.0, incremental="never").attribute(x)
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-9)


def test_always_refuses_what_it_cannot_do() -> None:
    with pytest.raises(CapabilityError, match="incremental='always'"):
        Occlusion(Decides(), window=4, incremental="always").attribute(torch.rand(1, 1, 20))
    with pytest.raises(CapabilityError, match="several inputs"):
        two = TwoInputs((8, 9))
        Occlusion(two, window=4, incremental="always").attribute([torch.rand(1, 1, 8, 9, dtype=torch.float64)] * 2)
    with pytest.raises(InputError, match="incremental"):
        Occlusion(Decides(), incremental="often")  # type: ignore[arg-type]


def test_the_first_window_is_compared_with_the_network(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    torch.manual_seed(0)
    network, x = sfcn(2, widths=(4, 4, 4)).double().eval(), torch.randn(1, 1, 32, 32, dtype=torch.float64)
    plain = Occlusion(network, window=4, incremental="never").attribute(x)
    run = Engine.run
    monkeypatch.setattr(f"{ENGINE}.Engine.run", lambda self, items, hidden: run(self, items, hidden) + 1)
    assert torch.equal(Occlusion(network, window=4).attribute(x), plain)
    assert any("gives" in line and "whole network" in line for line in lines(caplog))
    with pytest.raises(CapabilityError, match="gives"):
        Occlusion(network, window=4, incremental="always").attribute(x)


def test_too_much_to_keep_falls_back() -> None:
    network = nn.Sequential(nn.Conv1d(1, 64, 3), nn.Conv1d(64, 1, 3)).double().eval()
    x = torch.rand(1, 1, 4000, dtype=torch.float64)
    with pytest.raises(UnsupportedGraphError, match="MiB"):
        read_program(trace(network, Inputs.of(x)), x, limit=1)
    assert read_program(trace(network, Inputs.of(x)), x, limit=3).mebibytes == pytest.approx(
        8 * (4000 + 64 * 3998 + 3996) / 2**20
    )


@pytest.mark.parametrize("network", [Notes().double(), TinyNetwork((20,), in_place=True), Residual().double()])
def test_tracing_leaves_the_network_as_it_was(network: nn.Module) -> None:
    size = (40, 40) if isinstance(network, Residual) else (20,)
    x = torch.rand(1, 1, *size, dtype=torch.float64)
    network.eval()
    before = {n: dict(m.__dict__) for n, m in network.named_modules()}
    state = copy.deepcopy(network.state_dict())
    trace(network, Inputs.of(x))
    after = {n: dict(m.__dict__) for n, m in network.named_modules()}
    assert {n: list(d) for n, d in before.items()} == {n: list(d) for n, d in after.items()}
    assert all(before[n][k] is after[n][k] for n in before for k in before[n])
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())


def test_named_inputs_and_networks_that_fail() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(1, 1, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(20, 1)).double()
    x = torch.rand(1, 1, 20, dtype=torch.float64)
    named = Occlusion(network, window=4, incremental="always").attribute({"input": x})
    assert torch.equal(named["input"], Occlusion(network, window=4, incremental="always").attribute(x))
    with pytest.raises(ArithmeticError):
        Occlusion(Faulty(network, 2), window=4).attribute(x)


def test_memory_that_runs_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = sfcn(2, widths=(4, 4, 4)).double().eval()
    x = torch.randn(1, 1, 32, 32, dtype=torch.float64)
    expected = Occlusion(network, window=4, incremental="always").attribute(x)
    run, sizes = Engine.run, []

    def small(self: Engine, items: Any, hidden: Tensor) -> Any:
        sizes.append(len(items))
        if len(items) > 10:
            raise torch.OutOfMemoryError("too large")
        return run(self, items, hidden)

    monkeypatch.setattr(f"{ENGINE}.Engine.run", small)
    torch.testing.assert_close(Occlusion(network, window=4, incremental="always").attribute(x), expected)
    assert max(sizes) > 10
    assert min(s for s in sizes if s > 1) <= 10


def test_windows_that_change_nothing_are_not_run_and_have_no_effect() -> None:
    calls: list[int] = []

    def network(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x.flatten(1).square().sum(1) + 1 / 3

    x = torch.zeros(1, 1, 16, 16)
    x[..., :4, :4] = 1
    found = Occlusion(network, window=4, stride=4, filler=0.0).attribute(x)
    assert sum(calls) == 2  # the output itself and the one window
    assert float(found[..., :4, :4].min()) == 16
    assert float(found.abs().sum()) == 256
    calls.clear()
    # An image that is all filler cannot be hidden: nothing is known, and nothing is run.
    assert bool(torch.isnan(Occlusion(network, window=4, stride=4, filler=0.0).attribute(0 * x)).all())
    assert sum(calls) == 1
