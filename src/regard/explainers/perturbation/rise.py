"""How the output goes along with random masks."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.core import batching, randomness
from regard.core.errors import ReferenceInputError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import interpolate, space
from regard.explainers.knobs import real, whole
from regard.explainers.monte_carlo import CHECK_EVERY, RunningMean, resolved
from regard.explainers.perturbation.copies import Copies, value_of
from regard.explainers.perturbation.fillers import Filler, FillerLike, known, nothing_known
from regard.explainers.reference import value_at, whole_reference

__all__ = ["RISE", "RunningSlope", "soft_mask"]


def soft_mask(size: Sequence[int], cells: int, p: float, seed: int, case: str, draw: str) -> Tensor:
    """One random mask (1, 1, \\*size), float64, between 0 (hidden) and 1 (shown).

    A grid of ``cells`` along each axis (fewer on shorter axes), each shown with probability ``p``, is interpolated
    linearly to one cell more than the image and shifted by up to one cell.

    Notes
    -----
    Petsiuk, Das and Saenko 2018 (arXiv 1806.07421), section 3.2.
    """
    grid = [min(cells, n) for n in size]
    steps = [-(-n // g) for n, g in zip(size, grid, strict=True)]
    shown = (randomness.uniform(tuple(grid), seed, case, draw) < p).double()[None, None]
    wide = interpolate(shown, [(g + 1) * step for g, step in zip(grid, steps, strict=True)])
    shifts = randomness.uniform((len(grid),), seed, case, f"{draw}/shift").tolist()
    starts = [int(share * step) for share, step in zip(shifts, steps, strict=True)]
    return wide[(slice(None), slice(None), *[slice(a, a + n) for a, n in zip(starts, size, strict=True)])]


class RunningSlope:
    """Slope of a number on a mask, place by place, with its standard error; masks come one by one.

    Least squares of f on the mask at each place alone: covariance of the two divided by the variance of the mask.
    """

    def __init__(self, like: Tensor) -> None:
        self.n = 0
        self._mean, self._variance, self._covariance = (torch.zeros_like(like) for _ in range(3))
        self._value_mean = self._value_variance = 0.0

    def add(self, mask: Tensor, value: float) -> None:
        """Take in one mask and the output under it."""
        self.n += 1
        off, value_off = mask - self._mean, value - self._value_mean
        self._mean += off / self.n
        self._value_mean += value_off / self.n
        rest = value - self._value_mean
        self._variance += off * (mask - self._mean)
        self._covariance += off * rest
        self._value_variance += value_off * rest

    def slope(self) -> Tensor:
        """Slope at each place; 0 where the mask never changed."""
        return torch.where(self._variance > 0, self._covariance / self._variance.clamp(min=1e-300), 0.0)

    def standard_error(self) -> Tensor:
        """Standard error of each slope; infinite where it cannot be known."""
        if self.n < 3:
            return torch.full_like(self._mean, torch.inf)
        left = (self._value_variance - self._covariance * self.slope()).clamp(min=0) / (self.n - 2)
        return torch.where(self._variance > 0, (left / self._variance.clamp(min=1e-300)).sqrt(), torch.inf)

    def enough(self, tolerance: float | None) -> bool:
        """Whether this is a place to stop, and the slopes are resolved to ``tolerance``."""
        ready = self.n % CHECK_EVERY == 0 and self.n >= 4 * CHECK_EVERY
        return ready and resolved([self.slope()], [self.standard_error()], tolerance)


class RISE(AbstractExplainer):
    """Slope of the output on the visibility of a place, under random soft masks, with its Monte-Carlo standard error.

    The signed form is the covariance of the output with the mask at each voxel, divided by the variance of the mask
    there: what showing the place instead of the filler does, in output units, with all that is shown along with it (a
    mask is as coarse as its cells). All channels are hidden together; of several inputs one at a time. With a
    reference, hidden places are filled from it unless a filler is named.

    Parameters
    ----------
    network
        Any callable; no gradient is needed.
    n_masks
        Masks at most.
    cells
        Cells of the random grid along each axis.
    p
        Probability that a cell is shown.
    filler
        ``"blur"``, ``"mean"``, ``"noise"``, ``"neighbour"`` (local mean), ``"reference"``, or a number in the network's
        input units; ``"auto"``: the reference where one is given, else ``"blur"``.
    sigma
        Width in voxels of the blur that fills; by default half a cell.
    tolerance
        Stop when the median standard error is at most this share of the map's size (99th percentile of the absolute
        map), looked at every 8 masks from the 32nd on; None for all masks.
    form
        ``"published"`` is the mean of output times mask, divided by ``p``, with hidden places multiplied by 0.

    Raises
    ------
    InputError
        If a knob is out of its range.
    ReferenceInputError
        If a reference is given for the published form.

    Notes
    -----
    Petsiuk, Das and Saenko 2018 (arXiv 1806.07421), eqs. 4 to 6 for the published form, which a constant added to the
    output changes; the regression form is free of that.
    """

    quantity = Quantity.EFFECT
    sign = Sign.RAISED
    published_meaning = (Quantity.SCORE, Sign.UNSIGNED)
    needs = frozenset()
    takes_reference = True
    without_space = "each feature is shown or hidden by itself, filled from a reference or with a number; else NaN"
    breaks = {Promise.COMPLETE: "cells overlap and each slope counts its neighbours, so that they do not add up"}

    def __init__(
        self,
        network: Network,
        *,
        n_masks: int = 1000,
        cells: int = 7,
        p: float = 0.5,
        filler: FillerLike = "auto",
        sigma: float | None = None,
        tolerance: float | None = 0.1,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        self.n_masks = whole("n_masks", n_masks, 3)
        self.cells = whole("cells", cells)
        self.p = real("p", p, 0, 0.99)
        self.filler = Filler(filler).kind
        self.sigma = None if sigma is None else real("sigma", sigma, 0)
        self.tolerance = None if tolerance is None else real("tolerance", tolerance, 0)

    def _attribute(self, query: Query) -> Attribution:
        value = value_of(query)
        filler = Filler(self.filler, self.sigma)
        published = self.form == "published"
        if published and query.reference is not None:
            raise ReferenceInputError(
                "a reference for the published form of RISE, which multiplies by 0", "none", "choose the signed form"
            )
        warnings: list[str] = []
        found = [self._map(query, which, filler, warnings) for which in range(len(query.inputs.tensors))]
        reference = whole_reference(query)
        return Attribution(
            tuple(f[0] for f in found),
            value,
            reference_value=None if reference is None else value_at(query, reference),
            standard_error=tuple(f[1].float() for f in found),
            notes={
                "filler": "multiplied by 0" if published else filler.words(query),
                "n_masks_used": max(f[2] for f in found),
            },
            warnings=warnings,
        )

    def draw(self, x: Tensor, which: int, draw: int, seed: int, case: str) -> Tensor:
        """One mask of an input: (1, 1, \\*space), or without space (1, feature), each feature by itself."""
        if space(x):
            return soft_mask(space(x), self.cells, self.p, seed, case, f"{which}/{draw}").to(x)
        return (randomness.uniform((1, x.shape[1]), seed, case, f"{which}/{draw}") < self.p).to(x)

    def _map(self, query: Query, which: int, filler: Filler, warnings: list[str]) -> tuple[Tensor, Tensor, int]:
        x = query.inputs.tensors[which].double()
        published = self.form == "published"
        cell = [n / min(self.cells, n) for n in space(x)]
        undefined = None if published else filler.undefined(query, which)
        if undefined is not None:
            warnings.append(undefined)
            return nothing_known(x), nothing_known(x), 0
        filling = torch.zeros_like(x) if published else filler.image(query, which, cell).double()
        same = None
        if not published:
            same, sentences = filler.unchanged(query, which, filling.to(query.inputs.tensors[which]))
            warnings += sentences
            if bool(same.all()):
                return nothing_known(x), nothing_known(x), 0
        copies = Copies(query)
        slopes, means = RunningSlope(torch.zeros_like(x[:, :1] if space(x) else x)), RunningMean()

        def evaluate(items: range) -> tuple[list[Tensor], Tensor]:
            masks = [self.draw(x, which, draw, query.seed, query.case) for draw in items]
            buffer = copies.of(len(items))[which]
            for n, mask in enumerate(masks):
                buffer[n : n + 1] = filling + mask * (x - filling)
            return masks, copies.score()

        def add(items: range, result: tuple[list[Tensor], Tensor]) -> bool:
            for mask, value in zip(result[0], result[1].tolist(), strict=True):
                if published:
                    means.add([mask * (value / self.p)])
                    stop = means.n >= 4 * CHECK_EVERY and means.enough(self.tolerance)
                else:
                    slopes.add(mask, value)
                    stop = slopes.enough(self.tolerance)
                if stop:
                    return True
            return False

        batching.run(evaluate, self.n_masks, add, batch_size=query.items_at_once(self.n_masks), label="rise")
        if published:
            return means.means[0], means.standard_errors()[0], means.n
        return known(slopes.slope(), x, same), known(slopes.standard_error(), x, same), slopes.n
