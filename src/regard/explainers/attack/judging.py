"""The judgement: what the network itself says of a changed image, and what maps the methods themselves make of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.core import recording
from regard.core.explainer import AbstractExplainer
from regard.core.inputs import Inputs
from regard.core.recording import Network
from regard.core.target import AbstractTarget
from regard.explainers.attack.goals import Goal, MapGoal
from regard.explainers.attack.prediction import Said, Saying

__all__ = ["Judge", "Judgement"]


@dataclass(frozen=True, eq=False)
class Judgement:
    """One image as one method sees it.

    Parameters
    ----------
    said
        What the network says of it.
    relevance
        The map (1, 1, \\*space).
    reached
        Whether prediction and map are as the goal wants.
    """

    said: Said
    relevance: Tensor
    reached: tuple[bool, bool]


@dataclass(frozen=True, eq=False)
class Judge:
    """Looks at images with the network as it is; knows nothing of how they were made.

    Parameters
    ----------
    network
        The network.
    methods
        The methods that look, by label.
    inputs
        The case; its first input is what changes.
    target
        What is explained.
    saying
        How the prediction is read.
    goal
        What is wanted.
    inside
        Where maps are compared.
    towards
        What the map is to become.
    reference, seed, case
        Given to the methods.
    """

    network: Network
    methods: Mapping[str, AbstractExplainer]
    inputs: Inputs
    target: AbstractTarget
    saying: Saying
    goal: Goal
    inside: Tensor
    towards: Tensor | None = None
    reference: Sequence[Tensor] | None = None
    seed: int = 0
    case: str = ""

    def said(self, x: Tensor) -> Said:
        """What the network says of a first input (1, channel, \\*space)."""
        with recording.intact(self.network) as network, torch.no_grad():
            return self.saying.read(self.inputs.call(network, (x.clone(), *self.inputs.tensors[1:])), 1)[0]

    def relevance(self, method: str, x: Tensor) -> Tensor:
        """One method's map (1, 1, \\*space) of a first input, summed over channels."""
        explainer = self.methods[method]
        tensors = (x, *self.inputs.tensors[1:])
        given = None
        if self.reference is not None and explainer.takes_reference:
            given = self.inputs.rebuild(tuple(self.reference))
        found = explainer.compute(
            self.inputs.rebuild(tensors), self.target, reference=given, seed=self.seed, case=self.case
        )
        return found.relevance[0].sum(1, keepdim=True)

    def map_goal(self, own: Tensor) -> MapGoal:
        """The goal for a method's map, from its own map before."""
        return MapGoal(own, self.inside, self.goal.keeps_map, self.towards)

    def reached(self, said: Said, relevance: Tensor, own: Tensor) -> tuple[bool, bool]:
        """Whether prediction and map are as the goal wants."""
        kept = self.saying.kept(said) if self.goal.keeps_prediction else self.saying.changed(said)
        return kept, self.map_goal(own).reached(relevance)

    def judge(self, method: str, x: Tensor, own: Tensor) -> Judgement:
        """Look at one first input (1, channel, \\*space) with one method, whose map before was ``own``."""
        said, relevance = self.said(x), self.relevance(method, x)
        return Judgement(said, relevance, self.reached(said, relevance, own))
