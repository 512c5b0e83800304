"""The laws themselves: each takes a way to make an explainer for a network, and raises AssertionError when broken."""

import contextlib
import copy
import gc
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import ReferenceInputError
from regard.core.explainer import AbstractExplainer
from regard.core.quantity import Promise
from regard.testing.networks import Faulty, TinyNetwork, TwoInputs, example, tiny_network_for

__all__ = ["LAWS", "Make", "check", "promised_laws"]

Make: TypeAlias = Callable[[Any], AbstractExplainer]
"""Makes an explainer for a network; its attribute ``network``, where it has one, makes the network of the laws."""

SIZE = (8, 9)


def _tiny(make: Make) -> Callable[..., TinyNetwork]:
    """The network that a method is checked on."""
    network: Callable[..., TinyNetwork] = getattr(make, "network", TinyNetwork)
    return network


def _close(a: Tensor, b: Tensor, what: str, tolerance: float = 1e-5) -> None:
    assert a.shape == b.shape, f"{what}: shapes {tuple(a.shape)} and {tuple(b.shape)}"
    off, size = float((a - b).abs().max()), float(b.abs().max())
    assert off <= tolerance * max(size, 1e-8), f"{what}: off by {off:.3g} for a map of size {size:.3g}"


def _state(network: nn.Module) -> dict[str, Any]:
    """Everything of a network that a method could leave changed."""
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    modules = dict(network.named_modules())
    return {
        "tensors": {k: v.detach().clone().reshape(-1).view(torch.uint8) for k, v in network.state_dict().items()},
        "modes": {n: m.training for n, m in modules.items()},
        "requires_grad": {n: p.requires_grad for n, p in network.named_parameters()},
        "grad": {n: None if p.grad is None else p.grad.clone() for n, p in network.named_parameters()},
        "hooks": {n: [len(getattr(m, h)) for h in hooks] for n, m in modules.items()},
        "in_place": {n: getattr(m, "inplace", None) for n, m in modules.items()},
        "attributes": {n: sorted(m.__dict__) for n, m in modules.items()},
        "classes": {n: type(m) for n, m in modules.items()},
        "random": torch.get_rng_state(),
        "threads": torch.get_num_threads(),
    }


def _same(before: Any, after: Any, where: str = "network") -> None:
    if isinstance(before, Mapping):
        assert list(before) == list(after), f"{where}: {sorted(set(before) ^ set(after))} came or went"
        for key in before:
            _same(before[key], after[key], f"{where}.{key}")
    elif isinstance(before, Tensor):
        assert torch.equal(before, after), f"{where} was changed"
    else:
        assert before == after, f"{where}: {before} became {after}"


def restores(make: Make) -> None:
    """The network comes back byte for byte, in either mode, also after an exception at any call."""
    network = _tiny(make)(SIZE, in_place=True)
    network.train()
    network.last.eval()
    network.first.weight.requires_grad_(False)
    network.head.weight.grad = torch.ones_like(network.head.weight)
    before = _state(network)
    x = example(SIZE)
    kept = x.clone()
    make(network).attribute(x)
    _same(before, _state(network))
    assert torch.equal(x, kept), "the input was changed"
    assert x.grad is None, "the input was given a gradient"
    for at in (1, 2, 5):
        faulty = Faulty(network, at)
        before = _state(faulty)
        explainer = make(faulty)
        with contextlib.suppress(ArithmeticError):
            explainer.attribute(x)
        _same(before, _state(faulty))


def batch(make: Make) -> None:
    """A batch gives what its cases give one by one."""
    network, x = _tiny(make)(SIZE), example(SIZE, 3)
    explainer = make(network)
    together = explainer.attribute(x)
    for n in range(3):
        _close(together[n : n + 1], explainer.attribute(x[n : n + 1]), f"case {n} of a batch")


