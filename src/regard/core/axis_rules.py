"""What operations do to the axes of tensors (`regard.core.axes`): a rule for each that moves, joins or mixes them.

An operation without a rule keeps the axes of an argument whose shape its result has, and loses them otherwise: what is
not known is never guessed.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from regard.core.axes import FEATURE, UNKNOWN, Axes, Axis, merged, place, regrouped, resized

__all__ = ["axes_after"]

Labelled: TypeAlias = Sequence[tuple[Tensor, Axes | None]]
"""The tensors that an operation was given, each with its axes."""


def axes_after(
    name: str, args: Any, kwargs: Any, given: Labelled, out: object, results: Sequence[Tensor]
) -> list[Axes | None]:
    """Axes of each of the ``results`` of the operation ``name``, given ``args``, that returned ``out``."""
    first = given[0][1]
    rule = _RULES.get(name)
    if name in _LOST or name.startswith(("fft", "rfft", "ifft", "irfft")):
        return [None] * len(results)
    if rule is None:
        return [_kept(given, r) for r in results]
    if rule in (_weighted, _resampled, _moved, _regrouped, _reduced, _indexed, _pieces) and first is None:
        return [None] * len(results)
    try:
        found = rule(name, args, kwargs, given, results)
    except (IndexError, TypeError, ValueError, AttributeError, KeyError):
        return [None] * len(results)
    checked = [a if a is not None and len(a) == r.ndim else None for a, r in zip(found, results, strict=False)]
    return checked + [None] * (len(results) - len(checked))


def _kept(given: Labelled, result: Tensor) -> Axes | None:
    """Axes of the arguments of the result's shape, or of one that was broadcast to it."""
    found: Axes | None = None
    for t, axes in given:
        if axes is not None and t.shape == result.shape:
            found = axes if found is None else merged(found, axes)
    if found is not None:
        return found
    for t, axes in given:
        if axes is not None and t.ndim == result.ndim:
            return tuple(a if t.shape[n] == result.shape[n] else UNKNOWN for n, a in enumerate(axes))
    return None


