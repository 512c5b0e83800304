"""The torso as a phantom with factors: a slice through L1 rendered again with one factor changed, all else fixed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from regard.core.errors import UnknownNameError
from regard.phantoms.torso.factors import CAUSES, DECOYS, FACTORS, factors_of, with_factors
from regard.phantoms.torso.population import draw_shape
from regard.phantoms.torso.scanner import Scanner
from regard.phantoms.torso.shape import TorsoShape
from regard.phantoms.torso.slices import L1Slice, slices_of

__all__ = ["TorsoPhantom", "TorsoSubject"]


@dataclass(frozen=True, eq=False)
class TorsoSubject:
    """One slice of one torso.

    Parameters
    ----------
    name
        Case id.
    slice
        The slice with its truth.
    factors
        What it was rendered from.
    """

    name: str
    slice: L1Slice
    factors: dict[str, float]

    @property
    def image(self) -> Tensor:
        """What the scanner gives [HU], (1, i, j)."""
        return self.slice.image.tensor[..., 0]

    @property
    def structure(self) -> Tensor:
        """Share of each pixel that L1 fills, (i, j)."""
        part = self.slice.torso.fractions
        return (part["body"].tensor + part["posterior"].tensor)[0, ..., 0].clamp(max=1)

    @property
    def label(self) -> float:
        """Areal bone density without noise [g/cm2]."""
        return self.slice.true_label


@dataclass(frozen=True)
class TorsoPhantom:
    """Slices through L1 as a phantom for `regard.phantoms.truth.model_truth`.

    Parameters
    ----------
    size, spacing_mm, slice_mm
        Pixels along each side, their size, and the slice's thickness.
    scanner
        How it is scanned; None: `Scanner` as it is.
    doses
        Dose of each decoy, see `draw_shape`.
    labels
        ``"paper"`` or ``"natural"``, see `draw_shape`.
    height
        Height of the slice above L1's middle [mm].
    fine
        Cells along each axis of a voxel.
    factors
        Those whose effect is worked out, of `FACTORS`; model truth renders 2^k images.

    Raises
    ------
    UnknownNameError
        If there is no such factor.
    """

    size: int = 128
    spacing_mm: float = 2.0
    slice_mm: float = 3.0
    scanner: Scanner | None = None
    doses: Mapping[str, float] = field(default_factory=dict)
    labels: str = "paper"
    height: float = 4.0
    fine: int = 2
    factors: tuple[str, ...] = tuple(FACTORS)

    def __post_init__(self) -> None:
        for factor in self.factors:
            if factor not in FACTORS:
                raise UnknownNameError.suggest("factor", factor, FACTORS)

    @property
    def causes(self) -> tuple[str, ...]:
        """Factors that areal bone density depends on."""
        return tuple(f for f in self.factors if f in CAUSES)

    @property
    def decoys(self) -> tuple[str, ...]:
        """Factors that it does not depend on and that a network may use."""
        return tuple(f for f in self.factors if f in DECOYS)

    def shape(self, number: int, *, seed: int = 0) -> TorsoShape:
        """The anatomy of one case."""
        return draw_shape(seed, number, labels=self.labels, decoys=self.doses)

    def draw(self, number: int, *, seed: int = 0) -> dict[str, float]:
        """The factors of one case."""
        drawn = factors_of(self.shape(number, seed=seed))
        return {f: drawn[f] for f in self.factors}

    def subject(self, number: int, *, seed: int = 0, factors: Mapping[str, float] | None = None) -> TorsoSubject:
        """Render one slice of one case with some factors replaced; anatomy, texture and noise stay."""
        shape = self.shape(number, seed=seed)
        (found,) = slices_of(
            shape,
            seed=seed,
            n_slices=1,
            size=self.size,
            spacing_mm=self.spacing_mm,
            slice_mm=self.slice_mm,
            scanner=self.scanner,
            dxa_noise_sd=0.0,
            fine=self.fine,
            factors=factors,
            heights=(self.height,),
        )
        return TorsoSubject(shape.name, found, factors_of(with_factors(shape, factors or {})))
