"""Who plays in a Shapley game: parts of images, and the columns of inputs without space, each on its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from regard.core import batching
from regard.core.errors import InputError, ShapeError
from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.core.spatial import space
from regard.explainers.perturbation.copies import Copies
from regard.explainers.perturbation.segments import blocks, parts_of
from regard.io import read

__all__ = ["Parts", "PartLabels", "PartsLike", "Players", "worth"]

MADE = ("supervoxels", "blocks")
"""Parts that are made, by name."""


@dataclass(frozen=True)
class PartLabels:
    """Labels of parts that were given, such as the regions of an atlas.

    Parameters
    ----------
    name
        What they are called in reports.
    tensors
        Labels (\\*space) for each input with space, in the order of the inputs.
    """

    name: str
    tensors: tuple[Tensor, ...]


PartsLike: TypeAlias = str | Tensor | Sequence[Tensor] | PartLabels
"""``"supervoxels"``, ``"blocks"``, a file of labels, or labels (\\*space) for each input with space."""


class Parts:
    """Parts that were asked for, read and checked.

    Parameters
    ----------
    given
        ``"supervoxels"``, ``"blocks"``, the path of a label image on the network's own grid, or labels.
    n_parts
        Parts wanted of each image, where they are made.
    compactness
        Weight of nearness against intensity when supervoxels are cut.
    """

    def __init__(self, given: PartsLike, n_parts: int, compactness: float = 0.1) -> None:
        self.n_parts, self.compactness = n_parts, compactness
        self.labels: PartLabels | None = None
        if isinstance(given, str):
            self.name = given
            return
        if isinstance(given, Tensor):
            given = (given,)
        self.labels = given if isinstance(given, PartLabels) else PartLabels("labels given", tuple(given))
        self.name = self.labels.name

    def of(self, inputs: Inputs) -> "Players":
        """The players among ``inputs`` of one case.

        Raises
        ------
        ShapeError
            If labels do not fit the images.
        """
        spaced = [n for n, x in enumerate(inputs.tensors) if space(x)]
        labels = self._labels(len(spaced))
        made, n_players = [], 0
        for n, x in enumerate(inputs.tensors):
            if n in spaced and labels is not None:
                own = _numbered(labels[spaced.index(n)], space(x), self.name)[None, None]
            elif n in spaced and self.name == "blocks":
                own = blocks(space(x), self.n_parts)[None, None]
            else:
                own = parts_of(x, self.n_parts, compactness=self.compactness).reshape(1, -1, *space(x))
            made.append(own.to(x.device) + n_players)
            n_players += int(own.max()) + 1
        return Players(tuple(made), n_players)

    def _labels(self, n_images: int) -> tuple[Tensor, ...] | None:
        if self.labels is None:
            if self.name in MADE:
                return None
            return (_read(self.name),) * n_images
        tensors = self.labels.tensors
        if len(tensors) not in (1, n_images):
            raise ShapeError(f"labels of {len(tensors)} images as parts", f"one each of {n_images} inputs with space")
        return tensors * n_images if len(tensors) == 1 else tensors


def _read(path: str) -> Tensor:
    if not Path(path).exists():
        raise InputError(f"parts={path}", f"one of {', '.join(MADE)}, or a file of labels", "correct it")
    return read(path).tensor[0]


def _numbered(labels: Tensor, size: Sequence[int], name: str) -> Tensor:
    """Labels as numbers of players without gaps, (\\*size); a label image of one slice fits an image without one."""
    if [n for n in labels.shape if n > 1] != [n for n in size if n > 1]:
        raise ShapeError(
            f"parts ({name}) of shape {tuple(labels.shape)} for an image of {tuple(size)}",
            "labels on the network's grid",
            "use regard.explain, which carries them there through world coordinates",
        )
    _, numbers = torch.unique(labels.reshape(tuple(size)), return_inverse=True)
    return numbers.cpu()


@dataclass(frozen=True)
class Players:
    """The players of one case.

    Parameters
    ----------
    labels
        Number of the player of each place: (1, 1, \\*space), or (1, feature) for an input without space.
    n
        How many there are.
    """

    labels: tuple[Tensor, ...]
    n: int

    def maps(self, values: Tensor) -> tuple[Tensor, ...]:
        """Values (player,) spread evenly over the places of each player, so that a map sums to its players' values."""
        counts = torch.zeros(self.n, dtype=torch.float64)
        for labels in self.labels:
            counts += torch.bincount(labels.flatten().cpu(), minlength=self.n)
        shares = values.cpu().double() / counts
        return tuple(shares.to(labels.device)[labels] for labels in self.labels)


def worth(query: Query, reference: Sequence[Tensor], players: Players, coalitions: Tensor, label: str) -> Tensor:
    """The target's value with only some players shown, the others as in the reference.

    Parameters
    ----------
    query
        One case.
    reference
        One tensor per input.
    players
        The players.
    coalitions
        Who is shown, (coalition, player), bool.
    label
        What progress is reported as.

    Returns
    -------
    Tensor
        (coalition,), float64, on the CPU.
    """
    copies, inputs = Copies(query), query.inputs.tensors
    values = torch.zeros(len(coalitions), dtype=torch.float64)

    def evaluate(items: range) -> Tensor:
        buffers = copies.of(len(items))
        for n, item in enumerate(items):
            for buffer, x, other, labels in zip(buffers, inputs, reference, players.labels, strict=True):
                torch.where(coalitions[item].to(x.device)[labels[0]], x[0], other[0], out=buffer[n])
        return copies.score()

    def add(items: range, scores: Tensor) -> None:
        values[items.start : items.stop] = scores.cpu()

    batching.run(evaluate, len(coalitions), add, batch_size=query.items_at_once(len(coalitions)), label=label)
    return values