def dimension(make: Make) -> None:
    """An image gives the same as a signal, an image or a volume of one slice; and a volume gives a volume."""
    flat, thick = _tiny(make)(SIZE), _tiny(make)((*SIZE, 1))
    x = example(SIZE)
    _close(make(thick).attribute(x[..., None])[..., 0], make(flat).attribute(x), "2D and 3D of one slice")
    volume = make(_tiny(make)((6, 5, 4))).attribute(example((6, 5, 4)))
    assert volume.shape == (1, 1, 6, 5, 4), f"a map of shape {tuple(volume.shape)} for a volume of (6, 5, 4)"
    signal = make(_tiny(make)((16,))).attribute(example((16,)))
    assert signal.shape == (1, 1, 16), f"a map of shape {tuple(signal.shape)} for a signal of 16"


def deterministic(make: Make) -> None:
    """The same seed gives the same bits, whatever the batch size and the random state outside."""
    network, x = _tiny(make)(SIZE), example(SIZE)
    torch.manual_seed(1)
    first = make(network).attribute(x, seed=3)
    torch.manual_seed(2)
    assert torch.equal(first, make(network).attribute(x, seed=3)), "two runs with one seed differ"
    _close(make(network).attribute(x, seed=3, batch_size=2), first, "another batch size")


def constant(make: Make) -> None:
    """A network whose output is constant gives zeros."""
    network = _tiny(make)(SIZE)
    network.head.weight.data.zero_()
    found = make(network).attribute(example(SIZE))
    assert float(found.abs().max()) <= 1e-12, f"a constant network gives {float(found.abs().max()):.3g}"


def shift(make: Make) -> None:
    """Adding a constant to the output changes no map."""
    network, x = _tiny(make)(SIZE), example(SIZE)
    before = make(network).attribute(x)
    network.head.bias.data += 5
    _close(make(network).attribute(x), before, "a constant added to the output")


def scale(make: Make) -> None:
    """Three times the output gives three times the map."""
    network, x = _tiny(make)(SIZE), example(SIZE)
    before = make(network).attribute(x)
    network.head.weight.data *= 3
    network.head.bias.data *= 3
    _close(make(network).attribute(x), 3 * before, "three times the output")


def complete(make: Make) -> None:
    """The stated remainder is what the map leaves of f(x) - f(reference)."""
    network, x = _tiny(make)(SIZE), example(SIZE)
    found = make(network).compute(x)
    assert found.completeness_error is not None, "completeness is promised, and no error is stated"
    base = 0 if found.reference_value is None else found.reference_value
    left = found.relevance[0].double().sum() - (found.value - base)
    _close(found.completeness_error.double(), left.reshape(1), "the stated completeness error", 1e-4)


def in_place(make: Make) -> None:
    """In-place activations make no difference."""
    x = example(SIZE)
    plain = make(_tiny(make)(SIZE)).attribute(x)
    _close(make(_tiny(make)(SIZE, in_place=True)).attribute(x), plain, "in-place activations")


def bf16(make: Make) -> None:
    """A bfloat16 network gives a float32 map that agrees with the float64 one."""
    x = example(SIZE)
    network = _tiny(make)(SIZE)
    exact = make(network).attribute(x)
    found = make(copy.deepcopy(network).bfloat16()).attribute(x.bfloat16())
    assert found.dtype == torch.float32, f"a map of {found.dtype}"
    assert bool(torch.isfinite(found).all()), "a map that is not finite"
    if float(exact.std()) > 0:
        r = float(torch.corrcoef(torch.stack([found.flatten(), exact.flatten()]))[0, 1])
        assert r > 0.9, f"correlation {r:.3f} of the bfloat16 map with the float64 one"


def several_inputs(make: Make) -> None:
    """Two inputs, by position or by name, give two maps."""
    network, (a, b) = TwoInputs(SIZE), (example(SIZE, seed=1), example(SIZE, seed=2))
    by_position = make(network).attribute((a, b))
    by_name = make(network).attribute({"first": a, "second": b})
    assert isinstance(by_position, tuple), f"a {type(by_position).__name__} for a tuple of inputs"
    assert list(by_name) == ["first", "second"], f"maps of {list(by_name)}"
    for found, named, x in zip(by_position, by_name.values(), (a, b), strict=True):
        assert found.shape[2:] == x.shape[2:], f"a map of {tuple(found.shape)} for an input of {tuple(x.shape)}"
        _close(found, named, "inputs by position and by name")


