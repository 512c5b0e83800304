"""Maps of trials: exact ones by what their numbers are, and wrong ones that know the network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import randomness
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.core.spatial import blur
from regard.evidence.again import taken_away
from regard.evidence.controls import randomised
from regard.evidence.measure import Explain
from regard.evidence.trials.situation import Situation
from regard.explainers.perturbation.segments import equal_blocks
from regard.explainers.spec import MethodSpec

__all__ = ["CURVES", "DEFAULTS", "EXACT", "WRONG", "Exact", "Spoil", "default_of", "truly_wrong"]


@dataclass(frozen=True)
class Exact:
    """A map that is exact by what its numbers mean, and how it is made.

    Parameters
    ----------
    method
        Its method: integrated gradients by many steps, gradient, or occlusion, each the definition of its quantity; for
        scores the first without units, and without signs.
    quantity, sign
        As maps declare.
    """

    method: MethodSpec
    quantity: Quantity
    sign: Sign

    def _at(self, x: Tensor) -> MethodSpec:
        """The method; windows of a small volume are 3 voxels wide, where an eighth of an axis would be one voxel."""
        if self.method.name != "occlusion" or x.ndim < 5 or "window" in self.method.knobs:
            return self.method
        return MethodSpec("occlusion", {**self.method.knobs, "window": 3, "stride": 2})

    def explain(self, situation: Situation, case: str) -> Explain:
        """Makes the map of any network and input."""

        def made(network: Network, x: Tensor) -> Tensor:
            explainer = self._at(x).build(network)
            found: Tensor = explainer.attribute(x, situation.target, seed=situation.seed, case=case).sum(
                1, keepdim=True
            )
            return found.abs() if self.sign is Sign.UNSIGNED else found

        return made

    def removal(self, situation: Situation, x: Tensor, case: str) -> tuple[Tensor | None, Tensor | None]:
        """What the method takes away: its reference (1, 1, \\*space) and parts (\\*space)."""
        if self.quantity is Quantity.SCORE:
            return None, None  # Of an exact contribution that is given as a score, its reference is not known.
        explainer = self._at(x).build(situation.network)
        found = taken_away(explainer, x, situation.target, seed=situation.seed, case=case)
        return found["reference"], found["parts"]


_INTEGRATED = MethodSpec("integrated-gradients", {"n_steps": 32})

EXACT: Mapping[str, Exact] = {
    "contribution": Exact(_INTEGRATED, Quantity.CONTRIBUTION, Sign.RAISED),
    "sensitivity": Exact(MethodSpec("gradient"), Quantity.SENSITIVITY, Sign.RAISES),
    "effect": Exact(MethodSpec("occlusion", {"incremental": "never"}), Quantity.EFFECT, Sign.RAISED),
    "score": Exact(_INTEGRATED, Quantity.SCORE, Sign.RAISED),
    "unsigned score": Exact(_INTEGRATED, Quantity.SCORE, Sign.UNSIGNED),
    "effect of separate windows": Exact(
        MethodSpec("occlusion", {"incremental": "never", "window": 3, "stride": 3}), Quantity.EFFECT, Sign.RAISED
    ),
}
"""By quantity. Windows of the first effect overlap, as they do by default, and a place shows the mean of those over it:
no place has the effect of a window of its own, as it has where windows are separate."""

DEFAULTS = (
    *(
        "gradient",
        "smoothgrad",
        "integrated-gradients",
        "input-x-gradient",
        "lam",
        "shapley",
        "occlusion",
        "lime",
        "rise",
    ),
    *("grad-cam", "grad-ram", "hires-cam", "guided-backpropagation"),
)
"""Methods that are told with their default settings, without a bound: how good they are is not the verdict's doing."""


def default_of(name: str) -> Exact:
    """A method with its default settings, in the place of an exact map."""
    spec = MethodSpec(name)
    return Exact(spec, spec.method.quantity, spec.method.sign)


Spoil = Callable[[Situation, Exact, int], Explain]
"""Situation, exact map and patient to a wrong map's method."""


def _case(situation: Situation, patient: int) -> str:
    return f"{situation.key}-{patient:02d}"


def _changed(change: Callable[[Tensor, Situation], Tensor]) -> Spoil:
    def spoil(situation: Situation, exact: Exact, patient: int) -> Explain:
        explain = exact.explain(situation, _case(situation, patient))
        return lambda network, x: change(explain(network, x), situation)

    return spoil


