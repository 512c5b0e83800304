"""What each kind of local operation does to a box: how far a change reaches, and how its result is computed."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx

from regard.explainers.perturbation.incremental.regions import Boxes, Placed, Source, cropped, hull

__all__ = ["AbstractOperation", "Averaged", "Bordered", "Elementwise", "Linear", "Repeated", "Sliding", "Spreading"]

Sizes = tuple[int, ...]


class AbstractOperation(ABC):
    """An operation whose output at a place depends on nearby places of its inputs only."""

    reads_around = True
    """Whether places are read that the windows did not change, so that the clean inputs must be kept."""

    @abstractmethod
    def reach(self, boxes: Sequence[Boxes]) -> Boxes:
        """Box of the output that a change of the inputs in ``boxes`` may change; may stick out."""

    @abstractmethod
    def compute(self, sources: Mapping[fx.Node, Source], box: Placed) -> Tensor:
        """Output (window, channel, \\*size) in ``box``, which lies inside."""

    def computed(self, box: Placed) -> int:
        """Places along all axes that are computed for a box; their share of all is the share of the work."""
        return math.prod(box.size)


@dataclass(frozen=True)
class Elementwise(AbstractOperation):
    """Each output place from the same place of one or several inputs.

    Parameters
    ----------
    inputs
        Nodes of the inputs that windows change.
    run
        Computes from the values of those nodes.
    """

    inputs: tuple[fx.Node, ...]
    run: Callable[[Mapping[fx.Node, Tensor]], Tensor]

    @property
    def reads_around(self) -> bool:  # type: ignore[override]
        return len(self.inputs) > 1

    def reach(self, boxes: Sequence[Boxes]) -> Boxes:
        return boxes[0] if len(boxes) == 1 else hull(boxes)

    def compute(self, sources: Mapping[fx.Node, Source], box: Placed) -> Tensor:
        return self.run({node: sources[node].read(box) for node in self.inputs})


@dataclass(frozen=True)
class Sliding(AbstractOperation):
    """A kernel that slides over the input: convolution, pooling.

    Parameters
    ----------
    input
        Node of the input.
    kernel, stride, padding, dilation
        Per axis; padding at the low side.
    run
        Computes from a patch that has its padding already.
    beyond
        Value of the padding.
    """

    input: fx.Node
    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    run: Callable[[Tensor], Tensor]
    beyond: float = 0.0

    @property
    def reads_around(self) -> bool:  # type: ignore[override]
        return any(k > 1 or s > 1 or p for k, s, p in zip(self.kernel, self.stride, self.padding, strict=True))

    def reach(self, boxes: Sequence[Boxes]) -> Boxes:
        (box,) = boxes
        stride, padding = np.asarray(self.stride), np.asarray(self.padding)
        return Boxes(
            -((-(box.start + padding - self._span + 1)) // stride),
            np.where(box.stop > box.start, (box.stop - 1 + padding) // stride + 1, 0),
        )

    def compute(self, sources: Mapping[fx.Node, Source], box: Placed) -> Tensor:
        size = tuple(((np.asarray(box.size) - 1) * self.stride + self._span).tolist())
        return self.run(sources[self.input].read(Placed(box.start * self.stride - self.padding, size), self.beyond))

    @property
    def _span(self) -> np.ndarray:
        return np.asarray(self.dilation) * (np.asarray(self.kernel) - 1) + 1


@dataclass(frozen=True)
class Bordered(Sliding):
    """A border of one value: a kernel of one place that slides over the input and beyond it."""

    @property
    def reads_around(self) -> bool:  # type: ignore[override]
        return True


@dataclass(frozen=True)
class Averaged(AbstractOperation):
    """A mean over a sliding kernel, which counts fewer places at the border.

    Parameters
    ----------
    sums
        The kernel's plain mean with zeros beyond the input.
    factor
        For each axis, kernel size over the number of places that count, at each output place.
    """

    sums: Sliding
    factor: tuple[Tensor, ...]

    def reach(self, boxes: Sequence[Boxes]) -> Boxes:
        return self.sums.reach(boxes)

    def compute(self, sources: Mapping[fx.Node, Source], box: Placed) -> Tensor:
        values = self.sums.compute(sources, box)
        for axis, factor in enumerate(self.factor):
            if bool((factor == 1).all()):
                continue
            places = torch.from_numpy(box.start[:, axis, None] + np.arange(box.size[axis])).to(factor.device)
            shape = [len(places), *[1] * (values.ndim - 1)]
            shape[2 + axis] = box.size[axis]
            values = values * factor[places].reshape(shape)
        return values


@dataclass(frozen=True)
class Spreading(AbstractOperation):
    """A kernel that each input place spreads over the output: transposed convolution.

    Parameters
    ----------
    input
        Node of the input.
    kernel, stride, padding, dilation
        Per axis, as the convolution's that it is the transpose of.
    run
        Computes without padding.
    """

    input: fx.Node
    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    run: Callable[[Tensor], Tensor]

    def reach(self, boxes: Sequence[Boxes]) -> Boxes:
        (box,) = boxes
        low = np.asarray(self.padding)
        stop = np.where(box.stop > box.start, (box.stop - 1) * self.stride - low + self._span, 0)
        return Boxes(box.start * self.stride - low, stop)

    def compute(self, sources: Mapping[fx.Node, Source], box: Placed) -> Tensor:
        inner = self._inner(box)
        values = self.run(sources[self.input].read(inner))
        return cropped(values, box.start - (inner.start * self.stride - self.padding), box.size)

    def computed(self, box: Placed) -> int:
        return math.prod(n * s for n, s in zip(self._inner(box).size, self.stride, strict=True))

    def _inner(self, box: Placed) -> Placed:
        """Input places that reach the box, and as many more as make the output of `run` hold it."""
        stride = np.asarray(self.stride)
        first, past = box.start + self.padding, box.stop + self.padding
        start = np.minimum(-((self._span - 1 - first) // stride), first // stride)
        stop = np.maximum((past - 1) // stride, -((self._span - past) // stride)) + 1
        return Placed(start, tuple((stop - start).max(0).tolist()))

    @property
    def _span(self) -> np.ndarray:
        return np.asarray(self.dilation) * (np.asarray(self.kernel) - 1) + 1


@dataclass(frozen=True)
class Repeated(AbstractOperation):
    """Enlargement by a whole number, every place repeated.

    Parameters
    ----------
    input
        Node of the input.
    size
        Of the input, per axis.
    ratio
        Per axis.
    run
        Enlarges a patch.
    """

    input: fx.Node
    size: Sizes
    ratio: Sizes
    run: Callable[[Tensor], Tensor]

    def reach(self, boxes: Sequence[Boxes]) -> Boxes:
        (box,) = boxes
        return Boxes(box.start * self.ratio, box.stop * self.ratio)

    def compute(self, sources: Mapping[fx.Node, Source], box: Placed) -> Tensor:
        inner = self._inner(box)
        values = self.run(sources[self.input].read(inner))
        return cropped(values, box.start - inner.start * self.ratio, box.size)

    def _inner(self, box: Placed) -> Placed:
        return Boxes(box.start // self.ratio, (box.stop - 1) // self.ratio + 1).placed(self.size)


@dataclass(frozen=True)
class Linear(Repeated):
    """Enlargement by a whole number, linear between places, corners not aligned."""

    def reach(self, boxes: Sequence[Boxes]) -> Boxes:
        (box,) = boxes
        half = np.asarray(self.ratio) // 2
        empty = box.stop <= box.start
        return Boxes(box.start * self.ratio - half, np.where(empty, 0, box.stop * self.ratio + half))

    def _inner(self, box: Placed) -> Placed:
        # Place o lies at (o + 1/2) / ratio - 1/2, between that number's floor and the next; in halves, to stay whole.
        ratio = np.asarray(self.ratio)
        start = (2 * box.start + 1 - ratio) // (2 * ratio)
        stop = (2 * box.stop - 1 - ratio) // (2 * ratio) + 2
        return Boxes(start, stop).within(self.size).placed(self.size)
