"""What one row of the matrix is: a network as somebody has it, what it is given, and what is peculiar about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from regard.core.target import TargetLike

Inputs = tuple[Tensor, ...] | dict[str, Tensor]
"""Two cases of each input, by position or by name."""

ByHand = Callable[[Tensor, int], Tensor]
"""A layer's output for n cases -> (n, channel, \\*space), written down for this network."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A network, what it is given and asked, and what is peculiar about it.

    Parameters
    ----------
    name
        How the page calls it.
    source
        The package whose code it is: ``monai``, ``torch``, or ``here`` for what is written in this folder.
    condition
        What is peculiar.
    make
        Builds it, the same each time, as its owner would hand it over.
    inputs
        Two cases of each input.
    score
        The number that is explained, (n,), of its output: written by hand, never by Regard.
    target
        The same number as Regard is asked for it.
    named
        Patterns of warnings that name this condition; any other warning does not count.
    refused
        Pattern of methods -> why no map of theirs can be right here.
    layouts
        Pattern of layer names -> how that layer's output is laid out; without one it is (n, channel, \\*space).
    knobs
        Method -> further settings.
    reference
        What methods that take one are given, one tensor per input, or None.
    instances
        Whether the channels of the input are images of their own, which a layer has as its first spatial axis.
    tolerance
        Of the largest value of a map.
    quick
        Whether it is among those that every test run looks at.
    """

    name: str
    source: str
    condition: str
    make: Callable[[], Any]
    inputs: Callable[[], Inputs]
    score: Callable[[Any], Tensor]
    target: TargetLike = None
    named: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    layouts: Mapping[str, ByHand] = field(default_factory=dict)
    knobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reference: Callable[[], Inputs] | None = None
    instances: bool = False
    tolerance: float = 1e-4
    quick: bool = False


def images(*shapes: tuple[int, ...], seed: int = 5, dtype: torch.dtype = torch.float64) -> tuple[Tensor, ...]:
    """Two cases of images (channel, \\*space) for each of ``shapes``: a bright blob in noise, never below 0."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for shape in shapes:
        x = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
        for axis, n in enumerate(shape[1:], start=2):
            along = torch.arange(n, dtype=torch.float64).reshape(-1, *[1] * (x.ndim - 1 - axis))
            x = x * (0.3 + torch.exp(-((along - 0.4 * n) ** 2) / (0.08 * n * n)))
        made.append(x.to(dtype))
    return tuple(made)


def given(*shapes: tuple[int, ...], **options: Any) -> Callable[[], Inputs]:
    """`images`, made when asked for."""
    return lambda: images(*shapes, **options)


def drawn(make: Callable[[], nn.Module], seed: int = 0, *, train: bool = False) -> Callable[[], nn.Module]:
    """The network that ``make`` builds with the draws of ``seed``, in float64; in evaluation mode unless ``train``."""

    def build() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return make().double().train(train)

    return build


def column(index: int) -> Callable[[Tensor], Tensor]:
    """Number ``index`` of each case's output."""
    return lambda output: output[:, index]


def patch(channel: int, low: int = 3, high: int = 9) -> Callable[[Tensor], Tensor]:
    """Mean of a box of an output image's channel."""

    def mean(output: Tensor) -> Tensor:
        box = output[(slice(None), channel, *[slice(low, high)] * (output.ndim - 2))]
        return box.flatten(1).mean(1)

    return mean


def part(key: Any, then: Callable[[Tensor], Tensor]) -> Callable[[Any], Tensor]:
    """What ``then`` says of one part of an output of several."""
    return lambda output: then(output[key])
