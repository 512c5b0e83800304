"""What hiding a window does to the output."""

from collections.abc import Sequence

import torch
from torch import Tensor

from regard.core import batching
from regard.core.errors import InputError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import per_axis, space, windows
from regard.explainers.knobs import real, sizes
from regard.explainers.perturbation.copies import Copies, value_of
from regard.explainers.perturbation.fillers import Filler, FillerLike, ring_mean
from regard.explainers.reference import value_at

__all__ = ["Occlusion"]


class Occlusion(AbstractExplainer):
    """Change of the output when a window is hidden: f(x) - f(hidden), in output units.

    A voxel gets the mean over the windows that cover it, and every voxel is covered. All channels of an input are
    hidden together; of several inputs one at a time. With a reference, windows are filled from it.

    Parameters
    ----------
    network
        Any callable; no gradient is needed.
    window
        Voxels along each axis, one number or one per axis; by default an eighth of each axis.
    stride
        Voxels from one window to the next, at most the window; by default half of it.
    filler
        ``"blur"``, ``"mean"``, ``"noise"``, ``"neighbour"`` (the ring around the window), ``"reference"``, or a number
        in the network's input units.
    sigma
        Width in voxels of the blur that fills; by default half the window.
    form
        Both forms are the same.

    Raises
    ------
    InputError
        If a knob is out of its range, or the stride would leave gaps.

    Notes
    -----
    Zeiler and Fergus 2014 (arXiv 1311.2901), section 4.2, with the sign kept and the filler stated.
    """

    quantity = Quantity.EFFECT
    sign = Sign.RAISED
    needs = frozenset()
    takes_reference = True
    breaks = {Promise.COMPLETE: "windows overlap and their effects interact, so that they do not add up to the output"}

    def __init__(
        self,
        network: Network,
        *,
        window: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        filler: FillerLike = "blur",
        sigma: float | None = None,
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        self.window = None if window is None else sizes("window", window)
        self.stride = None if stride is None else sizes("stride", stride)
        self.sigma = None if sigma is None else real("sigma", sigma, 0)
        self.filler = Filler(filler).kind

    def _attribute(self, query: Query) -> Attribution:
        value = value_of(query)
        filler = Filler(self.filler, self.sigma)
        found = [self._map(query, which, float(value.double()), filler) for which in range(len(query.inputs.tensors))]
        return Attribution(
            tuple(relevance for relevance, _ in found),
            value,
            reference_value=None if query.reference is None else value_at(query, query.reference),
            notes={"filler": filler.words(query), "n_windows": sum(n for _, n in found)},
        )

    def boxes(self, size: Sequence[int]) -> tuple[list[tuple[slice, ...]], tuple[int, ...]]:
        """The windows of an image of ``size``, and their size.

        Raises
        ------
        InputError
            If the stride is longer than the window, which would leave voxels uncovered.
        """
        if not size:
            return [()], ()
        window = tuple(max(1, n // 8) for n in size) if self.window is None else per_axis(self.window, size, "window")
        wanted = tuple(max(1, w // 2) for w in window) if self.stride is None else per_axis(self.stride, size, "stride")
        asked = [self.window] * len(size) if isinstance(self.window, int) else self.window or window
        if any(s > a for s, a in zip(wanted, asked, strict=True)):
            raise InputError(
                f"stride={self.stride} for windows of {window}", "at most the window", "take shorter steps"
            )
        return list(windows(size, window, [min(s, w) for s, w in zip(wanted, window, strict=True)])), window

    def _map(self, query: Query, which: int, value: float, filler: Filler) -> tuple[Tensor, int]:
        x = query.inputs.tensors[which]
        boxes, window = self.boxes(space(x))
        filling = None if filler.depends_on_place(query) else filler.image(query, which, window)
        total = torch.zeros(space(x), dtype=torch.float64, device=x.device)
        count = torch.zeros_like(total)
        copies = Copies(query)

        def evaluate(items: range) -> Tensor:
            buffer = copies.of(len(items))[which]
            try:
                for n, item in enumerate(items):
                    place = (slice(None), *boxes[item])
                    buffer[n][place] = ring_mean(x, boxes[item]) if filling is None else filling[0][place]
                return copies.score()
            finally:
                for n, item in enumerate(items):
                    place = (slice(None), *boxes[item])
                    buffer[n][place] = x[0][place]

        def add(items: range, values: Tensor) -> None:
            for item, hidden in zip(items, values.tolist(), strict=True):
                total[boxes[item]] += value - hidden
                count[boxes[item]] += 1

        batching.run(evaluate, len(boxes), add, batch_size=query.items_at_once(len(boxes)), label="occlusion")
        return (total / count)[None, None], len(boxes)