def compiled(make: Make) -> None:
    """A compiled network gives what the network itself gives."""
    network, x = _tiny(make)(SIZE), example(SIZE)
    _close(make(torch.compile(network)).attribute(x), make(network).attribute(x), "a compiled network")


def leak_free(make: Make) -> None:
    """A hundred calls leave no tensors and no hooks behind."""
    network, x = _tiny(make)((5, 4)), example((5, 4))

    def living() -> int:
        gc.collect()
        return sum(issubclass(type(o), Tensor) for o in gc.get_objects())

    make(network).attribute(x)
    before = living()
    for _ in range(100):
        make(network).attribute(x)
    grown = living() - before
    assert grown <= 2, f"{grown} tensors more after a hundred calls"
    _same(_state(network)["hooks"], {n: [0] * 4 for n, _ in network.named_modules()}, "hooks")


def reference(make: Make) -> None:
    """Another reference gives another map, or the method refuses one."""
    network, x = _tiny(make)(SIZE), example(SIZE)
    explainer = make(network)
    if not explainer.takes_reference:
        try:
            explainer.attribute(x, reference=0.0)
        except ReferenceInputError:
            return
        raise AssertionError("a reference was taken and not used")
    one, other = explainer.attribute(x, reference=0.0), explainer.attribute(x, reference=0.5 * x)
    assert float((one - other).abs().max()) > 1e-6 * float(one.abs().max()), "the reference makes no difference"


def refuses(make: Make) -> None:
    """An image output without a target, and NaN in the input, are one-sentence errors."""
    x = example(SIZE)
    for network, bad in ((_tiny(make)(SIZE, n_outputs=3), x), (_tiny(make)(SIZE), torch.full_like(x, torch.nan))):
        try:
            make(network).attribute(bad)
        except ValueError as error:
            assert "expected" in str(error), f"an error that does not say what was expected: {error}"
        else:
            raise AssertionError("no error for an output of three numbers without a target, or for NaN")


def capabilities(make: Make) -> None:
    """A method that needs no gradient runs on any function; one that does says so."""
    network, x = _tiny(make)(SIZE), example(SIZE)
    plain = make(network)

    class Function:
        capabilities: frozenset[str] = frozenset()

        def __call__(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return network(x)  # type: ignore[no-any-return]

    network.eval()
    if not plain.needs:
        _close(make(Function()).attribute(x), plain.attribute(x), "a black box")
        return
    try:
        make(Function())
    except ValueError as error:
        assert recording.GRADIENT in str(error), f"an error that does not name what is missing: {error}"
    else:
        raise AssertionError("a black box was taken by a method that needs more")


LAWS: dict[Promise | str, Callable[[Make], None]] = {
    Promise.RESTORES: restores,
    Promise.BATCH: batch,
    Promise.DIMENSION: dimension,
    Promise.DETERMINISTIC: deterministic,
    Promise.CONSTANT: constant,
    Promise.SHIFT: shift,
    Promise.SCALE: scale,
    Promise.COMPLETE: complete,
    Promise.IN_PLACE: in_place,
    Promise.BF16: bf16,
    Promise.SEVERAL_INPUTS: several_inputs,
    Promise.COMPILED: compiled,
    Promise.LEAK_FREE: leak_free,
    "reference": reference,
    "refuses": refuses,
    "capabilities": capabilities,
}
"""Law of each promise; the last three hold for every method."""


def promised_laws(method: type[AbstractExplainer]) -> list[str]:
    """Names of the laws that a method must keep: all but those it says it breaks."""
    return [str(name) for name in LAWS if name not in method.breaks]


def check(law: str, method: type[AbstractExplainer], knobs: Mapping[str, Any] | None = None) -> None:
    """Check one law on a method.

    Parameters
    ----------
    law
        One of `promised_laws`.
    method
        The explainer's class.
    knobs
        Constructor settings, such as fewer samples.

    Raises
    ------
    AssertionError
        If the law is broken.
    """
    settings = dict(knobs or {})

    def make(network: Any) -> AbstractExplainer:
        return method(network, **settings)

    make.network = tiny_network_for(method)  # type: ignore[attr-defined]
    {str(name): function for name, function in LAWS.items()}[law](make)
