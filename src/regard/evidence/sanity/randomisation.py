"""Whether a map changes when the network forgets what it learned, layer by layer or all at once."""

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from regard.core import randomness, recording
from regard.core.devices import sent
from regard.core.errors import CapabilityError, InputError
from regard.core.recording import LAYERS
from regard.evidence.again import explain_again
from regard.evidence.faithfulness.removal import blocks, filling, values_without
from regard.evidence.measure import AbstractMeasure, Direction, Exhibit, Measured
from regard.evidence.sanity.similarity import likeness_to, spearman, ssim, top_overlap
from regard.evidence.surrogate import surrogate

__all__ = [
    "CascadingRandomisation",
    "IndependentRandomisation",
    "likeness_by_chance",
    "randomise",
    "share_as_alike",
    "weighted_layers",
]

_PROBES = 12
_PARTS = 16
_NEARLY = 1e-4


def weighted_layers(network: nn.Module, x: Tensor) -> list[str]:
    """Names of the modules with weights of their own, from the output to the input, as a forward pass ends them."""
    finished: list[str] = []
    with ExitStack() as stack, recording.intact(network), torch.no_grad():
        for name, module in network.named_modules():
            if any(p.is_floating_point() for p in module.parameters(recurse=False)):

                def note(_: nn.Module, __: object, ___: object, name: str = name) -> None:
                    finished.append(name)

                stack.callback(module.register_forward_hook(note).remove)
        network(sent(x, network))
    return list(dict.fromkeys(reversed(finished)))


@torch.no_grad()
def randomise(network: nn.Module, layers: Sequence[str], seed: int, case: str = "") -> None:
    """Redraw the weights of ``layers`` in place: use it on a copy.

    Weights are drawn from a normal distribution of mean 0 with the root mean square of the trained ones, so that a
    layer passes on numbers of the size that the next one is used to; vectors (biases, gains) are shuffled. Buffers
    stay.
    """
    modules = dict(network.named_modules())
    for layer in layers:
        for name, weight in modules[layer].named_parameters(recurse=False):
            if not weight.is_floating_point():
                continue
            key = f"weights/{layer}.{name}"
            if weight.ndim > 1:
                size = weight.double().square().mean().sqrt()
                weight.copy_(randomness.normal(weight, seed, case, key).double() * size)
            else:
                order = torch.randperm(weight.numel(), generator=randomness.generator(seed, case, key))
                weight.copy_(weight.flatten()[order.to(weight.device)].reshape(weight.shape))


def _answers(exhibit: Exhibit, network: nn.Module) -> Tensor:
    """Output for the image with random halves of it blurred away, (n,): whether a network answers to anything."""
    numbers = blocks(exhibit.x.shape[2:], _PARTS)
    n_parts = int(numbers.max()) + 1
    drawn = randomness.uniform((_PROBES, n_parts), exhibit.seed, exhibit.case, "probes") < 0.5
    fill = filling(exhibit, "mean", numbers)
    return values_without(replace(exhibit, network=network), fill, numbers, drawn, "randomisation")


def _is_constant(exhibit: Exhibit, network: nn.Module, trained: Tensor) -> bool:
    """Whether a network gives nearly the same number whatever the image, beside the ``trained`` one's answers."""
    found = _answers(exhibit, network)
    if not bool(torch.isfinite(found).all()):
        return True
    rounding = 32 * torch.finfo(exhibit.x.dtype).eps * float(found.abs().max())
    return float(found.std()) <= max(rounding, _NEARLY * float(trained.std()))


