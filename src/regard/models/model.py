"""A network with its card: single, in a chain, in an ensemble, or a black box."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import InputError, ShapeError
from regard.core.recording import LAYERS, Network
from regard.core.target import single_tensor
from regard.models.card import ModelCard
from regard.models.prepared import AbstractCasePreparation

__all__ = ["BlackBox", "Chain", "Ensemble", "FunctionNetwork", "Model"]


class Model:
    """A callable batch -> output, with a card that says what it eats and what its output means.

    Parameters
    ----------
    network
        A `torch.nn.Module`, or any callable on tensors (batch, channel, \\*space).
    card
        See `ModelCard`.
    source
        Where it came from; stays on this machine.
    weights_sha256
        Checksum of its weight file, for sidecars.
    warnings
        Sentences that whoever uses the model must see.
    preparation
        How a case's scans become its inputs; None: as the card says.
    """

    def __init__(
        self,
        network: Network,
        card: ModelCard,
        *,
        source: str = "",
        weights_sha256: str | None = None,
        warnings: Sequence[str] = (),
        preparation: AbstractCasePreparation | None = None,
    ) -> None:
        self.network: Network = _network_of(network)
        self.card = card
        self.source = source
        self.weights_sha256 = weights_sha256
        self.warnings = tuple(warnings)
        self.preparation = preparation
        self._device = torch.device("cpu")

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Any:
        return self.network(*inputs, **named)

    def __repr__(self) -> str:
        can = ", ".join(sorted(self.capabilities)) or "answers only"
        return f"{type(self).__name__}({self.card.name}: {self.card.output.kind}; {can})"

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do: ``"gradient"`` (autograd passes through) and ``"layers"`` (modules can be hooked)."""
        return recording.capabilities(self.network)

    @property
    def regard_network(self) -> Network:
        """The callable itself."""
        return self.network

    @property
    def device(self) -> torch.device:
        """Where it takes its inputs."""
        if isinstance(self.network, nn.Module):
            for tensor in (*self.network.parameters(), *self.network.buffers()):
                return tensor.device
        return self._device

    def to(self, device: str | torch.device) -> "Model":
        """Move to a device, in place; a callable that cannot be moved takes its inputs from there."""
        self._device = torch.device(device)
        move = getattr(self.network, "to", None)
        if callable(move):
            move(self._device)
        return self

    def describe(self) -> dict[str, str]:
        """Facts of the card in words, for a listing."""
        card, facts = self.card, {"name": self.card.name, "licence": self.card.licence or "not stated"}
        for spec in card.inputs:
            size = " x ".join(map(str, spec.shape)) if spec.shape else "any size"
            spacing = f", {' x '.join(f'{s:g}' for s in spec.spacing_mm)} mm" if spec.spacing_mm else ""
            axes = f", axes {spec.orientation}" if spec.orientation else ""
            facts[f"input {spec.name}"] = f"{spec.channels} channel(s), {size}{spacing}{axes}, {spec.unit}"
        units = dict.fromkeys(card.output.units)
        facts["output"] = f"{card.output.kind}: {', '.join(card.output.names) or 'unnamed'} [{', '.join(units) or '?'}]"
        trained = card.trained_on
        known = [f"{k} {low:g} to {high:g}" for k, (low, high) in trained.ranges.items()]
        cases = [] if trained.n is None else [f"{trained.n} cases"]
        facts["trained on"] = "; ".join([*cases, *known, *([trained.site] if trained.site else [])]) or "not stated"
        facts["capabilities"] = ", ".join(sorted(self.capabilities)) or "none: perturbation methods only"
        return facts


class Chain(Model):
    """Networks one after the other, such as a suppressor and then a classifier: one network to explain.

    When all members are modules the chain is one too, its layers called ``"0.<layer>"``, ``"1.<layer>"`` ..., and
    gradients pass through all of it.

    Parameters
    ----------
    members
        Models or networks; the output of one is the input of the next.
    card
        By default the input of the first member's card and the output of the last one's.

    Raises
    ------
    InputError
        If there is no member, or no card for the chain's ends.
    """

    def __init__(self, members: Sequence[Model | Network], card: ModelCard | None = None) -> None:
        networks = [_network_of(m) for m in _some(members, "chain")]
        if card is None:
            first, last = _card_of(members[0]), _card_of(members[-1])
            name = ", then ".join(m.card.name for m in members if isinstance(m, Model))
            update = {"name": name, "inputs": first.inputs, "trained_on": first.trained_on, **_NO_ORIGIN}
            card = last.model_copy(update=update)
        self.members = tuple(members)
        joined = _ChainModule(networks) if _all_modules(networks) else _ChainFunction(networks)
        super().__init__(joined, card, warnings=_warnings(members), preparation=_preparation(members))


class Ensemble(Model):
    """Networks with one question; the answer is the mean of theirs, the spread is in its members.

    Parameters
    ----------
    members
        Models or networks that take the same input and give outputs of one shape.
    card
        By default the first member's.

    Raises
    ------
    InputError
        If there is no member, or no card.
    """

    def __init__(self, members: Sequence[Model | Network], card: ModelCard | None = None) -> None:
        networks = [_network_of(m) for m in _some(members, "ensemble")]
        if card is None:
            one = _card_of(members[0])
            card = one.model_copy(update={"name": f"mean of {len(networks)} x {one.name}", **_NO_ORIGIN})
        self.members = tuple(m if isinstance(m, Model) else Model(m, card) for m in members)
        mean = _MeanModule(networks) if _all_modules(networks) else _MeanFunction(networks)
        super().__init__(mean, card, warnings=_warnings(members), preparation=_preparation(members))


