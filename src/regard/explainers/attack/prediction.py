"""What a network says, and whether it still says it: a number within a tolerance, or a class with its probability."""

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core.errors import InputError
from regard.core.rows import rows_of, target_values
from regard.core.target import AbstractTarget, Logit, Probability

__all__ = ["Said", "Saying", "saying_of"]

_PUSH = 0.2
"""How far beyond the border a change is pushed by the steps, as a share of the way to it."""

_ROOM = 0.5
"""Share of the tolerance beyond which the steps are held back."""

CLASS_TOLERANCE = 0.1
"""Drift of the class's probability that counts as kept, where none is given."""


@dataclass(frozen=True)
class Said:
    """What a network said of one image.

    Parameters
    ----------
    value
        The target's value.
    label
        The most likely class, of a classifier; None of a number.
    probability
        Of the class that was the most likely one before; None of a number.
    """

    value: float
    label: int | None
    probability: float | None


@dataclass(frozen=True, eq=False)
class Saying:
    """How a prediction is read, compared and pushed.

    Parameters
    ----------
    target
        What is explained.
    tolerance
        Largest change of a number, in its own unit, or of a class's probability, that counts as kept.
    first
        What was said of the image before.
    n_classes
        Of a classifier; 0 where the prediction is a number.
    """

    target: AbstractTarget
    tolerance: float
    first: Said
    n_classes: int

    def _scores(self, output: object, n: int) -> tuple[Tensor, Tensor]:
        """Scores before softmax and probabilities, (batch, class) each."""
        return _classes(self.target, output, n, self.n_classes)

    def read(self, output: object, n: int) -> list[Said]:
        """What an output of ``n`` images says of each."""
        values = target_values(self.target, output, n).detach().double().tolist()
        if not self.n_classes:
            return [Said(v, None, None) for v in values]
        scores, probabilities = (t.detach() for t in self._scores(output, n))
        chances = probabilities[:, self.first.label].double().tolist()
        return [Said(*row) for row in zip(values, scores.argmax(1).tolist(), chances, strict=True)]

    def kept(self, now: Said) -> bool:
        """Whether the prediction is the same: a number within the tolerance, or class and probability."""
        if not self.n_classes:
            return abs(now.value - self.first.value) <= self.tolerance
        return now.label == self.first.label and self.drift(now) <= self.tolerance

    def changed(self, now: Said) -> bool:
        """Whether it is another: a number farther off than the tolerance, or another class."""
        if not self.n_classes:
            return abs(now.value - self.first.value) > self.tolerance
        return now.label != self.first.label

    def drift(self, now: Said) -> float:
        """Change of the number, or of the probability of the class that was said before."""
        if not self.n_classes:
            return abs(now.value - self.first.value)
        assert now.probability is not None
        assert self.first.probability is not None
        return abs(now.probability - self.first.probability)

    def loss(self, output: object, n: int, *, keep: bool) -> Tensor:
        """What the steps make smaller, (batch,): 0 once the prediction is kept, or changed, with room to spare."""
        if self.n_classes:
            return self._class_loss(output, n, keep=keep)
        off = (target_values(self.target, output, n).double() - self.first.value).abs() / self.tolerance
        return (off - _ROOM).clamp_min(0) if keep else (1 + _PUSH - off).clamp_min(0)

    def _class_loss(self, output: object, n: int, *, keep: bool) -> Tensor:
        scores, probabilities = (t.double() for t in self._scores(output, n))
        own = scores[:, self.first.label]
        others = torch.cat([scores[:, : self.first.label], scores[:, self.first.label + 1 :]], 1)  # type: ignore[operator]
        margin = own - others.amax(1)
        if not keep:
            # In units of the margin at the start, which the probability hides once it is near 1.
            return (margin / max(float(self._margin), 1e-6) + _PUSH).clamp_min(0)
        assert self.first.probability is not None
        off = (probabilities[:, self.first.label] - self.first.probability).abs() / self.tolerance
        return (off - _ROOM).clamp_min(0)

    _margin: float = 1.0


def _classes(target: AbstractTarget, output: object, n: int, n_classes: int) -> tuple[Tensor, Tensor]:
    activation = target.activation  # type: ignore[attr-defined]
    if isinstance(target, Probability) and (target.independent or activation == "sigmoid"):
        chance = target_values(target, output, n)
        score = target_values(Logit(target.index, activation), output, n)
        return torch.stack([-score, score], 1) / 2, torch.stack([1 - chance, chance], 1)
    scores = [target_values(Logit(k, activation), output, n) for k in range(n_classes)]
    chances = [target_values(Probability(k, activation), output, n) for k in range(n_classes)]
    return torch.stack(scores, 1), torch.stack(chances, 1)


def saying_of(target: AbstractTarget, output: object, tolerance: float | None) -> Saying:
    """How the prediction of one image is read, from what the network says of it.

    A logit or a probability is of a class; everything else is a number.

    Parameters
    ----------
    target
        What is explained.
    output
        The network's output for the image.
    tolerance
        Largest change that counts as kept; None: 0.1 of a class's probability. A number has no such default.

    Raises
    ------
    InputError
        If the prediction is a number and there is no tolerance, or it is not above 0.
    """
    of_class = isinstance(target, (Logit, Probability))
    if tolerance is None:
        if not of_class:
            raise InputError(
                f"no tolerance for the number {float(target_values(target, output, 1)[0]):g}",
                "how far it may move and still be the same, in its own unit",
                "give --tolerance (tolerance= in Python)",
            )
        tolerance = CLASS_TOLERANCE
    if not tolerance > 0:
        raise InputError(f"a tolerance of {tolerance:g}", "a number above 0", "give a larger one")
    value = float(target_values(target, output, 1).detach()[0])
    if not of_class:
        return Saying(target, tolerance, Said(value, None, None), 0)
    n_classes = max(2, int(rows_of(output, 1)[0].numel()))
    if isinstance(target, Probability) and (target.independent or target.activation == "sigmoid"):
        n_classes = 2
    scores, chances = (t.detach()[0].double() for t in _classes(target, output, 1, n_classes))
    label = int(scores.argmax())
    rest = torch.cat([scores[:label], scores[label + 1 :]])
    first = Said(value, label, float(chances[label]))
    return Saying(target, tolerance, first, n_classes, float(scores[label] - rest.amax()))