def _another_patients(situation: Situation, exact: Exact, patient: int) -> Explain:
    explain, other = exact.explain(situation, _case(situation, patient)), situation.image(500 + patient)
    return lambda network, x: explain(network, other)


def _another_networks(situation: Situation, exact: Exact, patient: int) -> Explain:
    explain = exact.explain(situation, _case(situation, patient))

    def made(network: Network, x: Tensor) -> Tensor:
        # Of the network that is weighed it shows the other one; of a randomised copy, the copy.
        return explain(situation.other if network is situation.network else network, x)

    return made


def _randomised(situation: Situation, exact: Exact, patient: int) -> Explain:
    explain = exact.explain(situation, _case(situation, patient))
    return lambda network, x: explain(randomised(network, seed=situation.seed, case=situation.key, draw="spoiled"), x)


def _in_turn(relevance: Tensor, situation: Situation) -> tuple[Tensor, Tensor]:
    """Blocks of a sixth of each axis: the number of each voxel's (\\*size), and the numbers in an order of chance."""
    size = relevance.shape[2:]
    numbers = equal_blocks(size, [n / 6 for n in size])
    drawn = randomness.generator(situation.seed, situation.key, "erased")
    return numbers, torch.randperm(int(numbers.max()) + 1, generator=drawn)


def _half_erased(relevance: Tensor, situation: Situation) -> Tensor:
    """Blocks set to 0, one after the other, until half of the map's size is gone."""
    numbers, order = _in_turn(relevance, situation)
    held = torch.bincount(numbers.flatten(), relevance.abs().double().flatten(), minlength=len(order))[order]
    gone = order[held.cumsum(0) - held < held.sum() / 2]
    return torch.where(torch.isin(numbers, gone), 0.0, relevance)


def _half_of_the_blocks(relevance: Tensor, situation: Situation) -> Tensor:
    """Half of the blocks set to 0, however much they hold."""
    numbers, order = _in_turn(relevance, situation)
    return torch.where(torch.isin(numbers, order[: len(order) // 2]), 0.0, relevance)


def _shifted(voxels: int) -> Callable[[Tensor, Situation], Tensor]:
    def change(relevance: Tensor, situation: Situation) -> Tensor:
        axes = list(range(2, relevance.ndim))
        ways = randomness.uniform((len(axes),), situation.seed, situation.key, "way")
        axis = axes[int(float(ways[0]) * len(axes))]
        return relevance.roll(voxels if float(ways[-1]) < 0.5 else -voxels, axis)

    return change


def _sharpened(strength: float) -> Callable[[Tensor, Situation], Tensor]:
    return lambda relevance, situation: relevance + strength * (relevance - blur(relevance, 1.0))


WRONG: Mapping[str, Spoil] = {
    "another patient's": _another_patients,
    "another network's": _another_networks,
    "half erased": _changed(lambda relevance, situation: _half_erased(relevance, situation)),
    "half of the blocks erased": _changed(lambda relevance, situation: _half_of_the_blocks(relevance, situation)),
    "signs dropped": _changed(lambda relevance, situation: relevance.abs()),
    "randomised weights": _randomised,
    "shifted by 2": _changed(_shifted(2)),
    "flipped": _changed(lambda relevance, situation: -relevance),
}
"""Ways to be wrong that depend on the network."""

CURVES: Mapping[str, Spoil] = {
    **{f"shifted by {n}": _changed(_shifted(n)) for n in (1, 2, 3, 4, 6)},
    **{f"blurred by {s:g}": _changed(lambda r, _, s=s: blur(r, s)) for s in (0.5, 1.0, 2.0, 4.0)},  # type: ignore[misc]
    **{f"sharpened by {s:g}": _changed(_sharpened(s)) for s in (0.5, 1.0, 2.0, 4.0)},
}
"""Changes in steps, told as curves."""

_ALIKE = 0.9


def truly_wrong(spoiled: list[Tensor], exact: list[Tensor], sign: Sign) -> bool:
    """Whether the spoiled maps of all patients differ from the exact ones: correlation of at most 0.9 in the mean.

    A map that is spoiled in name only, such as another patient's gradient of a linear network, is left out.
    """
    found = []
    for a, b in zip(spoiled, exact, strict=True):
        p, q = (t.double().flatten().abs() if sign is Sign.UNSIGNED else t.double().flatten() for t in (a, b))
        size = p.norm() * q.norm()
        found.append(float(p @ q / size) if size > 0 else 0.0)
    return sum(found) / len(found) <= _ALIKE
