"""What hiding a window does to the output."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from regard.core import batching
from regard.core.errors import CapabilityError, InputError
from regard.core.explainer import AbstractExplainer, Attribution, Form, Query, Removal
from regard.core.quantity import Promise, Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import per_axis, space, windows
from regard.explainers.knobs import real, sizes_or_time, whole
from regard.explainers.perturbation.copies import Copies, nearby, value_of
from regard.explainers.perturbation.fillers import Filler, FillerLike, known, nothing_known
from regard.explainers.perturbation.incremental import Engine, Incremental, prepare
from regard.explainers.perturbation.segments import equal_blocks
from regard.explainers.reference import value_at, whole_reference

__all__ = ["Occlusion", "box_effects"]

logger = logging.getLogger(__name__)

Box: TypeAlias = tuple[slice, ...]
Scores: TypeAlias = Callable[[Sequence[int]], Tensor]


class Occlusion(AbstractExplainer):
    """Change of the output when a window is hidden: f(x) - f(hidden), in output units.

    A voxel gets the mean over the windows that cover it, and every voxel is covered. All channels of an input are
    hidden together; of several inputs one at a time. With a reference, windows are filled from it unless a filler is
    named.

    With a mask, only windows that touch it are evaluated, such as those that hold no air alone: inside it the map is
    what it is without a mask, outside it is NaN. From coarse to fine (``coarse`` above 1), wide windows come first, and
    windows of the wanted size only where a wide one's effect is large. Voxels all of whose windows were evaluated are
    ``refined`` and hold what they hold otherwise; the others hold the wide window's effect, shared evenly among the
    windows that it would hold. Opposite effects within a wide window may cancel and stay unseen.

    Parameters
    ----------
    network
        Any callable; no gradient is needed.
    window
        Voxels along each axis, one number or one per axis; by default an eighth of each axis. Of a signal a time too,
        such as ``"0.1s"`` or ``"100ms"``.
    stride
        Voxels (or a time) from one window to the next, at most the window; by default half of it.
    filler
        ``"blur"``, ``"mean"``, ``"noise"``, ``"neighbour"`` (the ring around the window), ``"line"`` (of a signal,
        straight from before the window to behind it), ``"reference"``, or a number in the network's input units;
        ``"auto"``: the reference where one is given, else ``"blur"``.
    sigma
        Width in voxels of the blur that fills; by default half the window.
    coarse
        How many times as wide as the window the first windows are; 1 for no such look.
    refine
        Where a wide window's effect is at least this share of the largest, the place is refined; 0 refines everything.
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
    takes_mask = True
    without_space = "each feature is hidden by itself, filled from a reference or with a number; else NaN"
    breaks = {Promise.COMPLETE: "windows overlap and their effects interact, so that they do not add up to the output"}

    def __init__(
        self,
        network: Network,
        *,
        window: int | str | Sequence[int] | None = None,
        stride: int | str | Sequence[int] | None = None,
        filler: FillerLike = "auto",
        sigma: float | None = None,
        coarse: int = 1,
        refine: float = 0.1,
        incremental: Incremental = "auto",
        form: Form = "signed",
    ) -> None:
        super().__init__(network, form=form)
        if incremental not in ("auto", "always", "never"):
            raise InputError(f"incremental={incremental!r}", "auto, always or never", "choose one")
        self.incremental = incremental
        self.window = None if window is None else sizes_or_time("window", window)
        self.stride = None if stride is None else sizes_or_time("stride", stride)
        self.sigma = None if sigma is None else real("sigma", sigma, 0)
        self.coarse = whole("coarse", coarse)
        self.refine = real("refine", refine, 0, 1, open_low=False)
        self.filler = Filler(filler).kind

    def _attribute(self, query: Query) -> Attribution:
        value = value_of(query)
        query = nearby(query)
        filler = Filler(self.filler, self.sigma)
        notes: dict[str, Any] = {"filler": filler.words(query), "n_windows": 0}
        found, warnings = float(value.double()), list[str]()
        looks = []
        for which in range(len(query.inputs.tensors)):
            look, sentences = self._look(query, which, found, filler, notes)
            looks.append(look)
            warnings += sentences
        reference = whole_reference(query)
        return Attribution(
            tuple(relevance for relevance, _ in looks),
            value,
            reference_value=None if reference is None else value_at(query, reference),
            notes=notes,
            refined=None if self.coarse == 1 else tuple(refined for _, refined in looks),
            warnings=warnings,
        )

    def removal(self, query: Query) -> Removal:
        windows_of = [self.boxes(space(x))[1] for x in query.inputs.tensors]
        cut = [equal_blocks(space(x), w) for x, w in zip(query.inputs.tensors, windows_of, strict=True)]
        return Filler(self.filler, self.sigma).removal(query, cut, windows_of)

    def _look(
        self, query: Query, which: int, value: float, filler: Filler, notes: dict[str, Any]
    ) -> tuple[tuple[Tensor, Tensor], list[str]]:
        """Map of one input and where it is refined, and what a reader must know of them."""
        x = query.inputs.tensors[which]
        undefined = filler.undefined(query, which)
        everywhere = torch.ones_like(x[:, :1], dtype=torch.bool)
        if undefined is not None:
            return (nothing_known(x), everywhere), [undefined]
        _, window = self.boxes(space(x))
        filling = None if filler.depends_on_place(query, which) else filler.image(query, which, window)
        same, sentences = filler.unchanged(query, which, filling)
        if bool(same.all()):
            return (nothing_known(x), everywhere), sentences
        if space(x) or filling is None:
            return self._map(query, which, value, filler, notes), sentences
        effects = known(feature_effects(query, which, filling, value), x, same)
        notes["n_windows"] += x.shape[1]
        seen = everywhere if query.mask is None else query.mask[which]
        return (torch.where(seen, effects, torch.nan), seen), sentences

    def boxes(self, size: Sequence[int]) -> tuple[list[Box], tuple[int, ...]]:
        """The windows of an image of ``size``, and their size.

        Raises
        ------
        InputError
            If the stride is longer than the window, which would leave voxels uncovered.
        """
        if not size:
            return [()], ()
        if isinstance(self.window, str) or isinstance(self.stride, str):
            got = f"window={self.window}, stride={self.stride} where no rate is known"
            raise InputError(got, "voxels, or a time for a signal in regard.explain", "give numbers of samples")
        window = tuple(max(1, n // 8) for n in size) if self.window is None else per_axis(self.window, size, "window")
        wanted = tuple(max(1, w // 2) for w in window) if self.stride is None else per_axis(self.stride, size, "stride")
        asked = [self.window] * len(size) if isinstance(self.window, int) else self.window or window
        if any(s > a for s, a in zip(wanted, asked, strict=True)):
            raise InputError(
                f"stride={self.stride} for windows of {window}", "at most the window", "take shorter steps"
            )
        return list(windows(size, window, [min(s, w) for s, w in zip(wanted, window, strict=True)])), window

    def _map(
        self, query: Query, which: int, value: float, filler: Filler, notes: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """Map of one input and where it is refined, each (1, 1, \\*space)."""
        x = query.inputs.tensors[which]
        mask = None if query.mask is None else query.mask[which][0, 0]
        everywhere, window = self.boxes(space(x))
        boxes = _touching(everywhere, mask)
        seen = Cover(x) if self.coarse > 1 else None
        if seen is not None and space(x):
            wide = tuple(min(n, self.coarse * w) for n, w in zip(space(x), window, strict=True))
            first = _touching(list(windows(space(x), wide, wide)), mask)
            effects = self._effects(query, which, first, wide, value, filler, notes)
            share = math.prod(window) / math.prod(wide)
            seen.add(first, [share * effect for effect in effects])
            least = self.refine * max(map(abs, effects))
            large = torch.zeros(space(x), dtype=torch.bool)
            for box, effect in zip(first, effects, strict=True):
                if abs(effect) >= least:
                    large[box] = True
            boxes = [box for box in boxes if bool(large[box].any())]
        effects = self._effects(query, which, boxes, window, value, filler, notes)
        fine = Cover(x)
        fine.add(boxes, effects)
        # Without coarser windows every place that is covered at all is covered by all of its windows.
        whole = seen is None and mask is None
        refined = fine.count > 0 if whole else fine.count == Cover.counts(everywhere, x)
        relevance = fine.means() if seen is None else torch.where(refined, fine.means(), seen.means())
        if mask is not None:
            relevance = torch.where(mask, relevance, torch.nan)
            refined = refined & mask
            notes["mask"] = "windows that do not touch it were not evaluated"
        if self.coarse > 1:
            notes["refined"] = round(float(refined.double().mean()), 4)
        return relevance[None, None], refined[None, None]

    def _effects(
        self,
        query: Query,
        which: int,
        boxes: Sequence[Box],
        window: Sequence[int],
        value: float,
        filler: Filler,
        notes: dict[str, Any],
    ) -> list[float]:
        """What hiding each of the windows ``boxes``, all of size ``window``, does."""
        filling = None if filler.depends_on_place(query, which) else filler.image(query, which, window)

        def hidden(box: Box) -> Tensor:
            return filler.around(query, which, box) if filling is None else filling[0][(slice(None), *box)]

        notes["n_windows"] += len(boxes)
        effects, operations = box_effects(query, which, boxes, hidden, value, incremental=self.incremental)
        if operations is not None:
            notes["operations"] = round(operations, 2)
        return effects


def box_effects(
    query: Query,
    which: int,
    boxes: Sequence[Box],
    hidden: Callable[[Box], Tensor],
    value: float,
    *,
    incremental: Incremental = "auto",
) -> tuple[list[float], float | None]:
    """What hiding each box of an input does, f(x) - f(x without it): computed anew only where a box changes something.

    Parameters
    ----------
    query
        Network, inputs and target.
    which
        Number of the input.
    boxes
        Of one size each.
    hidden
        What stands in a box, (channel, \\*box).
    value
        f(x).
    incremental
        As `Occlusion`.

    Returns
    -------
    list of float
        One for each box.
    float or None
        Operations of the whole network for each operation that was done; None where the whole network was run.
    """
    x = query.inputs.tensors[which]
    # Where the filling is what is there already, hiding changes nothing: the effect is 0, not a rounding error.
    numbers = [n for n, box in enumerate(boxes) if not torch.equal(hidden(box), x[0][(slice(None), *box)])]
    changing = [boxes[n] for n in numbers]
    scores = _whole_network(query, which, changing, hidden)
    order, batch_size, operations = list(range(len(changing))), query.items_at_once(len(changing)), None
    engine = prepare(query, changing, incremental, value) if changing else None
    if engine is not None:
        partial = _incrementally(query, engine, changing, hidden)
        first = engine.order[:1]
        if _agree(float(partial(first)), float(scores(first)), value, x.dtype, must=incremental == "always"):
            scores, order, batch_size, operations = partial, engine.order, engine.batch_size, engine.operations
    effects = [0.0] * len(boxes)

    def add(items: range, values: Tensor) -> None:
        for item, score in zip(items, values.tolist(), strict=True):
            effects[numbers[order[item]]] = value - score

    def evaluate(items: range) -> Tensor:
        return scores(order[items.start : items.stop])

    batching.run(evaluate, len(order), add, batch_size=batch_size, label="occlusion")
    return effects, operations


def _agree(partial: float, whole: float, value: float, dtype: torch.dtype, *, must: bool) -> bool:
    """Whether the first window has the same effect when the whole network is run."""
    allowed = 0.01 * abs(whole - value) + 1000 * torch.finfo(dtype).eps * max(abs(whole), abs(value))
    if not abs(partial - whole) > allowed:
        return True
    message = f"incremental occlusion gives {partial:.6g} for a window where the network gives {whole:.6g}"
    if must:
        raise CapabilityError(message, "the same", "choose incremental='auto', which runs the whole network")
    logger.warning("%s; the whole network is run for every window", message)
    return False


class Cover:
    """Mean at each place of the effects of the windows that cover it.

    Parameters
    ----------
    x
        Input (1, channel, \\*space) whose places are covered.
    """

    def __init__(self, x: Tensor) -> None:
        self.total = torch.zeros(space(x), dtype=torch.float64, device=x.device)
        self.count = torch.zeros(space(x), dtype=torch.int32, device=x.device)

    def add(self, boxes: Sequence[Box], effects: Sequence[float]) -> None:
        """Take in windows and what hiding them did."""
        for box, effect in zip(boxes, effects, strict=True):
            self.total[box] += effect
            self.count[box] += 1

    @classmethod
    def counts(cls, boxes: Sequence[Box], x: Tensor) -> Tensor:
        """How many windows cover each place, (\\*space)."""
        cover = cls(x)
        cover.add(boxes, [0.0] * len(boxes))
        return cover.count

    def means(self) -> Tensor:
        """Mean effect (\\*space); 0 where nothing covers. In place of the totals, which are of no use afterwards."""
        for part in range(len(self.total)) if self.total.ndim else ():
            self.total[part] /= self.count[part].clamp(min=1)
        mean = self.total if self.total.ndim else self.total / self.count.clamp(min=1)
        self.total = self.count = torch.empty(0)
        return mean


def feature_effects(query: Query, which: int, filling: Tensor, value: float) -> Tensor:
    """What filling each feature alone does, f(x) - f(filled), (1, feature), for an input without space."""
    x = query.inputs.tensors[which]
    copies, effects = Copies(query), torch.zeros(x.shape, dtype=torch.float64, device=x.device)

    def evaluate(items: range) -> Tensor:
        buffer = copies.of(len(items))[which]
        for n, feature in enumerate(items):
            buffer[n] = x[0]
            buffer[n, feature] = filling[0, feature]
        return copies.score()

    def add(items: range, scores: Tensor) -> None:
        effects[0, items.start : items.stop] = value - scores

    batching.run(evaluate, x.shape[1], add, batch_size=query.items_at_once(x.shape[1]), label="occlusion")
    return effects


def _touching(boxes: list[Box], mask: Tensor | None) -> list[Box]:
    return boxes if mask is None else [box for box in boxes if bool(mask[box].any())]


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
        return query.value(engine.run(items, patches), len(items)).detach().double()

    return scores
