"""Does a network answer to a mark, and does a map show it? Dose-response by compositing the mark into images and out.

A dose is the opacity of the mark, or for a border its width: 0 is an image without it. The change of the output with
the dose is what the mark truly does to this network; whether a map shows it is asked against the same place of the same
images without the mark.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from regard.core.errors import InputError, ShapeError
from regard.core.spatial import box_mean
from regard.evidence.intervals import Interval
from regard.evidence.statistics import clustered_interval, exact_interval, patient_means

__all__ = [
    "DOSES",
    "AbstractMark",
    "Border",
    "Burnt",
    "Dose",
    "Overlay",
    "Seen",
    "detection_rates",
    "detection_threshold",
    "dose_response",
    "net_share_inside",
    "share_inside",
]

DOSES = (0.0, 0.3, 0.6, 0.9)

Answer: TypeAlias = Callable[[Sequence[Tensor]], Tensor]
"""Images, each (channel, \\*space), to the scalar of each, (n,): preparation, network and target."""

_SWEEPS = 400


class AbstractMark(ABC):
    """Something that can be put into an image at a dose from 0 to 1."""

    @abstractmethod
    def on(self, image: Tensor, dose: float) -> Tensor:
        """The image (channel, \\*space) with the mark at this dose."""

    @abstractmethod
    def region(self, image: Tensor, dose: float) -> Tensor:
        """Where the mark is at this dose, (\\*space) of bool."""


def _checked(dose: float) -> float:
    if not 0 <= dose <= 1:
        raise InputError(f"a dose of {dose}", "0 to 1, the share of the mark that is there")
    return dose


@dataclass(frozen=True, eq=False)
class Overlay(AbstractMark):
    """A patch blended over images: ``(1 - dose * opacity) image + dose * opacity * patch``.

    Parameters
    ----------
    patch
        (channel, \\*size), in the images' unit.
    opacity
        0 to 1, (\\*size): the letters of a marker, not the film around them.
    start
        First voxel of the patch in the image, one number per axis.
    """

    patch: Tensor
    opacity: Tensor
    start: tuple[int, ...]

    def _place(self, image: Tensor) -> tuple[slice, ...]:
        place = tuple(slice(s, s + n) for s, n in zip(self.start, self.opacity.shape, strict=True))
        inside = all(p.start >= 0 and p.stop <= n for p, n in zip(place, image.shape[1:], strict=True))
        if not inside or self.patch.shape != (len(image), *self.opacity.shape):
            got = f"a patch of {tuple(self.patch.shape)} at {self.start} of an image of {tuple(image.shape)}"
            raise ShapeError(got, "a patch that lies inside, with the image's channels")
        return place

    def on(self, image: Tensor, dose: float) -> Tensor:
        place = (slice(None), *self._place(image))
        weight = (_checked(dose) * self.opacity).to(image)
        made = image.clone()
        made[place] = (1 - weight) * image[place] + weight * self.patch.to(image)
        return made

    def region(self, image: Tensor, dose: float) -> Tensor:
        """The patch's box, whatever the dose."""
        found = torch.zeros(image.shape[1:], dtype=torch.bool)
        found[self._place(image)] = True
        return found


@dataclass(frozen=True, eq=False)
class Burnt(AbstractMark):
    """A mark that is already in an image, faded out to the background around it; at dose 1 the image is as it came.

    Parameters
    ----------
    place
        Where it is, (\\*space) of bool.

    Notes
    -----
    The background is harmonic inside the place: each voxel is the mean of its neighbours, found by sweeps from the
    mean of the voxels around.
    """

    place: Tensor

    def on(self, image: Tensor, dose: float) -> Tensor:
        _checked(dose)
        inside = self.place.to(image.device)
        if inside.shape != image.shape[1:]:
            raise ShapeError(f"a place of {tuple(inside.shape)} in an image of {tuple(image.shape)}", "one grid")
        # Only the box around the place is swept.
        ends = [(int(c.min()), int(c.max()) + 1) for c in inside.nonzero().unbind(1)]
        box = tuple(slice(max(a - 1, 0), min(b + 1, n)) for (a, b), n in zip(ends, inside.shape, strict=True))
        held, hole = image[(slice(None), *box)], inside[box]
        patch = torch.where(hole, held[:, ~hole].mean(1).reshape(-1, *[1] * hole.ndim), held)
        for _ in range(_SWEEPS):
            patch = torch.where(hole, box_mean(patch[None], 3)[0], held)
        filled = image.clone()
        filled[(slice(None), *box)] = patch
        return (1 - dose) * filled + dose * image

    def region(self, image: Tensor, dose: float) -> Tensor:
        """The place, whatever the dose."""
        return self.place


