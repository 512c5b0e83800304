"""Images with a planted signal: the label is a known function of a known place.

After Wilming et al., Machine Learning 2022 (suppressors), Clark et al. 2023 (XAI-TRIS: linear and multiplicative
signals in white, correlated and natural backgrounds) and Siegel et al. 2025 (labels computed from the image itself: a
volume, a thickness). Every factor of a subject has a draw of its own, keyed by (seed, subject, factor), so that a
subject can be rendered again with one factor changed and all others, noise included, fixed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError, UnknownNameError
from regard.core.volume import Volume
from regard.phantoms.backgrounds import Background, averaged, coordinates, correlated, ellipsoid, tissues

__all__ = ["Effect", "Form", "Planted", "PlantedPhantom", "Task"]

Form: TypeAlias = Literal["ball", "rod", "cluster"]
"""Outline of a region: a ball; a rod, ten times as long as thick; or three small balls that touch no other."""

Effect: TypeAlias = Literal["linear", "multiplicative", "volume", "thickness", "texture"]
"""What the label is: the intensity of a region, the product of two regions' intensities, the volume of a ball, the
thickness of a shell, or the correlation length of the texture inside a region."""

Task: TypeAlias = Literal["regression", "classification", "denoising", "removal", "correction"]
"""What a network shall give: the label, whether it is above its median, the image without noise, the image without the
structure, or the image without noise and without the nuisance of the suppressor."""

_SD = math.sqrt(1 / 12)
"""Standard deviation of a uniform factor."""

_MEDIAN_OF_PRODUCT = 0.18668230
"""t with t - t log t = 1/2: half of the products of two uniform numbers are below it."""


@dataclass(frozen=True, eq=False)
class Planted:
    """One rendered subject.

    Parameters
    ----------
    name
        Case id.
    image
        (1, \\*space), intensities in units of the strongest signal.
    label
        What is written in the image, in the phantom's ``unit``.
    target
        What a network of the phantom's task shall give: (1,) or (1, \\*space).
    factors
        What it was rendered from.
    structure
        Share of each voxel that the structure fills, (\\*space).
    """

    name: str
    image: Tensor
    label: float
    target: Tensor
    factors: dict[str, float]
    structure: Tensor

    @property
    def volume(self) -> Volume:
        """The image with voxels of 1 mm, for methods and files that need a place in space."""
        size = [*self.image.shape[1:], 1, 1][:3]
        return Volume(self.image.reshape(1, *size), np.diag([-1.0, -1.0, 1.0, 1.0]), "signal", source=self.name)


@dataclass(frozen=True)
class PlantedPhantom:
    """Generator of images of two or three axes with a planted signal.

    Parameters
    ----------
    shape
        Voxels (\\*space).
    effect
        What the label is.
    background
        What lies behind.
    task
        What a network shall give.
    noise
        Standard deviation of the noise; the strongest signal is 1.
    smoothness
        Kernel of correlated noise [voxel].
    suppressor
        Strength of a nuisance that lies over the structure's place and, alone, in a mark of its own: the mark tells
        nothing of the label, and a network that subtracts it is right to. Its two places are factors of their own,
        drawn alike, so that either can be moved alone: for a network that subtracts one from the other nothing would
        change with both. 0: none.
    decoy
        Dose of a decoy, a mark whose intensity has this correlation with the label, 0 to 1; None: no mark.
    distractor
        Whether a second structure of the same kind lies beside the first, drawn apart from the label. Not for the
        multiplicative effect, which has two regions that both count.
    shift
        How far the structures may lie from its place [share of the shortest side].
    form, size
        Outline of the regions whose intensity or texture counts, and their size beside the usual one.

    Raises
    ------
    InputError
        If there are not two or three axes of at least 16 voxels, a dose is not in [0, 1], or a distractor is asked for
        beside two regions.

    Notes
    -----
    Factors are uniform in [0, 1]: ``signal``; ``partner`` (multiplicative); ``contrast`` (volume, thickness: the
    intensity, which is not the label); ``distractor``; ``suppressor`` (over the structure) and ``suppressor-mark``,
    drawn alike; ``decoy``; ``shift-0`` and on. The decoy's is
    ``1/2 + sd (dose z + sqrt(1 - dose^2) own)`` with z the standardised label, own a standardised draw and
    sd = sqrt(1/12): its correlation with the label is the dose, and it may leave [0, 1].
    """

    shape: tuple[int, ...] = (48, 48)
    effect: Effect = "linear"
    background: Background = "correlated"
    task: Task = "regression"
    noise: float = 0.3
    smoothness: float = 1.5
    suppressor: float = 0.0
    decoy: float | None = None
    distractor: bool = False
    shift: float = 0.03
    form: Form = "ball"
    size: float = 1.0

    def __post_init__(self) -> None:
        if len(self.shape) not in (2, 3) or min(self.shape) < 16:
            raise InputError(
                f"a phantom of {self.shape}", "two or three axes of at least 16 voxels", "change its shape"
            )
        if self.decoy is not None and not 0 <= self.decoy <= 1:
            raise InputError(f"a decoy of dose {self.decoy}", "0 to 1, or None for no mark", "change its dose")
        if self.distractor and self.effect == "multiplicative":
            raise InputError(
                f"distractor={self.distractor} beside two regions", "no distractor", "choose another effect"
            )

    @property
    def unit(self) -> str:
        """Unit of the label."""
        return {"volume": "voxel", "thickness": "voxel side", "texture": "voxel side"}.get(self.effect, "signal")

    @property
    def decoys(self) -> tuple[str, ...]:
        """Factors that the label does not depend on and that have a place of their own."""
        return tuple(f for f in self.factors if f in ("decoy", "suppressor", "suppressor-mark", "distractor"))

    @property
    def causes(self) -> tuple[str, ...]:
        """Factors that the label depends on."""
        return ("signal", "partner") if self.effect == "multiplicative" else ("signal",)

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors with places of their own: causes first, then what a network may use besides."""
        names = list(self.causes)
        names += ["contrast"] if self.effect in ("volume", "thickness") else []
        names += ["distractor"] if self.distractor else []
        names += ["suppressor", "suppressor-mark"] if self.suppressor else []
        return tuple(names + (["decoy"] if self.decoy is not None else []))

    def draw(self, number: int, *, seed: int = 0) -> dict[str, float]:
        """Factors of a subject, as they are drawn."""
        name = _name(number)
        shifts = [f"shift-{axis}" for axis in range(len(self.shape))]
        names = ("signal", "partner", "contrast", "distractor", "suppressor", "decoy", *shifts)
        drawn = {f: float(randomness.uniform((1,), seed, name, f)[0]) for f in names}
        drawn["suppressor-mark"] = drawn["suppressor"]
        dose = self.decoy or 0.0
        follows, own = self._standardised(drawn), (drawn["decoy"] - 0.5) / _SD
        drawn["decoy"] = 0.5 + _SD * (dose * follows + math.sqrt(1 - dose**2) * own)
        return {f: v for f, v in drawn.items() if f in self.factors or f in shifts}

    def subject(self, number: int, *, seed: int = 0, factors: Mapping[str, float] | None = None) -> Planted:
        """Render one subject.

        Parameters
        ----------
        number
            Which subject.
        seed
            Which cohort.
        factors
            These replace the drawn ones; everything else stays as it was drawn, the decoy too.

        Raises
        ------
        UnknownNameError
            If the phantom has no such factor.
        """
        drawn = self.draw(number, seed=seed)
        for factor in factors or {}:
            if factor not in drawn:
                raise UnknownNameError.suggest("factor", factor, drawn)
        drawn |= factors or {}
        name = _name(number)
        site, partner, marks = self._places(drawn)
        structure, filled = self._structure(drawn, "signal", site, seed, name)
        if self.effect == "multiplicative":
            second, also = self._structure(drawn, "partner", partner, seed, name)
            structure, filled = structure + second, torch.maximum(filled, also)
        behind, noise = self._behind(seed, name)
        clean = behind + structure
        if self.distractor:
            clean = clean + self._structure(drawn, "distractor", partner, seed, name)[0]
        if self.decoy is not None:
            clean = clean + drawn["decoy"] * self._mark(marks["decoy"])
        corrected = clean
        if self.suppressor:
            over, alone = (self.suppressor * (2 * drawn[f] - 1) for f in ("suppressor", "suppressor-mark"))
            clean = clean + over * self._region(site) + alone * self._mark(marks["suppressor"])
        image = (clean + noise)[None]
        label = self.label(drawn)
        target = {
            "regression": torch.tensor([label]),
            "classification": torch.tensor([float(label > self.median)]),
            "denoising": clean[None],
            "removal": image - structure,
            "correction": corrected[None],
        }[self.task]
        return Planted(name, image, label, target, drawn, filled)

    def label(self, factors: Mapping[str, float]) -> float:
        """The label of a subject with these factors, in ``unit``."""
        signal = factors["signal"]
        if self.effect == "multiplicative":
            return signal * factors["partner"]
        if self.effect == "volume":
            return _unit_ball(len(self.shape)) * self._ball_radius(signal) ** len(self.shape)
        if self.effect == "thickness":
            return self._thickness(signal)
        return self._length(signal) if self.effect == "texture" else signal

    @property
    def median(self) -> float:
        """The label that half of all subjects are above."""
        if self.effect == "multiplicative":
            return _MEDIAN_OF_PRODUCT
        return self.label({"signal": 0.5})

    def _standardised(self, factors: Mapping[str, float]) -> float:
        """The label with mean 0 and standard deviation 1."""
        if self.effect == "multiplicative":
            return (factors["signal"] * factors["partner"] - 1 / 4) / math.sqrt(7 / 144)
        return (factors["signal"] - 0.5) / _SD

    @property
    def _radius(self) -> float:
        """Radius of a region [voxel]."""
        return 0.16 * min(self.shape)

    def _ball_radius(self, signal: float) -> float:
        n, small, large = len(self.shape), 0.4 * self._radius, 1.1 * self._radius
        return float((small**n + (large**n - small**n) * signal) ** (1 / n))

    def _thickness(self, signal: float) -> float:
        return self._radius * (0.12 + 0.5 * signal)

    def _length(self, signal: float) -> float:
        return 0.4 + 2.0 * signal

    def _places(self, factors: Mapping[str, float]) -> tuple[list[float], list[float], dict[str, list[float]]]:
        """Centres [voxel] of the structure, its partner and the marks."""
        side, n = min(self.shape), len(self.shape)
        moved = [(2 * factors[f"shift-{axis}"] - 1) * self.shift * side for axis in range(n)]
        apart = [0.21 * side] + [0.0] * (n - 1)
        along = [0.0] * (n - 1) + [0.33 * side]
        site = [m - a for m, a in zip(moved, apart, strict=True)]
        partner = [m + a for m, a in zip(moved, apart, strict=True)]
        return site, partner, {"suppressor": along, "decoy": [-a for a in along]}

    def _structure(
        self, f: Mapping[str, float], factor: str, centre: list[float], seed: int, name: str
    ) -> tuple[Tensor, Tensor]:
        """What a structure of this factor adds to the image, and how much of each voxel it fills, (\\*space)."""
        region = self._region(centre)
        if self.effect in ("linear", "multiplicative"):
            return f[factor] * region, region
        if self.effect == "texture":
            return region * correlated(self.shape, self._length(f[factor]), seed, name, f"texture of {factor}"), region
        if self.effect == "volume":
            filled = self._ball(centre, self._ball_radius(f[factor]))
        else:
            hollow = 0.5 * self._radius
            filled = self._ball(centre, hollow + self._thickness(f[factor])) - self._ball(centre, hollow)
        return (0.7 + 0.6 * f["contrast"]) * filled, filled

    def _behind(self, seed: int, name: str) -> tuple[Tensor, Tensor]:
        """Background and noise, each (\\*space)."""
        if self.background == "correlated":
            return torch.zeros(self.shape), self.noise * correlated(self.shape, self.smoothness, seed, name, "noise")
        noise = self.noise * randomness.normal(torch.empty(self.shape), seed, name, "noise")
        behind = tissues(self.shape, seed, name) if self.background == "anatomical" else torch.zeros(self.shape)
        return behind, noise

    def _region(self, centre: Sequence[float]) -> Tensor:
        """Share of each voxel that a region of the phantom's form fills, (\\*space)."""
        radius = self.size * self._radius
        if self.form == "rod":
            thin = [0.2 * radius] * (len(self.shape) - 1)
            return averaged(ellipsoid(coordinates(self.shape), centre, [*thin, 2.0 * radius]), self.shape)
        if self.form == "cluster":
            apart = 0.75 * radius
            places = ((-apart, -apart), (apart, -0.2 * apart), (-0.3 * apart, apart))
            some = [[c + d for c, d in zip(centre, (*p, 0.0), strict=False)] for p in places]
            found: Tensor = torch.stack([self._ball(c, 0.35 * radius) for c in some]).amax(0)
            return found
        return self._ball(centre, radius)

    def _ball(self, centre: Sequence[float], radius: float) -> Tensor:
        """Share of each voxel that a ball fills, (\\*space)."""
        return averaged(ellipsoid(coordinates(self.shape), centre, [radius] * len(self.shape)), self.shape)

    def _mark(self, centre: Sequence[float]) -> Tensor:
        """A small box, (\\*space)."""
        half = 0.08 * min(self.shape)
        near = [(x - c).abs() < half for x, c in zip(coordinates(self.shape), centre, strict=True)]
        return averaged(torch.stack(near).all(0), self.shape)


def _name(number: int) -> str:
    return f"planted-{number:05d}"


def _unit_ball(n: int) -> float:
    """Volume of the ball of radius 1 in n dimensions."""
    return math.pi ** (n / 2) / math.gamma(n / 2 + 1)
