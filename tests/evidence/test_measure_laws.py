"""What every registered measure keeps."""

import copy
import inspect
import math
from dataclasses import replace

import pytest
import torch
from oracles import Linear, drawn, exhibit, gradient
from torch import nn

from regard.core import recording
from regard.core.quantity import Quantity, Sign
from regard.evidence import MEASURES
from regard.evidence.measure import AbstractMeasure, Places
from regard.evidence.surrogate import surrogate
from regard.testing.networks import TinyNetwork

NAMES = list(MEASURES)
FAMILIES = {"faithful", "sane", "stable", "right", "agreement", "complexity"}
FEWER = {"n_parts": 16, "n_steps": 6, "n_samples": 12, "n_sets": 8, "n_draws": 2, "n_surrogates": 5, "n_stages": 2}

IN_THE_MAPS_UNIT = {"infidelity", "completeness-error"}
"""A map of twice the size says something else: these figures change with it. All others do not."""


def make(name: str, **settings) -> AbstractMeasure:
    """A small version of a measure."""
    kind = MEASURES.load(name)
    known = inspect.signature(kind.__init__).parameters
    return kind(**{k: v for k, v in FEWER.items() if k in known} | settings)


def by_gradient(factor: float = 1.0):
    def explain(network, x):
        return factor * gradient(network, x) * x

    return explain


def tiny(size=(8, 9), **settings):
    """A case of a small network, with everything that a measure may ask for."""
    network, x = TinyNetwork(size), drawn(size)
    core = torch.zeros(size, dtype=torch.bool)
    core[2:5, 2:5] = True
    decoy = torch.zeros(size, dtype=torch.bool)
    decoy[6:] = True
    settings = {
        "explain": by_gradient(),
        "reference": torch.zeros_like(x),
        "places": Places(core, allowed=core.roll(1, 0), decoy=decoy, spacing=(1.0, 2.0, 3.0)[: len(size)]),
        "others": {"another": drawn(size, 5)},
        "spread": 2.0,
    } | settings
    return exhibit(network, x, by_gradient()(network, x), **settings)


def close(a: float, b: float, tolerance: float = 1e-9) -> bool:
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_tells_what_the_class_does(name) -> None:
    _, line, unit, direction = MEASURES.entry(name)
    kind = MEASURES.load(name)
    assert issubclass(kind, AbstractMeasure)
    assert kind.direction == direction
    assert kind.family in FAMILIES
    assert kind.needs <= {"places", "explain", "others", "layers", "gradient"}
    assert line == line.strip().removesuffix(".")
    units = {word for part in unit.split(" or ") for word in [part]}
    found = make(name).measure(tiny())
    assert found.unit in units
    assert not math.isnan(found.value), found.notes
    assert inspect.getdoc(kind)


@pytest.mark.parametrize("name", NAMES)
def test_without_what_it_needs_it_says_that_it_cannot(name) -> None:
    measure, case = make(name), tiny()
    assert measure.can(case)
    bare = replace(case, places=None, explain=None, others={}, network=lambda x: x)
    assert measure.can(bare) == (not measure.needs - {"gradient"})


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_figure(name) -> None:
    torch.manual_seed(1)
    first = make(name).measure(tiny())
    torch.manual_seed(2)
    second = make(name).measure(tiny())
    assert first.value == second.value
    assert list(first.notes) == list(second.notes)
    assert all(torch.equal(a, second.curve[k]) for k, a in first.curve.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_batch_makes_no_difference(name) -> None:
    one, seven = (make(name).measure(tiny(batch_size=n)).value for n in (1, 7))
    assert close(one, seven)


@pytest.mark.parametrize("name", NAMES)
def test_the_network_comes_back_as_it_was(name) -> None:
    case = tiny()
    network = case.network
    network.train()
    network.first.weight.requires_grad_(False)
    network.head.bias.grad = torch.ones_like(network.head.bias)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    x, relevance, random = case.x.clone(), case.relevance.clone(), torch.get_rng_state()
    make(name).measure(case)
    after = network.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())
    assert all(m.training for m in network.modules())
    assert not network.first.weight.requires_grad
    assert network.head.weight.requires_grad
    assert torch.equal(network.head.bias.grad, torch.ones_like(network.head.bias))
    assert network.head.weight.grad is None
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in network.modules())
    assert torch.equal(case.x, x)
    assert torch.equal(case.relevance, relevance)
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_twice_the_size_gives_the_same_figure_where_that_is_stated(name) -> None:
    case = tiny()
    factor = 1e-6
    scaled = replace(
        case,
        relevance=factor * case.relevance,
        explain=by_gradient(factor),
        others={k: 3 * m for k, m in case.others.items()},
    )
    same = close(make(name).measure(case).value, make(name).measure(scaled).value)
    assert same != (name in IN_THE_MAPS_UNIT)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_of_zeros_is_undefined(name) -> None:
    found = make(name).measure(tiny().with_map(torch.zeros(1, 1, 8, 9, dtype=torch.float64)))
    assert math.isnan(found.value)
    assert found.notes["undefined"]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_a_volume_of_one_slice(name) -> None:
    flat = tiny()
    deep = tiny((8, 9, 1))
    for a, b in zip(flat.network.parameters(), deep.network.parameters(), strict=True):
        assert torch.equal(a.flatten(), b.flatten())
    assert torch.equal(flat.relevance[..., None], deep.relevance)
    assert close(make(name).measure(flat).value, make(name).measure(deep).value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(24,), (5, 4, 6)])
