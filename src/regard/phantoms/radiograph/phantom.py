"""Frontal radiographs of simulated chests, rendered again and again with one factor changed and all else fixed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.errors import InputError, UnknownNameError
from regard.phantoms.radiograph.chest import SPACING
from regard.phantoms.radiograph.exposure import Exposure, detect, display_of
from regard.phantoms.radiograph.findings import FINDINGS
from regard.phantoms.radiograph.paths import RadiographPaths, draw_paths
from regard.phantoms.radiograph.projection import Field

__all__ = ["DECOYS", "Draws", "RadiographPhantom", "RadiographSubject", "draw_factors", "expose"]

DECOYS = ("marker", "view")
"""Factors that no label depends on: a letter of lead (opacity), and the view (AP from 1/2 up)."""

Truth = Literal["tissue", "removed"]


@dataclass(frozen=True, eq=False)
class RadiographSubject:
    """A radiograph with its truth; tensors run (row, column), row 0 uppermost, column 0 the patient's right.

    Parameters
    ----------
    name
        Case id.
    image
        Grey levels in [0, 1], (1, row, column): bone white, lung dark.
    soft
        The same without bone, by the same display, with the same noise.
    factors
        Dose of each of ``FINDINGS`` and of ``DECOYS``, each in [0, 1].
    masks
        Where each finding that is there (dose above 0) changes the picture, (row, column) of bool.
    paths
        Of this view: lung fields, ribs and what lies behind them.
    """

    name: str
    image: Tensor
    soft: Tensor
    factors: dict[str, float]
    masks: dict[str, Tensor]
    paths: RadiographPaths

    @property
    def label(self) -> float:
        """1 with any finding, else 0."""
        return float(any(self.factors[kind] > 0 for kind in FINDINGS))

    @property
    def mask(self) -> Tensor:
        """Where any finding that is there changes the picture, (row, column) of bool."""
        return torch.stack([torch.zeros_like(self.paths.lung), *self.masks.values()]).any(0)

    @property
    def structure(self) -> Tensor:
        """Share of each pixel that the findings fill, (row, column)."""
        return self.mask.float()


def expose(
    paths: Mapping[str, RadiographPaths],
    factors: Mapping[str, float],
    exposure: Exposure | None = None,
    *,
    seed: int = 0,
    truth: Truth = "tissue",
    letter: str = "R",
    bone: float = 1.0,
) -> RadiographSubject:
    """Take the picture of a chest.

    Parameters
    ----------
    paths
        Of one chest, by view (`draw_paths`).
    factors
        Any of ``FINDINGS`` and ``DECOYS``; those left out are 0.
    exposure
        Photons, scatter, noise; None: `Exposure` as it is.
    seed
        Key of the noise.
    truth
        What stands in bone's place in ``soft``: ``"tissue"``, soft tissue, as dual-energy subtraction shows it, or
        nothing (``"removed"``), which leaves the ribs' own hollows.
    letter
        Which letter is the marker.
    bone
        Share of the mineral that is there; the display stays that of all of it.

    Returns
    -------
    RadiographSubject
        Radiograph and truth share the display that the radiograph without finding and letter fixes, so that no factor
        changes the picture elsewhere.

    Raises
    ------
    UnknownNameError
        If there is no such factor.
    InputError
        If a factor is not in [0, 1].
    """
    known = (*FINDINGS, *DECOYS)
    for name, value in factors.items():
        if name not in known:
            raise UnknownNameError.suggest("factor", name, known)
        if not 0 <= value <= 1:
            raise InputError(f"{name}={value}", "a dose from 0 to 1")
    full = {name: float(factors.get(name, 0.0)) for name in known}
    how = exposure or Exposure()
    view = "AP" if full["view"] >= 0.5 else "PA"
    if view not in paths:
        raise InputError(f"paths of {', '.join(paths) or 'no view'}", f"those of the view {view}")
    own = paths[view]
    nothing = torch.zeros_like(own.mineral)

    def signal(water: Tensor, mineral: Tensor, letters: Tensor | None) -> Tensor:
        return detect(water, mineral, how, own.pixel_mm, letters=letters, seed=seed, case=own.name)

    water = own.water.clone()
    for kind in FINDINGS:
        water += full[kind] * own.findings[kind].path
    lead = full["marker"] * own.letters[letter] if full["marker"] > 0 else None
    display = display_of(signal(own.water, own.mineral, None))
    image = display(signal(water, bone * own.mineral, lead))
    soft = display(signal(water - (own.tissue if truth == "removed" else 0.0), nothing, lead))
    masks = {kind: own.findings[kind].mask for kind in FINDINGS if full[kind] > 0}
    return RadiographSubject(own.name, image[None], soft[None], full, masks, own)


@dataclass(frozen=True)
class Draws:
    """How the factors of a case are drawn.

    Parameters
    ----------
    prevalence
        Share of cases with a finding.
    lowest
        Smallest dose of a finding that is there; it is uniform from here to 1.
    kinds
        Findings that occur, one a case, each as often.
    doses
        Of each decoy: 0, it has nothing to do with the label and is there in half of the cases; 1, it is there when,
        and only when, there is a finding. The correlation between both is this dose at a prevalence of one half.

    Raises
    ------
    UnknownNameError
        If there is no such finding or decoy.
    InputError
        If a share is not in [0, 1].
    """

    prevalence: float = 0.5
    lowest: float = 0.6
    kinds: tuple[str, ...] = FINDINGS
    doses: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in FINDINGS:
                raise UnknownNameError.suggest("finding", kind, FINDINGS)
        for decoy in self.doses:
            if decoy not in DECOYS:
                raise UnknownNameError.suggest("decoy", decoy, DECOYS)
        shares = (self.prevalence, self.lowest, *self.doses.values())
        if min(shares) < 0 or max(shares) > 1 or not self.kinds:
            raise InputError(f"shares {shares} and {len(self.kinds)} findings", "shares from 0 to 1, and a finding")


def draw_factors(name: str, draws: Draws, *, seed: int = 0) -> dict[str, float]:
    """Draw the factors of a case."""

    def uniform(draw: str) -> float:
        return float(randomness.uniform((1,), seed, name, draw))

    ill = uniform("ill") < draws.prevalence
    found = dict.fromkeys((*FINDINGS, *DECOYS), 0.0)
    if ill:
        kind = draws.kinds[int(uniform("kind") * len(draws.kinds))]
        found[kind] = draws.lowest + (1 - draws.lowest) * uniform("dose")
    for decoy in DECOYS:
        dose = draws.doses.get(decoy, 0.0)
        found[decoy] = float(uniform(decoy) < 0.5 + (0.5 if ill else -0.5) * dose)
    return found


@dataclass(frozen=True, eq=False)
class RadiographPhantom:
    """Radiographs as a phantom for `regard.phantoms.truth.model_truth`.

    Parameters
    ----------
    draws
        How factors are drawn.
    picture
        The picture.
    exposure
        How it is taken.
    factors
        Those whose effect is worked out; model truth renders 2^k pictures.
    truth
        See `expose`.
    spacing_mm
        Voxel size of the chest along x, y and z.
    kept
        Paths of the chests that have been drawn, by seed and number; a study puts those here that it has in its folder.
        A chest takes some seconds, a picture of it some milliseconds.

    Raises
    ------
    UnknownNameError
        If there is no such factor.
    """

    draws: Draws = field(default_factory=Draws)
    picture: Field = field(default_factory=Field)
    exposure: Exposure = field(default_factory=Exposure)
    factors: tuple[str, ...] = (*FINDINGS, *DECOYS)
    truth: Truth = "tissue"
    spacing_mm: tuple[float, float, float] = SPACING
    kept: dict[tuple[int, int], Mapping[str, RadiographPaths]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for factor in self.factors:
            if factor not in (*FINDINGS, *DECOYS):
                raise UnknownNameError.suggest("factor", factor, (*FINDINGS, *DECOYS))

    @property
    def causes(self) -> tuple[str, ...]:
        """Factors that the label depends on."""
        return tuple(f for f in self.factors if f in FINDINGS)

    @property
    def decoys(self) -> tuple[str, ...]:
        """Factors that it does not depend on and that a network may use."""
        return tuple(f for f in self.factors if f in DECOYS)

    def paths(self, number: int, *, seed: int = 0) -> Mapping[str, RadiographPaths]:
        """Paths of one chest, by view; drawn once."""
        key = (seed, number)
        if key not in self.kept:
            self.kept[key] = draw_paths(seed, number, self.picture, spacing_mm=self.spacing_mm)
        return self.kept[key]

    def draw(self, number: int, *, seed: int = 0) -> dict[str, float]:
        """The factors of one case."""
        drawn = draw_factors(self.paths(number, seed=seed)["PA"].name, self.draws, seed=seed)
        return {f: drawn[f] for f in self.factors}

    def subject(self, number: int, *, seed: int = 0, factors: Mapping[str, float] | None = None) -> RadiographSubject:
        """One case with some factors replaced; anatomy, places of the findings and noise stay."""
        paths = self.paths(number, seed=seed)
        name = paths["PA"].name
        drawn = draw_factors(name, self.draws, seed=seed)
        u = float(randomness.uniform((1,), seed, name, "exposure"))
        how = self.exposure
        if how.photons is not None:
            how = replace(how, photons=how.photons * 4 ** (u - 0.5))
        return expose(paths, {**drawn, **(factors or {})}, how, seed=seed, truth=self.truth)
