"""A table's scans on the grid of a network, and where in them a signal can be planted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import nibabel
import numpy as np
import torch
from torch import Tensor, nn

from regard.core.errors import InputError, RegardError
from regard.core.foreground import background_level
from regard.core.spatial import blur
from regard.core.volume import Volume
from regard.io.tables import Case
from regard.models.card import InputSpec, ModelCard, OutputSpec
from regard.models.case import prepare_case
from regard.models.model import Model

__all__ = ["CONTRAST", "FEWEST_PATIENTS", "Scans", "read_scans"]

FEWEST_PATIENTS = 10
"""Below this number there are too few to learn from and to test on."""

CONTRAST = 3.0
"""Intensity of the strongest signal, in standard deviations of fine texture."""

_ENDS = {"R": "RL", "L": "RL", "A": "AP", "P": "AP", "S": "SI", "I": "SI"}

_SIDE = {2: 64, 3: 32}
"""Voxels an axis without a card."""

_INSIDE = 0.8
"""Share of the images in which a place must be foreground."""

_TESTED = 0.4
"""Share of the patients that are kept for tests."""


@dataclass(frozen=True, eq=False)
class Scans:
    """Scans as a network sees them, split by patient.

    Parameters
    ----------
    learn, test
        (image, channel, \\*space), of different patients; of test patients one image each.
    radius
        Radius of a region [voxel].
    sites
        Centres of the region that counts and of the one that does not [voxel].
    strength
        Intensity of the strongest signal, in the network's input units.
    card
        Of the network that sees them.
    left_out
        Cases that could not be read, and why.
    """

    learn: Tensor
    test: Tensor
    radius: float
    sites: tuple[tuple[float, ...], tuple[float, ...]]
    strength: float
    card: ModelCard
    left_out: dict[str, str]

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels (\\*space)."""
        return tuple(self.learn.shape[2:])


def _default_card(volume: Volume) -> ModelCard:
    """A card that takes any scan like this one, whole."""
    sides = volume.tensor.shape[1:]
    kept = {frozenset(_ENDS[c]) for c, n in zip(nibabel.aff2axcodes(volume.affine), sides, strict=True) if n > 1}
    # Pictures and slices stand as one looks at them: rows run to posterior or down, columns to the patient's left.
    flat = next((o for o in ("PL", "IL", "IP") if {frozenset(_ENDS[c]) for c in o} == kept), None)
    n_axes = 2 if len(kept) == 2 else 3
    spec = InputSpec(
        shape=(_SIDE[n_axes],) * n_axes,
        orientation="RAS" if n_axes == 3 else flat,
        unit=volume.unit,
        normalise="zscore-foreground",
    )
    return ModelCard(name="small-regressor", inputs=(spec,), output=OutputSpec(kind="regression"))


