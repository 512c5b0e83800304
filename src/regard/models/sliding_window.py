"""A network that sees one window at a time, as one network on the whole image: answers, gradients and perturbations.

Large volumes are segmented and restored window by window, and what windows say is blended where they overlap (nnU-Net's
way). Wrapped like this, a target may lie anywhere in the stitched output, and is explained through the overlap.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from regard.core.errors import InputError, ShapeError
from regard.core.recording import Network, capabilities
from regard.core.rows import rows_of
from regard.core.spatial import per_axis, space

__all__ = ["Blend", "SlidingWindow"]

Blend: TypeAlias = Literal["gaussian", "constant"]
"""How windows are weighted where they overlap: by a Gaussian around their centre, or alike."""

Box: TypeAlias = tuple[slice, ...]


class SlidingWindow(nn.Module):
    """Runs a network on windows of an image and blends what they give, as one differentiable network.

    The gradient of any target needs the memory of one window: each runs again when its gradient is asked for, and those
    that the target does not depend on are passed over. Methods that hide a place run only the windows that hold it
    (`around`). Layers run once for each window, so that class activation maps need an image of one window.

    Parameters
    ----------
    network
        Takes windows (batch, channel, \\*window) and gives an image of the same size, (batch, any, \\*window).
    roi
        Size of a window, one number or one per axis.
    overlap
        Share of a window that the next one covers too, 0 to below 1.
    blend
        See `Blend`.
    windows_at_once
        Windows in a batch.

    Raises
    ------
    InputError
        If a setting is out of its range.

    Notes
    -----
    Places, weights and padding are those of ``monai.inferers.sliding_window_inference``. Isensee et al., Nature Methods
    18, 2021 (nnU-Net), for windows of half overlap and Gaussian weights.
    """

    def __init__(
        self,
        network: Network,
        roi: int | Sequence[int],
        *,
        overlap: float = 0.5,
        blend: Blend = "gaussian",
        windows_at_once: int = 1,
    ) -> None:
        super().__init__()
        sizes = (roi,) if isinstance(roi, int) else tuple(roi)
        if not sizes or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in sizes):
            raise InputError(f"roi={roi!r}", "whole numbers of at least 1, one per axis")
        if not 0 <= overlap < 1:
            raise InputError(f"overlap={overlap!r}", "a share from 0 to below 1")
        if blend not in ("gaussian", "constant"):
            raise InputError(f"blend={blend!r}", "gaussian or constant")
        if isinstance(windows_at_once, bool) or windows_at_once < 1:
            raise InputError(f"windows_at_once={windows_at_once!r}", "at least 1")
        self.network = network
        self.roi = roi if isinstance(roi, int) else sizes
        self.overlap, self.blend, self.windows_at_once = float(overlap), blend, windows_at_once

    @property
    def capabilities(self) -> frozenset[str]:
        """What the network can do."""
        return capabilities(self.network)

    def forward(self, x: Tensor) -> Tensor:
        """Stitched output (batch, any, \\*space) for images (batch, channel, \\*space)."""
        padded, boxes, place = self._cut(x)
        stitched: _Stitched | None = None
        for group in _groups(boxes, self.windows_at_once):
            windows = torch.cat([padded[(slice(None), slice(None), *box)] for box in group])
            for box, given in zip(group, self._answer(windows).chunk(len(group)), strict=True):
                stitched = stitched or _Stitched(given, space(padded), self._weights(given))
                stitched.add(given, box)
        assert stitched is not None
        return stitched.output()[(slice(None), slice(None), *place)]

    def around(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """The same network for images that differ from ``x`` in a few places.

        Parameters
        ----------
        x
            One image (1, channel, \\*space).

        Returns
        -------
        Callable
            Takes images (n, channel, \\*space); runs only the windows that hold a difference, and recalls what the
            others gave. The output is that of `forward`, bit for bit on one device.
        """
        with torch.no_grad():
            padded, boxes, place = self._cut(x)
            clean = [self._answer(padded[(slice(None), slice(None), *box)]) for box in boxes]

        @torch.no_grad()
        def changed(images: Tensor) -> Tensor:
            found = []
            for n in range(len(images)):
                image = self._cut(images[n : n + 1])[0]
                touched = _bounds((image != padded).any(1)[0])
                stitched = _Stitched(clean[0], space(padded), self._weights(clean[0]))
                for box, before in zip(boxes, clean, strict=True):
                    meets = touched is not None and all(
                        max(a.start, b.start) < min(a.stop, b.stop) for a, b in zip(box, touched, strict=True)
                    )
                    given = self._answer(image[(slice(None), slice(None), *box)]) if meets else before
                    stitched.add(given, box)
                found.append(stitched.output()[(slice(None), slice(None), *place)])
            return torch.cat(found)

        return changed

    def _cut(self, x: Tensor) -> tuple[Tensor, list[Box], Box]:
        """The image padded to a window at least, its windows, and where in it the image lies."""
        from monai.data.utils import dense_patch_slices

        wanted = (self.roi,) * len(space(x)) if isinstance(self.roi, int) else self.roi
        if len(wanted) != len(space(x)):
            raise ShapeError(f"windows of {self.roi} for an image of {space(x)}", "one number per axis", "set roi")
        lacking = [max(0, r - n) for r, n in zip(wanted, space(x), strict=True)]
        around = [(n // 2, n - n // 2) for n in lacking]
        place = tuple(slice(low, low + n) for (low, _), n in zip(around, space(x), strict=True))
        padded = functional.pad(x, [n for pair in reversed(around) for n in pair]) if any(lacking) else x
        roi = per_axis(wanted, space(padded), "roi")
        steps = [r if r == n else max(1, int(r * (1 - self.overlap))) for r, n in zip(roi, space(padded), strict=True)]
        return padded, list(dense_patch_slices(space(padded), roi, steps)), place

    def _weights(self, given: Tensor) -> Tensor:
        from monai.data.utils import compute_importance_map

        made = compute_importance_map(space(given), mode=self.blend, sigma_scale=0.125, device=given.device)
        return torch.as_tensor(made).to(given).reshape(1, 1, *space(given))

    def _answer(self, windows: Tensor) -> Tensor:
        parameters = self.network.parameters() if isinstance(self.network, nn.Module) else ()
        if not (torch.is_grad_enabled() and windows.requires_grad):
            given = self.network(windows.clone())
        elif any(p.requires_grad for p in parameters):
            given = checkpoint(self.network, windows.clone(), use_reentrant=False)
        else:
            given = _OnDemand.apply(self.network, windows)
        if not isinstance(given, Tensor) or space(given) != space(windows):
            got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise ShapeError(
                f"{got} for a window of {tuple(windows.shape)}", "an image of the window's size", "wrap the network"
            )
        return rows_of(given, len(windows))


class _OnDemand(torch.autograd.Function):
    """A network with frozen weights that keeps its input alone, and runs again only where a gradient comes in."""

    @staticmethod
    def forward(context: Any, network: Network, windows: Tensor) -> Any:
        context.network = network
        context.set_materialize_grads(False)
        context.save_for_backward(windows)
        return network(windows.clone())

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(context: Any, gradient: Tensor | None) -> Any:
        (windows,) = context.saved_tensors
        if gradient is None:
            return None, None
        if not bool(gradient.any()):
            return None, torch.zeros_like(windows)
        with torch.enable_grad():
            leaf = windows.detach().requires_grad_()
            output = context.network(leaf.clone())
            return None, torch.autograd.grad(output, leaf, gradient, allow_unused=True)[0]


class _Stitched:
    """Windows that are added up by their weights."""

    def __init__(self, like: Tensor, size: tuple[int, ...], weights: Tensor) -> None:
        self.weights = weights
        self.total = like.new_zeros(like.shape[0], like.shape[1], *size)
        self.weight = like.new_zeros(1, 1, *size)

    def add(self, given: Tensor, box: Box) -> None:
        """Take in what one window gave."""
        place = (slice(None), slice(None), *box)
        self.total[place] += given * self.weights
        self.weight[place] += self.weights

    def output(self) -> Tensor:
        """The blended image."""
        return self.total / self.weight


def _groups(boxes: Sequence[Box], n: int) -> Iterator[Sequence[Box]]:
    for start, stop in pairwise([*range(0, len(boxes), n), len(boxes)]):
        yield boxes[start:stop]


def _bounds(changed: Tensor) -> Box | None:
    """The smallest box that holds all true places of ``changed`` (\\*space); None if there are none."""
    if not bool(changed.any()):
        return None
    box = []
    for axis in range(changed.ndim):
        others = [a for a in range(changed.ndim) if a != axis]
        along = changed.amax(others).nonzero() if others else changed.nonzero()
        box.append(slice(int(along.min()), int(along.max()) + 1))
    return tuple(box)