def test_signals_and_volumes_are_measured_too(name, size) -> None:
    x = drawn(size)
    core = torch.zeros(size, dtype=torch.bool)
    core[1:3] = True
    network = TinyNetwork(size)
    case = exhibit(
        network,
        x,
        by_gradient()(network, x),
        explain=by_gradient(),
        reference=torch.zeros_like(x),
        places=Places(core, decoy=core.roll(2, 0)),
        others={"another": drawn(size, 5)},
    )
    assert not math.isnan(make(name).measure(case).value)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_enough(name) -> None:
    double = tiny()
    single = replace(
        double,
        network=copy.deepcopy(double.network).float(),
        x=double.x.float(),
        relevance=double.relevance.float(),
        reference=torch.zeros(1, 1, 8, 9),
    )
    assert close(make(name).measure(double).value, make(name).measure(single).value, 2e-3)


FAITHFUL_OR_RIGHT = [n for n in NAMES if MEASURES.load(n).family in ("faithful", "right")]


@pytest.mark.parametrize("name", FAITHFUL_OR_RIGHT)
def test_perfect_maps_beat_random_ones_and_those_beat_inverted_ones(name) -> None:
    """On a linear regressor that looks at a known place; the inverted map is the negative, or lies elsewhere."""
    size = (12, 12)
    core = torch.zeros(size, dtype=torch.bool)
    core[3:7, 4:8] = True
    decoy = torch.zeros(size, dtype=torch.bool)
    decoy[9:11, 1:4] = True
    x = 1 + 0.3 * drawn(size)
    weight = drawn(size, 1) * core
    measure = make(name, **({"n_parts": 36} if "n_parts" in inspect.signature(MEASURES.load(name)).parameters else {}))
    right = measure.family == "right"
    settings = {"places": Places(core, decoy=decoy), "reference": torch.zeros_like(x)}
    if name in ("completeness-error",) or right:
        perfect = weight * x
    else:
        perfect = weight
        settings |= {"quantity": Quantity.SENSITIVITY, "sign": Sign.RAISES}
    inverted = perfect.abs().max() - perfect.abs() if right else -perfect
    if name == "decoy-share":
        inverted = decoy[None, None].double()
    case = exhibit(Linear(weight, 60.0), x, perfect, **settings)
    better = 1.0 if measure.direction == "higher" else -1.0
    random = [measure.measure(case.with_map(surrogate(perfect, seed=0, case="random", draw=k))).value for k in range(9)]
    middle = sorted(random)[4]
    best, worst = measure.measure(case).value, measure.measure(case.with_map(inverted)).value
    assert better * best >= better * max(random, key=lambda v: better * v) - 1e-9
    assert better * best > better * worst + 1e-6
    assert better * middle >= better * worst - 1e-9


def test_the_listing_loads_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys; from regard.evidence import MEASURES; list(MEASURES); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_compiled_or_wrapped_network_is_randomised_inside() -> None:
    case = tiny()
    wrapped = replace(case, network=nn.DataParallel(case.network))
    assert recording.unwrap(wrapped.network) is case.network
    for name in ("cascading-randomisation", "deletion"):
        assert close(make(name).measure(wrapped).value, make(name).measure(case).value)