class _Randomisation(AbstractMeasure):
    direction: ClassVar[Direction] = "lower"
    family: ClassVar[str] = "sane"
    needs: ClassVar[frozenset[str]] = frozenset({"explain", LAYERS})

    def __init__(self, n_stages: int = 5, n_surrogates: int = 19) -> None:
        if n_stages < 1 or n_surrogates < 1:
            raise InputError(f"{n_stages} stages and {n_surrogates} surrogates", "at least one of each")
        self.n_stages, self.n_surrogates = n_stages, n_surrogates

    @abstractmethod
    def _stages(self, layers: list[str]) -> list[list[str]]:
        """The layers that are randomised together at each stage."""

    @abstractmethod
    def _value(self, excess: Tensor) -> float:
        """The figure, of the excess of each stage (n,)."""

    def measure(self, exhibit: Exhibit) -> Measured:
        if exhibit.blank:
            return Measured.undefined("the map is zero everywhere")
        network = recording.unwrap(exhibit.network)
        if not isinstance(network, nn.Module):
            raise CapabilityError(f"a network of type {type(network).__name__}", "a torch.nn.Module with weights")
        layers = weighted_layers(network, exhibit.x)
        if not layers:
            return Measured.undefined("the network has no weights")
        likeness = likeness_to(exhibit.relevance, exhibit.sign)
        trained = _answers(exhibit, network)
        alike, last = [], None
        stages = self._stages(layers)
        for names in stages:
            forgetful = copy.deepcopy(network)
            randomise(forgetful, names, exhibit.seed, exhibit.case)
            if _is_constant(exhibit, forgetful, trained):
                alike.append(math.nan)
                last = None
                continue
            last = explain_again(exhibit, network=forgetful)
            alike.append(likeness(last))
        chance = likeness_by_chance(exhibit, self.n_surrogates)
        found = torch.tensor(alike, dtype=torch.float64)
        value = self._value(found - chance.mean())
        notes = {
            "likeness": value + float(chance.mean()),
            "likeness of surrogates": float(chance.mean()),
            "surrogates as alike": share_as_alike(chance, value + float(chance.mean())),
            "n_layers": len(layers),
            "n_undefined": int(found.isnan().sum()),
            "layers": ["+".join(names[-1:]) for names in stages],
        }
        curve = {"likeness": found, "likeness of surrogates": chance}
        if math.isnan(value):
            why = "the randomised network's output is constant, or its map is"
            return Measured(value, "1", {**notes, "undefined": why}, curve)
        if last is not None:
            relevance = exhibit.relevance.detach().double().cpu()
            notes |= {"ssim": ssim(relevance, last), "top overlap": top_overlap(relevance, last)}
            notes |= {"spearman": spearman(relevance, last)}
        return Measured(value, "1", notes, curve)


def likeness_by_chance(exhibit: Exhibit, n: int) -> Tensor:
    """Likeness of surrogates to the map, (n,)."""
    likeness = likeness_to(exhibit.relevance, exhibit.sign)
    maps = (surrogate(exhibit.relevance, seed=exhibit.seed, case=exhibit.case, draw=k) for k in range(n))
    return torch.tensor([likeness(drawn) for drawn in maps], dtype=torch.float64)


def share_as_alike(chance: Tensor, value: float) -> float:
    """Rank p of a likeness among those of surrogates, (1 + number at least as alike) / (1 + n)."""
    return (1 + int((chance >= value).sum())) / (1 + len(chance)) if value == value else math.nan


class CascadingRandomisation(_Randomisation):
    """How alike the map stays when all weights are redrawn, from the output down, beyond what surrogates are.

    On a copy of the network, layers are redrawn from the output to the input, each stage keeping what the last one
    redrew (`randomise`), and the image is explained anew. The figure is the likeness (`likeness_to`: Spearman, by sign
    and by size) of the map to the one of the copy with all weights redrawn, minus the mean likeness of surrogates with
    the map's own smoothness: 0 by chance, near 1 for a method that draws edges whatever the network has learned. The
    stages on the way are the curve; SSIM and the overlap of the largest tenth stand in the notes.

    NaN, undefined, where the redrawn network gives nearly the same number for every image: its map says nothing, and
    a method does not pass by that.

    Parameters
    ----------
    n_stages
        Stages at most, on which layers are spread evenly; the last has all of them.
    n_surrogates
        Surrogates that say what chance is.

    Notes
    -----
    Adebayo et al. 2018, NeurIPS (arXiv 1810.03292), section 3, model parameter randomisation. Subtracting surrogates is
    ours: two smooth maps are alike more often than two rough ones.
    """

    def _stages(self, layers: list[str]) -> list[list[str]]:
        n = min(self.n_stages, len(layers))
        return [layers[: round(len(layers) * (k + 1) / n)] for k in range(n)]

    def _value(self, excess: Tensor) -> float:
        return float(excess[-1])


class IndependentRandomisation(_Randomisation):
    """How alike the map stays when one layer's weights are redrawn, beyond what surrogates are; mean over layers.

    As `CascadingRandomisation`, with all other layers as trained. The curve has a likeness for each layer, from the
    output to the input. Layers without which the output is constant are left out, and counted in the notes.

    Parameters
    ----------
    n_stages
        Layers at most, evenly from the output to the input.
    n_surrogates
        Surrogates that say what chance is.

    Notes
    -----
    Adebayo et al. 2018, NeurIPS (arXiv 1810.03292), section 3.2. A map that does not change with one layer may still
    depend on the others: weaker evidence than the cascade.
    """

    def _stages(self, layers: list[str]) -> list[list[str]]:
        n = min(self.n_stages, len(layers))
        return [[layers[round(k * (len(layers) - 1) / max(1, n - 1))]] for k in range(n)]

    def _value(self, excess: Tensor) -> float:
        return float(excess.nanmean())
