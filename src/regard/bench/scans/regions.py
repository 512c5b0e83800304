"""A user's scans, unaltered, with a number that is computed from a known place of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from regard.bench.scans.images import Scans
from regard.bench.scans.phantom import TASKS, ScanPhantom
from regard.core import randomness

__all__ = ["ALL_TASKS", "READ", "Reading", "RegionPhantom", "phantom_of"]

Reading: TypeAlias = Literal["mean", "texture"]
"""What is read in a place: the mean of the intensities, or their standard deviation."""

READ: Mapping[str, Reading] = {"region-mean": "mean", "region-texture": "texture"}
"""Tasks in which no scan is changed, to what is read."""

ALL_TASKS = (*TASKS, *READ)
"""Every task by name."""

_REACH = 0.12
"""How far a scan is moved under the fixed places [share of the shortest side]."""

_N_SCALE = 256
"""Moved scans that the scale of the numbers is taken from."""


@dataclass(frozen=True, eq=False)
class RegionPhantom(ScanPhantom):
    """Scans as they are; the label is the mean or the texture of a region at a fixed place of the frame.

    No voxel of a training or a test image is changed, after Siegel et al. 2025 (arXiv 2508.02560: targets computed from
    known places of real images). A few scans give many numbers because each is moved under the fixed places, by up to
    an eighth of a side, and repeats its border; test scans are as they are the first time, and moved after that. Beside
    the place that is read lies another that is not.

    The factors `signal` and `distractor` are what the two places hold, from 0 to 1 (two standard deviations below and
    above the mean over moved scans). They are read in the scan, and only the truth renders others: the mean is moved by
    adding a constant inside the place, the texture by stretching what differs from the mean.

    Parameters
    ----------
    reading
        What is read.
    """

    reading: Reading = "mean"

    @property
    def unit(self) -> str:
        """Unit of the label: one is the range over scans."""
        return "range"

    @cached_property
    def _regions(self) -> tuple[Tensor, Tensor]:
        """The place that is read and the other one, shares of voxels (\\*space)."""
        one, other = self._all.sites
        return self._region(one), self._region(other)

    def _read(self, image: Tensor, region: Tensor) -> float:
        weight = region / region.sum()
        mean = (weight * image).sum()
        return float(mean if self.reading == "mean" else (weight * (image - mean) ** 2).sum().sqrt())

    @cached_property
    def _scales(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """What 0 and 1 stand for, for each place, in the scan's units."""
        moved = [self._moved_from(self._all.learn, -1, f"scale-{n:05d}") for n in range(_N_SCALE)]
        scales = []
        for region in self._regions:
            values = torch.tensor([self._read(image, region) for image in moved], dtype=torch.float64)
            spread = max(float(values.std()), 1e-9)
            scales.append((float(values.mean()) - 2 * spread, float(values.mean()) + 2 * spread))
        return scales[0], scales[1]

    def _moved_from(self, scans: Tensor, seed: int, name: str) -> Tensor:
        """A scan drawn from ``scans`` (image, channel, \\*space), moved, (\\*space)."""
        drawn = randomness.uniform((1 + len(self.shape),), seed, name, "scan").tolist()
        return self._moved(scans[int(drawn[0] * len(scans)), 0], drawn[1:])

    def _moved(self, image: Tensor, ways: Sequence[float]) -> Tensor:
        reach = _REACH * min(self.shape)
        for axis, way in enumerate(ways):
            n = image.shape[axis]
            places = (torch.arange(n) - round((2 * way - 1) * reach)).clamp(0, n - 1)
            image = image.index_select(axis, places)
        return image

    def _behind(self, seed: int, name: str) -> tuple[Tensor, Tensor]:
        number, scans = int(name.rpartition("-")[2]), self._all
        if seed != self.test_seed:
            image = self._moved_from(scans.learn, seed, name)
        else:
            image = scans.test[number % len(scans.test), 0]
            if number >= len(scans.test):
                image = self._moved(image, randomness.uniform((len(self.shape),), seed, name, "scan").tolist())
        return image, torch.zeros_like(image)

    def _held(self, image: Tensor) -> dict[str, float]:
        """What the two places of an image hold, in the scale of the factors."""
        return {
            factor: (self._read(image, region) - low) / (high - low)
            for factor, region, (low, high) in zip(("signal", "distractor"), self._regions, self._scales, strict=True)
        }

    def draw(self, number: int, *, seed: int = 0) -> dict[str, float]:
        """What the two places of a scan hold."""
        return self._held(self._behind(seed, f"planted-{number:05d}")[0])

    def _places(self, factors: Mapping[str, float]) -> tuple[list[float], list[float], dict[str, list[float]]]:
        one, other = self._all.sites
        return list(one), list(other), {}

    def _structure(
        self, f: Mapping[str, float], factor: str, centre: list[float], seed: int, name: str
    ) -> tuple[Tensor, Tensor]:
        which = ("signal", "distractor").index(factor)
        region, (low, high) = self._regions[which], self._scales[which]
        image = self._behind(seed, name)[0]
        wanted, is_now = low + f[factor] * (high - low), self._read(image, region)
        if f[factor] == self._held(image)[factor]:
            return torch.zeros_like(image), region
        if self.reading == "mean":
            return (wanted - is_now) * region, region
        mean = (region * image).sum() / region.sum()
        return (max(wanted, 0.0) / max(is_now, 1e-9) - 1) * (image - mean) * region, region


def phantom_of(task: str, scans: Scans, test_seed: int) -> ScanPhantom:
    """The phantom of one of `ALL_TASKS`."""
    if task in TASKS:
        return ScanPhantom.of(task, scans, test_seed)
    return RegionPhantom(
        scans.shape, distractor=True, noise=0.0, shift=0.0, scans=scans, test_seed=test_seed, reading=READ[task]
    )
