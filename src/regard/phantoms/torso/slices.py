"""Axial slices through L1 with their labels: what a bone density network is trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from regard.core import randomness
from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.phantoms.torso.density import L1Measure, dxa_noise, label_weights, measure_l1
from regard.phantoms.torso.factors import with_factors
from regard.phantoms.torso.population import draw_shape
from regard.phantoms.torso.render import Box, Torso, render_torso
from regard.phantoms.torso.scanner import Scanner, scan
from regard.phantoms.torso.shape import TorsoShape

__all__ = ["L1Slice", "l1_slices", "slice_box", "slices_of"]

SLICE_MM = 3.0
"""Default thickness of a slice."""


@dataclass(frozen=True, eq=False)
class L1Slice:
    """One axial slice through L1.

    Parameters
    ----------
    patient
        Case id of the torso; several slices share it.
    name
        Case id of the slice.
    z
        Height of its middle above the middle of L1's body [mm].
    image
        What the scanner gives [HU], one slice thick.
    torso
        The slice without noise, with labels, mineral and fractions.
    measure
        Of the whole of L1.
    label
        Areal density with the noise of DXA [g/cm2].
    true_label
        Areal density without noise [g/cm2].
    """

    patient: str
    name: str
    z: float
    image: Volume
    torso: Torso
    measure: L1Measure
    label: float
    true_label: float

    @property
    def labels(self) -> Volume:
        """Structures (`STRUCTURES`), one slice thick."""
        return self.torso.labels

    @property
    def vertebra(self) -> Volume:
        """1 in L1 (body, arch, processes), else 0."""
        fractions = self.torso.fractions
        return self.labels.with_tensor((fractions["body"].tensor + fractions["posterior"].tensor > 0.5).float())

    @property
    def body(self) -> Volume:
        """1 in L1's body, else 0."""
        return self.labels.with_tensor((self.torso.fractions["body"].tensor > 0.5).float())

    @property
    def weights(self) -> Volume:
        """Change of the label with the mineral of each voxel [g/cm2 per g/cm3]: the data truth of the slice."""
        return label_weights(self.torso, area=self.measure.area)


SHIFT_MM = 6.0
"""How far the field of view may lie off the spine, to each side [mm]."""


def slice_box(
    shape: TorsoShape,
    z: float,
    size: int,
    spacing_mm: float,
    slice_mm: float,
    shift_mm: Sequence[float] = (0.0, 0.0),
) -> Box:
    """Box of a slice at height z [mm] above L1's middle, with the spine in its middle, moved by ``shift_mm``."""
    half = size * spacing_mm / 2
    x, y = shift_mm
    middle = -0.35 * (0.5 * shape.body_depth + shape.canal_depth) * shape.vertebra
    return (x - half, x + half), (y + middle - half, y + middle + half), (z - slice_mm / 2, z + slice_mm / 2)


def slices_of(
    shape: TorsoShape,
    *,
    seed: int = 0,
    n_slices: int = 3,
    size: int = 256,
    spacing_mm: float = 1.0,
    slice_mm: float = SLICE_MM,
    scanner: Scanner | None = None,
    dxa_noise_sd: float = 0.01,
    fine: int = 2,
    factors: Mapping[str, float] | None = None,
    measure: L1Measure | None = None,
    heights: Sequence[float] | None = None,
) -> list[L1Slice]:
    """Slices through L1 of one torso.

    Parameters
    ----------
    shape
        The torso.
    seed
        Of noise, of the slices' heights and of the field of view, which lies up to 6 mm off the spine.
    n_slices
        Number of slices, spread over the middle of L1's body.
    size, spacing_mm, slice_mm
        Pixels along each side, their size, and the slice's thickness.
    scanner
        How it is scanned.
    dxa_noise_sd
        Noise of the label [g/cm2].
    fine
        Cells along each axis of a voxel.
    factors
        Factors to replace; the noise stays as it was.
    measure
        Of L1, where it is known already and no factor changes it; None: measured.
    heights
        Heights above L1's middle [mm] instead of drawn ones.

    Raises
    ------
    InputError
        If there is not at least one slice.
    """
    if n_slices < 1:
        raise InputError(f"{n_slices} slices", "at least one")
    changed = with_factors(shape, factors or {})
    measure = measure or measure_l1(changed)
    if heights is None:
        reach = 0.30 * shape.body_height * shape.vertebra
        within = randomness.uniform((n_slices,), seed, shape.name, "heights").tolist()
        heights = [reach * (2 * (i + u) / n_slices - 1) for i, u in enumerate(within)]
    shift = [SHIFT_MM * (2 * u - 1) for u in randomness.uniform((2,), seed, shape.name, "field of view").tolist()]
    found = []
    for index, z in enumerate(heights):
        box = slice_box(shape, z, size, spacing_mm, slice_mm, shift)
        torso = render_torso(changed, (spacing_mm, spacing_mm, slice_mm), box, fine=fine)
        name = f"{shape.name}-{index}"
        label = measure.areal_bmd
        found.append(
            L1Slice(
                shape.name,
                name,
                z,
                scan(torso, scanner, seed, name),
                torso,
                measure,
                label + dxa_noise(shape, dxa_noise_sd, seed),
                label,
            )
        )
    return found


def l1_slices(
    n_cases: int,
    *,
    seed: int = 0,
    first: int = 0,
    n_slices: int = 3,
    size: int = 256,
    spacing_mm: float = 1.0,
    slice_mm: float = SLICE_MM,
    scanner: Scanner | None = None,
    dxa_noise_sd: float = 0.01,
    labels: str = "paper",
    decoys: Mapping[str, float] | None = None,
    fine: int = 2,
) -> Iterator[L1Slice]:
    """Slices through L1 of a cohort, one after the other.

    Parameters
    ----------
    n_cases, first
        Number of torsos and number of the first: training and test sets take numbers that do not overlap.
    seed
        Which cohort.
    labels, decoys
        As in `draw_shape`.
    n_slices, size, spacing_mm, slice_mm, scanner, dxa_noise_sd, fine
        As in `slices_of`. 256 x 256 of 1 mm; 128 of 2 mm, 96 of 2.67 mm and 64 of 4 mm show the same field.

    Yields
    ------
    L1Slice
        ``n_slices`` for each torso, in order.
    """
    for case in range(first, first + n_cases):
        shape = draw_shape(seed, case, labels=labels, decoys=decoys)
        yield from slices_of(
            shape,
            seed=seed,
            n_slices=n_slices,
            size=size,
            spacing_mm=spacing_mm,
            slice_mm=slice_mm,
            scanner=scanner,
            dxa_noise_sd=dxa_noise_sd,
            fine=fine,
        )
