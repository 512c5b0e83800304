"""Running only what follows a layer, against running the whole network."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import CapabilityError


class Counted(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x)


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def left_behind(network: nn.Module) -> int:
    """Hooks and patched modules."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + ("forward" in m.__dict__) for m in network.modules())


class Skip(nn.Module):
    """Every way for what precedes a layer to reach what follows it."""

    def __init__(self, wiring: Callable[["Skip", Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = Counted(nn.Conv2d(1, 2, 3, padding=1))
        self.b = Counted(nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(2, 2, 1)))
        self.layer = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU()
        self.over = nn.ReLU(inplace=True)
        self.same = nn.Dropout(0.5)
        self.last = nn.LazyConv2d(1, 3, padding=1)
        self.wiring = wiring

    def forward(self, x: Tensor) -> Tensor:
        return self.wiring(self, x)


class Table(nn.Module):
    """A table that is the same for all cases, made by a module."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.randn(2, 6, 6))

    def forward(self) -> Tensor:
        return self.rows * 2


def _skip(m: Skip, x: Tensor) -> Tensor:
    a = m.a(x)
    return m.last(m.layer(m.relu(a)) + a)


def _of_input(m: Skip, x: Tensor) -> Tensor:
    return m.last(m.layer(m.a(x)) + torch.sin(x))


def _shared_activation(m: Skip, x: Tensor) -> Tensor:
    a = m.relu(m.a(x))
    return m.relu(m.last(m.relu(m.layer(m.relu(a - 0.1)))))


def _concatenation(m: Skip, x: Tensor) -> Tensor:
    a = m.a(x)
    return m.last(torch.cat([m.layer(a), a, x], 1))


def _overwritten(m: Skip, x: Tensor) -> Tensor:
    a = m.a(x)
    b = m.over(a)
    return m.last(m.layer(b) + a)


def _overwritten_inside(m: Skip, x: Tensor) -> Tensor:
    a = m.a(x)
    return m.last(m.layer(m.b(a)) + a)


def _overwritten_alias(m: Skip, x: Tensor) -> Tensor:
    a = m.a(x)
    b = m.same(a)
    b += 1
    return m.last(m.layer(b) + a)


def _overwritten_after(m: Skip, x: Tensor) -> Tensor:
    a = m.a(x)
    return m.last(m.over(m.layer(a)) + a)


def _table(m: Skip, x: Tensor) -> Tensor:
    return m.last(m.layer(m.a(x)) * m.table())


def _nested(m: Skip, x: Tensor) -> Tensor:
    return m.last(m.inner(m.a(x)) + 1)


WIRINGS = [
    _skip,
    _of_input,
    _shared_activation,
    _concatenation,
    _overwritten,
    _overwritten_inside,
    _overwritten_alias,
    _overwritten_after,
    _table,
    _nested,
]


@pytest.mark.parametrize("wiring", WIRINGS, ids=lambda w: w.__name__[1:])
def test_the_tail_gives_what_the_whole_network_gives(wiring: Any) -> None:
    network, x = Skip(wiring), image(1, 1, 6, 6)
    if wiring is _table:
        network.table = Table()
    if wiring is _nested:
        network.inner = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Sequential(network.layer, nn.ReLU()))
    network.eval()
    with torch.no_grad():
        plain = network(x)
        replacement = torch.cat([network.layer(image(2, 2, 6, 6, seed=3)), torch.zeros(1, 2, 6, 6)])
        with recording.replaced_output(network.layer, lambda _: replacement.clone()):
            expected = network(x.expand(3, -1, -1, -1).clone())
        with recording.replaced_output(network.layer, lambda output: output.clone()) as outputs:
            network(x)
        network.a.calls = network.b.calls = 0
        with recording.tail(network, network.layer, lambda n: network(x.expand(n, -1, -1, -1).clone())) as evaluate:
            opened = network.a.calls
            found = evaluate(replacement)
            again = evaluate(replacement[1:2])
            unchanged = evaluate(outputs[0])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(again, expected[1:2])
    torch.testing.assert_close(unchanged, plain)
    assert not torch.allclose(expected[:1], expected[1:2])
    assert (opened, network.a.calls) == (1, 1), "what precedes the layer runs once"
    assert left_behind(network) == 0


def test_the_tail_of_a_layer_that_does_not_run_is_refused() -> None:
    network = Skip(_skip)
    idle = nn.Conv2d(1, 1, 1)
    network.idle = idle
    with (
        pytest.raises(CapabilityError, match="does not reach"),
        recording.tail(network, idle, lambda n: network(image(n, 1, 6, 6))),
    ):
        pass
    assert left_behind(network) == 0


def test_the_automatic_layer_is_not_one_that_runs_twice() -> None:
    network, x = Skip(_shared_activation).eval(), image(1, 1, 6, 6)
    network(x)
    found = recording.find_layer(network, None, lambda: network(x))
    assert recording.layer_name(network, found) == "last"