def read_scans(
    cases: Sequence[Case],
    model: Model | None,
    *,
    contrast: float = CONTRAST,
    seed: int = 0,
    stage: Callable[[str, int, int], None] = lambda label, done, total: None,
) -> Scans:
    """Read, prepare and split the scans of a table.

    Parameters
    ----------
    cases
        Of the table; those of one patient stay together.
    model
        Whose preparation and grid are taken; None for one of our own.
    contrast
        Intensity of the strongest signal, in standard deviations of the texture that is as fine as the signal.
    seed
        Of the split.
    stage
        Told what is read.

    Raises
    ------
    InputError
        If fewer than `FEWEST_PATIENTS` patients can be read, scans come out of different shapes, or no place is
        foreground in most of them.
    """
    found: dict[str, list[Tensor]] = {}
    left_out: dict[str, str] = {}
    card = None if model is None else model.card
    if card is not None and len(card.inputs) != 1:
        raise InputError(f"a network of {len(card.inputs)} inputs", "one image", "choose another network (--network)")
    for n, case in enumerate(cases):
        stage(f"reading {case.case}", n, len(cases))
        try:
            volume = case.read()
            card = card or _default_card(volume)
            reader = model or Model(nn.Identity(), card)
            prepared = prepare_case(reader, {card.inputs[0].name: volume})
        except RegardError as error:
            left_out[case.case] = str(error)
            continue
        x = prepared.inputs.tensors[0][0].detach().cpu().float()
        found.setdefault(case.patient, []).append(x)
    if len(found) < FEWEST_PATIENTS or card is None:
        why = next(iter(left_out.values()), "the table has no more")
        raise InputError(
            f"{len(found)} patients whose scans can be read ({why})",
            f"at least {FEWEST_PATIENTS}: some to learn from, the others to test on",
            "give more scans; a column patient tells which belong together",
        )
    shapes = {tuple(x.shape) for images in found.values() for x in images}
    if len(shapes) > 1:
        one, other = sorted(shapes)[:2]
        raise InputError(
            f"scans of shapes {one} and {other} before the network", "one shape", "give shape in the card (--network)"
        )
    patients = sorted(found)
    order = np.random.default_rng(seed).permutation(len(patients))
    n_test = max(4, round(_TESTED * len(patients)))
    tested = [patients[k] for k in sorted(order[:n_test])]
    learn = torch.stack([x for p in patients if p not in tested for x in found[p]])
    test = torch.stack([found[p][0] for p in tested])
    shape = tuple(learn.shape[2:])
    if min(shape) < 16:
        raise InputError(f"images of {shape} voxels before the network", "at least 16 an axis", "choose another card")
    radius = 0.11 * min(shape)
    sites = _sites(torch.cat([learn, test]), radius, seed)
    return Scans(learn, test, radius, sites, contrast * _texture(learn, radius), card, left_out)


def _texture(images: Tensor, radius: float) -> float:
    """Median over images of the standard deviation, inside the foreground, of what is finer than a signal."""
    fine = images.mean(1, keepdim=True) - blur(images.mean(1, keepdim=True), radius)
    values = []
    for image, left in zip(images, fine, strict=True):
        inside = image.mean(0) > background_level(image.mean(0))
        values.append(float(left[0][inside].std()) if int(inside.sum()) > 1 else 0.0)
    found = float(np.median(values))
    if not found > 0:
        raise InputError("scans without any texture", "images in which places differ", "check the files and the card")
    return found


def _sites(images: Tensor, radius: float, seed: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Two places a signal's width apart, inside the foreground of most images."""
    inside = torch.stack([(i.mean(0) > background_level(i.mean(0))).float() for i in images]).mean(0)
    held = inside >= _INSIDE
    margin = int(np.ceil(1.8 * radius))
    window = [slice(margin, n - margin) for n in held.shape]
    open_ = torch.zeros_like(held)
    open_[tuple(window)] = True
    # A place with most of its surroundings inside as well.
    near = blur(inside[None, None], radius)[0, 0] >= _INSIDE * 0.9
    spots = torch.nonzero(held & near & open_).numpy()
    if len(spots) < 2:
        raise InputError(
            "scans in which no place is inside the foreground of most of them",
            "scans of one part of the body in one position",
            "register or crop them, or give a card that does",
        )
    random = np.random.default_rng(seed)
    centre = np.array(held.shape) / 2 - 0.5
    for _ in range(1000):
        one, other = spots[random.integers(len(spots), size=2)]
        if np.linalg.norm(one - other) >= 3.5 * radius:
            first, second = (tuple(float(v) for v in s - centre) for s in (one, other))
            return first, second
    raise InputError(
        "scans whose common foreground has no room for two signals",
        f"two places {3.5 * radius:.0f} voxels apart",
        "give scans or a card that show more of the body",
    )


def on_channels(scans: Scans) -> Scans:
    """The same with one channel: networks of several see it in each."""
    return replace(scans, learn=scans.learn.mean(1, keepdim=True), test=scans.test.mean(1, keepdim=True))