@dataclass(frozen=True)
class Border(AbstractMark):
    """A frame of one intensity around the image, as wide as ``dose * widest``.

    Parameters
    ----------
    widest
        Width at dose 1, as a share of each side.
    value
        Its intensity.
    """

    widest: float = 0.1
    value: float = 0.0

    def on(self, image: Tensor, dose: float) -> Tensor:
        return torch.where(self.region(image, dose).to(image.device), self.value, image)

    def region(self, image: Tensor, dose: float) -> Tensor:
        """The frame at this dose."""
        _checked(dose)
        found = torch.ones(image.shape[1:], dtype=torch.bool)
        widths = [round(dose * self.widest * n) for n in image.shape[1:]]
        found[tuple(slice(w, n - w) for w, n in zip(widths, image.shape[1:], strict=True))] = False
        return found


@dataclass(frozen=True)
class Dose:
    """What a mark does to the output at one dose.

    Parameters
    ----------
    dose
        Of the mark.
    change
        Mean over patients of the output minus that without the mark, in the output's unit.
    raised
        Share of the patients whose output it raises.
    changes
        Change of each image.
    """

    dose: float
    change: Interval
    raised: float
    changes: tuple[float, ...] = field(repr=False, default=())


def dose_response(
    answer: Answer,
    images: Sequence[Tensor],
    marks: Sequence[AbstractMark],
    *,
    doses: Sequence[float] = DOSES,
    patients: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Dose]:
    """How far the output moves with a mark, beside the same images without it.

    Parameters
    ----------
    answer
        Images to values.
    images
        Each (channel, \\*space).
    marks
        One for each image.
    doses
        Dose 0 is measured in any case.
    patients
        Whose image it is; each image is a patient of its own by default.
    seed
        Of the intervals.

    Returns
    -------
    list of Dose
        One per dose.
    """
    whose = list(patients) if patients is not None else [str(n) for n in range(len(images))]

    def at(dose: float) -> np.ndarray:
        marked = [mark.on(image, dose) for image, mark in zip(images, marks, strict=True)]
        return answer(marked).double().cpu().numpy()  # type: ignore[no-any-return]

    without = at(0.0)
    found = []
    for dose in doses:
        changes = at(dose) - without
        means = np.array(list(patient_means(list(changes), whose).values()))
        change = clustered_interval(list(changes), whose, seed=seed)
        found.append(Dose(dose, change, float((means > 0).mean()), tuple(changes.tolist())))
    return found


def share_inside(relevance: Tensor, region: Tensor) -> float:
    """Share of the size of a map (\\*space) that lies in a region, 0 to 1; NaN voxels count neither way.

    NaN for a map of zeros.
    """
    size = relevance.detach().double().cpu().abs().nan_to_num()
    if size.shape != region.shape:
        raise ShapeError(f"a map of {tuple(size.shape)} and a region of {tuple(region.shape)}", "one grid")
    total = float(size.sum())
    return float(size[region.cpu()].sum()) / total if total > 0 else float("nan")