class BlackBox(Model):
    """Anything that answers, such as features and then a classical regressor: for perturbation methods only.

    Parameters
    ----------
    function
        Takes arrays (batch, channel, \\*space), one per input; returns one row per case, (batch,) or (batch, ...).
    card
        See `ModelCard`.
    takes
        Whether the function takes (and returns) ``"numpy"`` arrays or ``"torch"`` tensors.
    """

    def __init__(
        self, function: Callable[..., Any], card: ModelCard, *, takes: Literal["numpy", "torch"] = "numpy"
    ) -> None:
        super().__init__(FunctionNetwork(function, takes=takes), card)


class FunctionNetwork:
    """A function of arrays as a network without gradients or layers.

    Parameters
    ----------
    function, takes
        See `BlackBox`.

    Raises
    ------
    InputError
        If ``takes`` is neither ``"numpy"`` nor ``"torch"``.
    """

    capabilities: frozenset[str] = frozenset()

    def __init__(self, function: Callable[..., Any], *, takes: Literal["numpy", "torch"] = "numpy") -> None:
        if takes not in ("numpy", "torch"):
            raise InputError(f"takes='{takes}'", "numpy or torch")
        self.function, self.takes = function, takes

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        first = next(iter((*inputs, *named.values())))
        with torch.no_grad():
            found = self.function(*map(self._given, inputs), **{k: self._given(v) for k, v in named.items()})
        output = torch.as_tensor(found if isinstance(found, Tensor) else np.asarray(found))
        if output.ndim == 0 or output.shape[0] != first.shape[0]:
            raise ShapeError(
                f"a function that gives {tuple(output.shape)} for {first.shape[0]} cases", "one row per case"
            )
        output = output if output.is_floating_point() else output.float()
        return (output[:, None] if output.ndim == 1 else output).to(first.device)

    def _given(self, x: Tensor) -> Any:
        copy = x.detach().clone()
        return copy.cpu().numpy() if self.takes == "numpy" else copy


class _ChainModule(nn.Sequential):
    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__(*(n for n in networks if isinstance(n, nn.Module)))
        self.capabilities = _common(networks)

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        return _in_turn(list(self), *inputs, **named)


class _ChainFunction:
    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks, self.capabilities = tuple(networks), _common(networks) - {LAYERS}

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Any:
        return _in_turn(self.networks, *inputs, **named)

    def to(self, device: torch.device) -> None:
        _move(self.networks, device)


class _MeanModule(nn.ModuleList):
    def __init__(self, networks: Sequence[Network]) -> None:
        super().__init__(n for n in networks if isinstance(n, nn.Module))
        self.capabilities = _common(networks)

    def forward(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        return _mean([network(*inputs, **named) for network in self])


class _MeanFunction:
    def __init__(self, networks: Sequence[Network]) -> None:
        self.networks, self.capabilities = tuple(networks), _common(networks) - {LAYERS}

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Tensor:
        return _mean([network(*inputs, **named) for network in self.networks])

    def to(self, device: torch.device) -> None:
        _move(self.networks, device)


_NO_ORIGIN: dict[str, Any] = {
    "factory": None,
    "zoo": None,
    "program": None,
    "kwargs": {},
    "weights": None,
    "sha256": None,
    "layer": None,
}


def _in_turn(networks: Sequence[Network], *inputs: Tensor, **named: Tensor) -> Any:
    x = networks[0](*inputs, **named)
    for network in networks[1:]:
        x = network(x)
    return x


def _mean(given: Sequence[object]) -> Tensor:
    outputs = [single_tensor(o) for o in given]
    shapes = {tuple(o.shape) for o in outputs}
    if len(shapes) > 1:
        raise ShapeError(f"members that give {' and '.join(map(str, sorted(shapes)))}", "outputs of one shape")
    return torch.stack(outputs).mean(0)


def _move(networks: Iterable[Network], device: torch.device) -> None:
    for network in networks:
        move = getattr(network, "to", None)
        if callable(move):
            move(device)


def _common(networks: Sequence[Network]) -> frozenset[str]:
    return frozenset.intersection(*(recording.capabilities(n) for n in networks))


def _all_modules(networks: Sequence[Network]) -> bool:
    return all(isinstance(n, nn.Module) for n in networks)


def _network_of(member: Any) -> Network:
    network = member.network if isinstance(member, Model) else member
    if not callable(network):
        raise InputError(f"a network of type {type(network).__name__}", "a torch.nn.Module or a callable on tensors")
    return network


def _some(members: Sequence[Any], what: str) -> Sequence[Any]:
    if not members:
        raise InputError(f"a {what} without members", "at least one network")
    return members


def _card_of(member: Any) -> ModelCard:
    if not isinstance(member, Model):
        raise InputError(f"a member of type {type(member).__name__} without a card", "a card", "give card=...")
    return member.card


def _preparation(members: Sequence[Any]) -> AbstractCasePreparation | None:
    """How the first member's inputs are made, when it brings more than a card."""
    return members[0].preparation if isinstance(members[0], Model) else None


def _warnings(members: Sequence[Any]) -> list[str]:
    return [w for m in members if isinstance(m, Model) for w in m.warnings]
