"""What hiding a window does to the output."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from regard.core import batching
from regard.core.errors import CapabilityError, InputError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import per_axis, space, windows
from regard.explainers.knobs import real, sizes
from regard.explainers.perturbation.copies import Copies, value_of
from regard.explainers.perturbation.fillers import Filler, FillerLike, ring_mean
from regard.explainers.perturbation.incremental import Engine, Incremental, prepare
from regard.explainers.reference import value_at

__all__ = ["Occlusion"]

logger = logging.getLogger(__name__)

Box: TypeAlias = tuple[slice, ...]
Scores: TypeAlias = Callable[[Sequence[int]], Tensor]


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
    incremental
        ``"auto"``: compute only what a window changes, where the network can be traced and that saves operations;
        ``"always"``: so, or an error; ``"never"``: the whole network for every window. The map is the same.
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
        incremental: Incremental = "auto",
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        if incremental not in ("auto", "always", "never"):
            raise InputError(f"incremental={incremental!r}", "auto, always or never", "choose one")
        self.incremental = incremental
        self.window = None if window is None else sizes("window", window)
        self.stride = None if stride is None else sizes("stride", stride)
        self.sigma = None if sigma is None else real("sigma", sigma, 0)
        self.filler = Filler(filler).kind

    def _attribute(self, query: Query) -> Attribution:
        value = value_of(query)
        filler = Filler(self.filler, self.sigma)
        notes: dict[str, Any] = {"filler": filler.words(query), "n_windows": 0}
        found = float(value.double())
        maps = [self._map(query, which, found, filler, notes) for which in range(len(query.inputs.tensors))]
        return Attribution(
            tuple(maps),
            value,
            reference_value=None if query.reference is None else value_at(query, query.reference),
            notes=notes,
        )

    def boxes(self, size: Sequence[int]) -> tuple[list[Box], tuple[int, ...]]:
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

    def _map(self, query: Query, which: int, value: float, filler: Filler, notes: dict[str, Any]) -> Tensor:
        x = query.inputs.tensors[which]
        boxes, window = self.boxes(space(x))
        filling = None if filler.depends_on_place(query) else filler.image(query, which, window)

        def hidden(box: Box) -> Tensor:
            place = x[0][(slice(None), *box)]
            return ring_mean(x, box).expand_as(place) if filling is None else filling[0][(slice(None), *box)]

        # Where the filling is what is there already, hiding changes nothing: the effect is 0, not a rounding error.
        changing = [box for box in boxes if not torch.equal(hidden(box), x[0][(slice(None), *box)])]
        notes["n_windows"] += len(boxes)
        scores = _whole_network(query, which, changing, hidden)
        order, batch_size = list(range(len(changing))), query.items_at_once(len(changing))
        engine = prepare(query, changing, self.incremental, value) if changing else None
        if engine is not None:
            partial = _incrementally(query, engine, changing, hidden)
            first = engine.order[:1]
            if self._agree(float(partial(first)), float(scores(first)), value, x.dtype):
                scores, order, batch_size = partial, engine.order, engine.batch_size
                notes["operations"] = round(engine.operations, 2)
        total = torch.zeros(space(x), dtype=torch.float64, device=x.device)
        count = torch.zeros_like(total)
        for box in boxes:
            count[box] += 1

        def add(items: range, values: Tensor) -> None:
            for item, score in zip(items, values.tolist(), strict=True):
                total[changing[order[item]]] += value - score

        def evaluate(items: range) -> Tensor:
            return scores(order[items.start : items.stop])

        batching.run(evaluate, len(order), add, batch_size=batch_size, label="occlusion")
        return (total / count)[None, None]

    def _agree(self, partial: float, whole: float, value: float, dtype: torch.dtype) -> bool:
        """Whether the first window has the same effect when the whole network is run."""
        allowed = 0.01 * abs(whole - value) + 1000 * torch.finfo(dtype).eps * max(abs(whole), abs(value))
        if not abs(partial - whole) > allowed:
            return True
        message = f"incremental occlusion gives {partial:.6g} for a window where the network gives {whole:.6g}"
        if self.incremental == "always":
            raise CapabilityError(message, "the same", "choose incremental='auto', which runs the whole network")
        logger.warning("%s; the whole network is run for every window", message)
        return False


def _whole_network(query: Query, which: int, boxes: Sequence[Box], hidden: Callable[[Box], Tensor]) -> Scores:
    """The target's value (window,) for windows by number, each a copy of the input that is written over."""
    x = query.inputs.tensors[which]
    copies = Copies(query)

    def scores(items: Sequence[int]) -> Tensor:
        buffer = copies.of(len(items))[which]
        places = [(slice(None), *boxes[item]) for item in items]
        try:
            for n, item in enumerate(items):
                buffer[n][places[n]] = hidden(boxes[item])
            return copies.score()
        finally:
            for n, place in enumerate(places):
                buffer[n][place] = x[0][place]

    return scores


def _incrementally(query: Query, engine: Engine, boxes: Sequence[Box], hidden: Callable[[Box], Tensor]) -> Scores:
    """The same, from what each window changes."""

    @torch.no_grad()
    def scores(items: Sequence[int]) -> Tensor:
        patches = torch.stack([hidden(boxes[item]) for item in items])
        return query.value(engine.run(items, patches)).detach().double()

    return scores