def net_share_inside(relevance: Tensor, region: Tensor) -> float:
    """Sum of a map (\\*space) in a region over the size of the whole map, -1 to 1; NaN voxels count neither way.

    What raises and what lowers the output cancel. For a mark that is known to raise the output this is the reading of a
    signed map; the size alone overlooks a place whose sign turned. NaN for a map of zeros.
    """
    known = relevance.detach().double().cpu().nan_to_num()
    if known.shape != region.shape:
        raise ShapeError(f"a map of {tuple(known.shape)} and a region of {tuple(region.shape)}", "one grid")
    total = float(known.abs().sum())
    return float(known[region.cpu()].sum()) / total if total > 0 else float("nan")


def detection_threshold(null: np.ndarray, *, false_alarms: float = 0.05) -> float:
    """Value that at most ``false_alarms`` of new draws of the null exceed, as long as draws are exchangeable.

    Values of one network are alike: with few networks behind the null, a new network may exceed it more often.

    Parameters
    ----------
    null
        Values without an effect, any shape; NaN is left out.
    false_alarms
        Rate.

    Returns
    -------
    float
        The k-th smallest of n values, k = ceil((n + 1)(1 - rate)); infinity when there are too few for the rate.
    """
    kept = np.sort(null[np.isfinite(null)])
    k = int(np.ceil((len(kept) + 1) * (1 - false_alarms) - 1e-9))
    return float(kept[k - 1]) if 1 <= k <= len(kept) else float("inf")


@dataclass(frozen=True)
class Seen:
    """How often a method's maps give a mark away at one dose.

    Parameters
    ----------
    dose
        Of the mark.
    rate
        Share of the images whose map is beyond the threshold, with its exact interval; n counts images. NaN where they
        are too few for the rate of false alarms: 19 at least for 5 %.
    share
        Mean reading of the mark's place: of the share of the relevance that lies there, or of its net share.
    without
        The same of the same place without the mark.
    area
        Share of the image that the place takes.
    """

    dose: float
    rate: Interval
    share: float
    without: float
    area: float


def detection_rates(
    explain: Callable[[Tensor], Tensor],
    images: Sequence[Tensor],
    marks: Sequence[AbstractMark],
    *,
    doses: Sequence[float] = DOSES,
    false_alarms: float = 0.05,
    reading: Callable[[Tensor, Tensor], float] = share_inside,
) -> list[Seen]:
    """How often maps show a mark: their share in its place beyond that of maps of the images without it.

    The threshold is set on the same images without the mark, at the same place (`detection_threshold`), so that a
    method that always looks there gains nothing by it.

    Parameters
    ----------
    explain
        Image (channel, \\*space) to its map (\\*space).
    images
        One for each patient: the exact interval takes them as independent.
    marks
        One for each image.
    doses
        At dose 0 nothing is explained again.
    false_alarms
        Share of images without the mark that may be beyond the threshold.
    reading
        A map and a place to a number that a mark makes larger: `share_inside`, or `net_share_inside` for a mark that
        raises the output.

    Returns
    -------
    list of Seen
        One per dose.
    """
    plain = [explain(mark.on(image, 0.0)) for image, mark in zip(images, marks, strict=True)]
    found = []
    for dose in doses:
        maps = [explain(m.on(i, dose)) for i, m in zip(images, marks, strict=True)] if dose else plain
        regions = [mark.region(image, dose) for image, mark in zip(images, marks, strict=True)]
        shares = np.array([reading(m, r) for m, r in zip(maps, regions, strict=True)])
        null = np.array([reading(m, r) for m, r in zip(plain, regions, strict=True)])
        known = np.isfinite(shares) & np.isfinite(null)
        threshold, n = detection_threshold(null[known], false_alarms=false_alarms), int(known.sum())
        rate = Interval(float("nan"), float("nan"), float("nan"), 0.95, n)
        if np.isfinite(threshold):
            seen = int((shares[known] > threshold).sum())
            rate = Interval(seen / n, *exact_interval(seen, n), 0.95, n)
        area = float(np.mean([r.double().mean() for r in regions]))
        found.append(Seen(dose, rate, float(shares[known].mean()), float(null[known].mean()), area))
    return found
