"""A situation: images of patients, a network, what is explained of it, and another network beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from regard.core import randomness
from regard.core.image_target import Mean
from regard.core.spatial import blur
from regard.core.target import AbstractTarget, Logit, Output
from regard.evidence.trials.images import DEVELOPMENT, REPORTED, MakeImage
from regard.evidence.trials.networks import (
    HAND_SET,
    TRAINED,
    Classes,
    ImageOutput,
    Linear,
    Saturating,
    Small,
    SmallImage,
    Spots,
    place,
    train,
)

__all__ = ["Situation"]

_N_TRAIN = 128
_SIDE = {2: 24, 3: 12}


@dataclass(frozen=True)
class Situation:
    """One network with its patients.

    Parameters
    ----------
    number
        Which one; kinds of network, images and dimensions take turns.
    seed
        Which draw of all.
    reported
        Whether of the generators that rates are reported of.
    """

    number: int
    seed: int
    reported: bool

    @property
    def key(self) -> str:
        """Key of all draws."""
        return f"{'reported' if self.reported else 'development'}-{self.number:05d}"

    @property
    def kind(self) -> str:
        """What kind of network."""
        kinds = (*HAND_SET, *TRAINED)
        return kinds[self.number % len(kinds)]

    @property
    def _generators(self) -> Mapping[str, MakeImage]:
        return REPORTED if self.reported else DEVELOPMENT

    @property
    def images_like(self) -> str:
        """Name of the images' generator."""
        names = list(self._generators)
        return names[(self.number // 8) % len(names)]

    @property
    def size(self) -> tuple[int, ...]:
        """Size of the images: two axes, every third time three."""
        n = 3 if (self.number // 3) % 3 == 2 and self.images_like != "radiograph" else 2
        return (_SIDE[n],) * n

    def image(self, patient: int) -> Tensor:
        """Image of a patient, (1, 1, \\*size)."""
        return self._generators[self.images_like](self.size, self.seed, f"{self.key}/{patient}")[None, None]

    @cached_property
    def _statistics(self) -> tuple[float, float]:
        some = torch.cat([self.image(1000 + n) for n in range(8)])
        return float(some.mean()), float(some.std())

    def _place(self, draw: str) -> Tensor:
        return place(self.size, self.seed, self.key, draw, irregular=self.reported)

    @cached_property
    def region(self) -> Tensor:
        """The region that is explained of an image output, (\\*size) of 0 and 1."""
        found = self._place("region") > 0.3
        return found.float() if bool(found.any()) else torch.ones(self.size)

    @property
    def target(self) -> AbstractTarget:
        """What is explained."""
        if "image" in self.kind:
            return Mean(self.region, name="region")
        return Logit(1) if "class" in self.kind else Output(0)

    @cached_property
    def network(self) -> nn.Module:
        """The network that is explained."""
        return self._made("own")

    @cached_property
    def other(self) -> nn.Module:
        """A network of the same kind that looks elsewhere."""
        return self._made("other")

    def _made(self, which: str) -> nn.Module:
        mean, spread = self._statistics
        up = self._place(f"{which}/up")
        both = up - self._place(f"{which}/down") if self.number % 2 else up
        if self.kind == "linear":
            return Linear(both / spread)
        if self.kind == "spots":
            return Spots(both / spread, mean)
        if self.kind == "saturating":
            return Saturating(both, mean, spread)
        if self.kind == "classes":
            return Classes([self._place(f"{which}/first") / spread, both / spread, up / spread])
        if self.kind == "image":
            return ImageOutput((0.2 + both.abs()) / spread, mean)
        return self._trained(which, both)

    def _trained(self, which: str, weight: Tensor) -> nn.Module:
        mean, spread = self._statistics
        x = torch.cat([self.image(2000 + n) for n in range(_N_TRAIN)])
        normal = (x - mean) / spread
        n = len(self.size)
        seed = int(randomness.uniform((1,), self.seed, self.key, f"{which}/training")[0] * 2**31)
        if self.kind == "trained image":
            wanted = blur(normal, 1.0) + 0.5 * weight * normal.clamp(min=0)
            return _Normalised(train(SmallImage(n), normal, wanted, seed=seed), mean, spread)
        amount = (weight * (normal + 0.5 * normal.clamp(min=0) ** 2)).flatten(1).sum(1, keepdim=True)
        label = (amount - amount.mean()) / amount.std()
        if self.kind == "trained classifier":
            return _Normalised(train(Small(n, 2), normal, (label[:, 0] > 0).long(), seed=seed), mean, spread)
        return _Normalised(train(Small(n, 1), normal, label, seed=seed), mean, spread)


class _Normalised(nn.Module):
    """A network of normalised images as one of the images themselves."""

    def __init__(self, network: nn.Module, mean: float, spread: float) -> None:
        super().__init__()
        self.network, self.mean, self.spread = network, mean, spread

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network((x - self.mean) / self.spread)
        return found