def _weighted(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Convolutions, which make new features of axis 1, and linear layers, which make them of the last."""
    (x, axes), r = given[0], results[0]
    assert axes is not None
    if name == "linear":
        last = axes[-1]
        # What lies inside a patch becomes features; what reaches over the image is mixed.
        inside = last is not None and not last.before and not last.after and not any(f.covers for f in last.factors)
        new = FEATURE(r.shape[-1]) if inside else UNKNOWN
        return [(*axes[:-1], new)]
    n = int(name.rstrip("d")[-1])
    head = x.ndim - n
    space = tuple(resized(a, s) for a, s in zip(axes[head:], r.shape[head:], strict=True))
    return [(*axes[: head - 1], FEATURE(r.shape[head - 1]), *space)]


def _resampled(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Pooling, interpolation, padding: some axes get another size."""
    (x, axes) = given[0]
    assert axes is not None
    return [
        tuple(a if s == o else resized(a, s) for a, s, o in zip(axes, r.shape, x.shape, strict=True)) for r in results
    ]


def _moved(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Axes in another order."""
    axes = given[0][1]
    assert axes is not None
    n = len(axes)
    order = list(range(n))
    if name in ("get mT", "get mH", "adjoint"):
        order[-2:] = [n - 1, n - 2]
    elif name in ("get T", "get H", "t"):
        order.reverse()
    elif name == "permute":
        dims = kwargs.get("dims", args[1] if len(args) == 2 else args[1:])
        order = [d % n for d in dims]
    elif name == "transpose":
        a = kwargs.get("dim0", kwargs.get("axis0", args[1] if len(args) > 1 else None))
        b = kwargs.get("dim1", kwargs.get("axis1", args[2] if len(args) > 2 else None))
        order[a % n], order[b % n] = order[b % n], order[a % n]
    else:
        source = kwargs.get("source", args[1] if len(args) > 1 else None)
        target = kwargs.get("destination", args[2] if len(args) > 2 else None)
        sources = [s % n for s in (source if isinstance(source, (tuple, list)) else [source])]
        targets = [t % n for t in (target if isinstance(target, (tuple, list)) else [target])]
        left = iter(d for d in range(n) if d not in sources)
        order = [sources[targets.index(d)] if d in targets else next(left) for d in range(n)]
    return [tuple(axes[d] for d in order)]


def _regrouped(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """The same numbers in the same order, as another shape."""
    x, axes = given[0]
    assert axes is not None
    r = results[0]
    if name == "unsqueeze":
        d = kwargs.get("dim", args[1] if len(args) > 1 else None) % r.ndim
        return [(*axes[:d], Axis(()), *axes[d:])]
    if name == "squeeze":
        dims = kwargs.get("dim", args[1] if len(args) > 1 else range(x.ndim))
        gone = {d % x.ndim for d in (dims if isinstance(dims, (tuple, list, range)) else [dims])}
        return [tuple(a for d, a in enumerate(axes) if not (d in gone and x.shape[d] == 1))]
    return [regrouped(axes, x.shape, r.shape)]


def _reduced(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Means, sums and the like over some axes."""
    x, axes = given[0]
    assert axes is not None
    dims = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    if not isinstance(dims, (int, tuple, list)) or isinstance(dims, bool):
        return [_kept(given, r) for r in results]
    gone = {d % x.ndim for d in (dims if isinstance(dims, (tuple, list)) else [dims])}
    kept = results[0].ndim == x.ndim
    after = tuple(Axis(()) if d in gone else a for d, a in enumerate(axes) if kept or d not in gone)
    return [after for _ in results]


def _cut(axis: Axis | None, size: int, start: int, stop: int, step: int = 1) -> Axis | None:
    """An axis of ``size`` from ``start`` to ``stop``."""
    if axis is None or (start, stop, step) == (0, size, 1):
        return axis
    n = len(range(start, stop, step))
    if not axis.has_places:
        return Axis(()) if n == 1 else resized(axis, n) if axis.factors and axis.factors[0].kind == "feature" else None
    if step == 1 and start <= axis.before and stop >= size - axis.after:
        return Axis(axis.factors, axis.before - start, axis.after - (size - stop))
    if step == 1 and (stop <= axis.before or start >= size - axis.after):
        return Axis(())
    whole = axis.whole
    # Every second place, as in patch merging, and a border cut off; never a half.
    if whole is not None and step > 0 and start < max(step, 0.05 * size + 1) and stop > 0.95 * size - step:
        return Axis((place(n, whole.along, whole.among),))
    return UNKNOWN


def _indexed(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Slices and single entries of axes."""
    x, axes = given[0]
    assert axes is not None
    if name == "select":
        d = kwargs.get("dim", args[1] if len(args) > 1 else None) % x.ndim
        return [tuple(a for n, a in enumerate(axes) if n != d)]
    if name == "narrow":
        d, start, length = (kwargs.get(k, args[n] if len(args) > n else None) for n, k in
                            ((1, "dim"), (2, "start"), (3, "length")))  # fmt: skip
        d %= x.ndim
        return [tuple(_cut(a, x.shape[n], start, start + length) if n == d else a for n, a in enumerate(axes))]
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    if any(isinstance(i, (Tensor, list)) for i in index):
        return [None]
    n_given = sum(i is not None and i is not Ellipsis for i in index)
    fill = [slice(None)] * (x.ndim - n_given)
    at = next((n for n, i in enumerate(index) if i is Ellipsis), len(index))
    found: list[Axis | None] = []
    d = 0
    for i in (*index[:at], *fill, *index[at + 1 :]):
        if i is None:
            found.append(Axis(()))
            continue
        if isinstance(i, slice):
            found.append(_cut(axes[d], x.shape[d], *i.indices(x.shape[d])))
        d += 1
    return [tuple(found)]


def _pieces(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """A tensor in pieces along one axis."""
    x, axes = given[0]
    assert axes is not None
    at = 1 if name == "unbind" else 2
    d = kwargs.get("dim", args[at] if len(args) > at else 0) % x.ndim
    if name == "unbind":
        return [tuple(a for n, a in enumerate(axes) if n != d)] * len(results)
    found: list[Axes | None] = []
    start = 0
    for r in results:
        stop = start + r.shape[d]
        found.append(tuple(_cut(a, x.shape[d], start, stop) if n == d else a for n, a in enumerate(axes)))
        start = stop
    return found


def _joined(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Tensors joined along an axis; what is joined to places and is none, such as a class token, is counted."""
    parts = kwargs.get("tensors", args[0] if args else None)
    d = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0)) % results[0].ndim
    known = {id(t): a for t, a in given if a is not None}
    laid: list[Axes | None] = [known.get(id(t)) for t in parts]
    rest: Axes | None = None
    for axes in laid:
        if axes is not None:
            rest = axes if rest is None else merged(rest, axes)
    assert rest is not None
    with_places = [n for n, a in enumerate(laid) if a is not None and a[d] is not None and a[d].has_places]  # type: ignore[union-attr]
    sizes = [int(t.shape[d]) for t in parts]
    joined: Axis | None = UNKNOWN
    if not with_places:
        told = [a[d] for a in laid if a is not None and a[d] is not None]
        features = all(t is not None and all(f.kind == "feature" for f in t.factors) for t in told)
        joined = FEATURE(sum(sizes)) if told and features else UNKNOWN
    elif len(with_places) == 1:
        one = laid[with_places[0]]
        axis = None if one is None else one[d]
        unclear = any(a is not None and a[d] is None for n, a in enumerate(laid) if n != with_places[0])
        if axis is not None and not unclear:
            before, after = sum(sizes[: with_places[0]]), sum(sizes[with_places[0] + 1 :])
            joined = Axis(axis.factors, axis.before + before, axis.after + after)
    return [(*rest[:d], joined, *rest[d + 1 :])]


def _stacked(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Tensors laid beside each other along a new axis, which is none of the input's."""
    d = kwargs.get("dim", args[1] if len(args) > 1 else 0) % results[0].ndim
    rest = _kept(given, given[0][0])
    return [None if rest is None else (*rest[:d], UNKNOWN, *rest[d:])]


def _multiplied(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Products of matrices: rows of the first, columns of the second."""
    pair = given[-2:] if name == "baddbmm" else given[:2]
    r = results[0]
    sides = [(t, a if a is not None else (UNKNOWN,) * t.ndim) for t, a in pair]
    (a, first), (b, second) = sides
    if a.ndim < 2 or b.ndim < 2:
        return [None]
    lead: Axes = (UNKNOWN,) * (r.ndim - 2)
    for t, axes in sides:
        if t.shape[:-2] == r.shape[:-2]:
            lead = merged(lead, axes[:-2])
    return [(*lead, first[-2], second[-1])]


def _summed(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Einstein's sums, by their letters."""
    left, _, right = str(args[0]).replace(" ", "").partition("->")
    if "." in left or not right:
        return [None]
    letters: dict[str, Axis | None] = {}
    for word, (_, axes) in zip(left.split(","), given, strict=True):
        for letter, axis in zip(word, axes or (UNKNOWN,) * len(word), strict=True):
            letters[letter] = letters.get(letter) or axis
    return [tuple(letters[letter] for letter in right)]


def _attended(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Attention: a row for each query, and features."""
    x, axes = given[0]
    if axes is None:
        return [None] * len(results)
    return [axes if r.ndim == x.ndim and r.shape[:-1] == x.shape[:-1] else None for r in results]


def _recurrent(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Recurrent layers: a step for each step, and features; not their last states."""
    x, axes = given[0]
    if axes is None or x.ndim != results[0].ndim or results[0].shape[:-1] != x.shape[:-1]:
        return [None] * len(results)
    return [(*axes[:-1], FEATURE(results[0].shape[-1])), *([None] * (len(results) - 1))]


def _unfolded(name: str, args: Any, kwargs: Any, given: Labelled, results: Sequence[Tensor]) -> list[Axes | None]:
    """Windows along one axis (`Tensor.unfold`)."""
    x, axes = given[0]
    if axes is None or results[0].ndim != x.ndim + 1:
        return [None]
    d = kwargs.get("dimension", args[1] if len(args) > 1 else None) % x.ndim
    size = results[0].shape[-1]
    windows = tuple(resized(a, results[0].shape[d]) if n == d else a for n, a in enumerate(axes))
    return [(*windows, FEATURE(size))]


_Rule: TypeAlias = Callable[[str, Any, Any, Labelled, Sequence[Tensor]], list[Axes | None]]


def _table(*pairs: tuple[_Rule, str]) -> dict[str, _Rule]:
    return {name: rule for rule, names in pairs for name in names.split()}


_RULES = _table(
    (_weighted, "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear"),
    (
        _resampled,
        (
            "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d"
            " adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool1d lp_pool2d"
            " max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices"
            " interpolate upsample pad pixel_shuffle pixel_unshuffle"
        ),
    ),
    (_moved, "permute transpose movedim t adjoint"),
    (_regrouped, "reshape view flatten unflatten ravel squeeze unsqueeze view_as reshape_as"),
    (_reduced, "mean sum amax amin max min std var logsumexp prod median argmax"),
    (_indexed, "getitem select narrow"),
    (_pieces, "split chunk unbind tensor_split split_with_sizes"),
    (_joined, "cat"),
    (_stacked, "stack"),
    (_multiplied, "matmul bmm baddbmm"),
    (_summed, "einsum"),
    (_attended, "scaled_dot_product_attention multi_head_attention_forward"),
    (_recurrent, "lstm gru rnn_tanh rnn_relu"),
    (_unfolded, "unfold"),
)
for _property in ("get T", "get H", "get mT", "get mH"):
    _RULES[_property] = _moved

_LOST = frozenset(
    (
        "flip", "fliplr", "flipud", "rot90", "sort", "argsort", "gather", "index_select", "take", "take_along_dim",
        "topk", "scatter", "scatter_add", "bilinear", "grid_sample", "fold", "cdist", "diag", "diagonal", "triu",
        "tril", "index_put", "embedding",
    )
)  # fmt: skip
"""After these a place is somewhere else, or in no known place."""
