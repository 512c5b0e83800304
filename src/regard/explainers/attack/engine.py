"""Attacks on explanations: a change within a ball that keeps or changes prediction and map, beside its controls."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from regard.core import recording
from regard.core.batching import BatchSize
from regard.core.devices import device_of
from regard.core.errors import InputError, ShapeError
from regard.core.explainer import AbstractExplainer
from regard.core.foreground import background_level
from regard.core.inputs import InputLike, Inputs
from regard.core.rows import read_target
from regard.core.target import AbstractTarget, TargetLike
from regard.explainers.attack.ball import Bounds, read_bounds, within
from regard.explainers.attack.controls import control_change
from regard.explainers.attack.descent import Found, descend
from regard.explainers.attack.differentiable import MapFunction, is_differentiable, map_function
from regard.explainers.attack.goals import Goal, size_wanted
from regard.explainers.attack.judging import Judge
from regard.explainers.attack.prediction import saying_of
from regard.explainers.attack.result import ATTACK, AttackResult, Attempt
from regard.explainers.attack.settings import AttackPlan, Intensities
from regard.explainers.attack.smooth import Softened

__all__ = ["attack"]


@dataclass(frozen=True, eq=False)
class _Task:
    """One case under one plan, read and checked."""

    plan: AttackPlan
    intensities: Intensities
    x: Tensor
    image: Tensor
    bounds: Bounds
    judge: Judge
    surrogate: AbstractExplainer
    names: tuple[str, str]
    batch_size: BatchSize

    def as_input(self, image: Tensor) -> Tensor:
        """First input of a changed image; that of the image itself is the one that was given, to the bit."""
        scale, _ = self.intensities.constants(self.x)
        return (self.x.double() + scale * (image.double() - self.image.double())).to(self.x)

    def rounded(self, image: Tensor) -> Tensor:
        """The image at whole grey levels."""
        level = self.level
        return (self.bounds[0] + ((image.double() - self.bounds[0]) / level).round() * level).to(image)

    @property
    def level(self) -> float:
        """Step between two grey levels."""
        return self.intensities.level or (self.bounds[1] - self.bounds[0]) / 255


def attack(
    explainer: AbstractExplainer,
    inputs: InputLike,
    target: TargetLike = None,
    plan: AttackPlan | None = None,
    *,
    intensities: Intensities | None = None,
    towards: Tensor | None = None,
    surrogate: AbstractExplainer | None = None,
    seen_by: Mapping[str, AbstractExplainer] | None = None,
    reference: Any = None,
    seed: int = 0,
    case: str = "case",
    label: str = "",
    batch_size: BatchSize = "auto",
) -> AttackResult:
    """Attack a method's map of one case within each budget, and judge attack and controls by the network itself.

    The steps follow the network with rounded rectifiers for the map, and the network itself for the prediction; of all
    steps and restarts the best by the attack's own objective is kept, and only then is it judged. Parameters are as
    many as there are things to be given: a case, what is wanted, and who looks at it.

    Parameters
    ----------
    explainer
        The method, with its network.
    inputs
        One case: (1, channel, \\*space), or several inputs, of which the first is changed.
    target
        What is explained. A logit or a probability is judged as a class, all else as a number.
    plan
        What is asked for.
    intensities
        How the first input depends on intensities; by default the input is the intensities.
    towards
        What the map is to become, (1, 1, \\*space); by default anything but itself.
    surrogate
        The method that the steps follow, where gradients do not pass through the attacked one.
    seen_by
        Other methods that look at the same images, by label: the transfer.
    reference
        What inputs are compared with, for methods that take a reference.
    seed, case
        Key of all draws.
    label
        What the attacked method is called; its name by default.
    batch_size
        Changes at once.

    Returns
    -------
    AttackResult
        Of each budget the attack, seen by the method and by the others, and each control of the attack's size.

    Raises
    ------
    CapabilityError
        If gradients do not pass through the method and there is no surrogate.
    InputError
        If a setting does not fit the case.
    """
    plan = plan or AttackPlan()
    task = _read(
        explainer, inputs, target, plan, intensities or Intensities(), towards, surrogate, seen_by or {}, reference,
        seed, case, label, batch_size,
    )  # fmt: skip
    found, softened, warnings = _searched(task)
    own = {m: task.judge.relevance(m, task.x) for m in task.judge.methods}
    attempts = []
    for budget, one in zip(plan.budgets, found, strict=True):
        attempts += _of_budget(task, budget, one, own, softened)
    order = {ATTACK: 0}
    attempts.sort(key=lambda a: order.get(a.kind, 1))
    return AttackResult(tuple(attempts), (*warnings, *_told(task, own)))


def _read(
    explainer: AbstractExplainer, inputs: InputLike, target: TargetLike, plan: AttackPlan, intensities: Intensities,
    towards: Tensor | None, surrogate: AbstractExplainer | None, seen_by: Mapping[str, AbstractExplainer],
    reference: Any, seed: int, case: str, label: str, batch_size: BatchSize,
) -> _Task:  # fmt: skip
    """Read what was given, as `attack` takes it."""
    read = Inputs.of(inputs).to(device_of(explainer.network))
    if read.n_cases != 1:
        raise ShapeError(f"{read.n_cases} cases", "one case, (1, channel, *space)", "attack one after the other")
    followed = explainer if surrogate is None else surrogate
    if not is_differentiable(followed):
        map_function(followed, followed.network, read, AbstractTarget)  # type: ignore[arg-type]  # refuses it by name
    with recording.intact(explainer.network) as network, torch.no_grad():
        output = read.call(network, [x.clone() for x in read.tensors])
        goal = read_target(target, output, 1)
        saying = saying_of(goal, output, plan.tolerance)
    if not math.isfinite(saying.first.value):
        raise InputError(f"a prediction of {saying.first.value}", "a finite number", "check the image and the weights")
    x = read.tensors[0]
    image = intensities.image(x)
    bounds = read_bounds(intensities.bounds, image)
    above = (image > background_level(image)).any(1)[0]
    inside = above if bool(above.any()) else torch.ones_like(above)
    compared = None if reference is None else read.like(reference, "reference")
    names = label or type(explainer).__name__, label if surrogate is None and label else type(followed).__name__
    methods = {names[0]: explainer, **seen_by}
    wanted = None if towards is None else towards.to(x.device)
    judge = Judge(
        explainer.network, methods, read, goal, saying, Goal(plan.goal), inside, wanted, compared, seed, case
    )  # fmt: skip
    return _Task(plan, intensities, x, image, bounds, judge, followed, names, batch_size)


def _searched(task: _Task) -> tuple[list[Found], MapFunction, list[str]]:
    """The best change of each budget; the map as a function of the input; what must be told."""
    plan, judge, surrogate = task.plan, task.judge, task.surrogate
    warnings: list[str] = []
    goal = Goal(plan.goal)
    scale, _ = task.intensities.constants(task.x)
    taken = judge.reference if surrogate.takes_reference else None
    with recording.intact(surrogate.network) as network:
        reference = None if taken is None else tuple(taken)
        relevance = map_function(
            surrogate, network, judge.inputs, judge.target, reference=reference, seed=judge.seed, case=judge.case
        )
        with Softened(plan.beta) as soft:
            aimed = judge.map_goal(relevance(task.x.clone()).detach())
        if not soft.n_softened:
            warnings.append("no rectifier was met: the steps follow the network as it is")

        def objective(change: Tensor) -> Tensor:
            x = (task.x.double() + scale * change).to(task.x)
            with torch.enable_grad():
                with Softened(plan.beta):
                    of_map = aimed.loss(relevance(x))
                others = [t.expand(len(x), *t.shape[1:]) for t in judge.inputs.tensors[1:]]
                output = judge.inputs.call(network, (x.clone(), *others))
                said = judge.saying.loss(output, len(x), keep=goal.keeps_prediction)
            return of_map + plan.weight * said.to(of_map) + size_wanted(goal, change)

        found = descend(
            objective, task.image.double(), plan.budgets, plan.norm, task.bounds, n_steps=plan.n_steps,
            n_restarts=plan.n_restarts, seed=judge.seed, case=judge.case, batch_size=task.batch_size,
        )  # fmt: skip
    return found, relevance, warnings


def _softened(task: _Task, x: Tensor, relevance: MapFunction) -> tuple[bool, bool]:
    """Whether the goal is reached on the network with rounded rectifiers, by the map that the steps followed."""
    judge = task.judge
    with recording.intact(task.surrogate.network) as network, Softened(task.plan.beta):
        own, now = (relevance(t.clone()).detach() for t in (task.x, x))
        with torch.no_grad():
            outputs = [judge.inputs.call(network, (t.clone(), *judge.inputs.tensors[1:])) for t in (task.x, x)]
            saying = saying_of(judge.target, outputs[0], judge.saying.tolerance)
            said = saying.read(outputs[1], 1)[0]
    return replace(judge, saying=saying).reached(said, now, own)


def _of_budget(
    task: _Task, budget: float, found: Found, own: Mapping[str, Tensor], softened: MapFunction
) -> list[Attempt]:
    """The attack of one budget as each method sees it, and its controls as the attacked one does."""
    plan, judge, image = task.plan, task.judge, task.image
    label, followed = task.names
    changed = within(found.change, image, budget, plan.norm, task.bounds)
    x = task.as_input(changed)

    def attempt(kind: str, method: str, picture: Tensor, x: Tensor, **more: Any) -> Attempt:
        judged = judge.judge(method, x, own[method])
        goal, off = judge.map_goal(own[method]), picture.double() - image.double()
        wanted = None if judge.towards is None else goal.likeness(judged.relevance, judge.towards)
        return Attempt(
            case=judge.case, kind=kind, goal=judge.goal, method=method, attacked=followed, budget=budget,
            norm=plan.norm, unit=task.intensities.unit, linf=float(off.abs().max()), l2=float(off.norm()),
            before=judge.saying.first, after=judged.said,
            prediction_unit=judge.target.unit("output"), drift=judge.saying.drift(judged.said),
            tolerance=judge.saying.tolerance, likeness=goal.likeness(judged.relevance), to_wanted=wanted,
            prediction_reached=judged.reached[0], map_reached=judged.reached[1], n_restarts=plan.n_restarts,
            image=picture, map_before=own[method], map_after=judged.relevance, **more,
        )  # fmt: skip

    at_levels = judge.judge(label, task.as_input(task.rounded(changed)), own[label]).reached
    attempts = []
    for method in judge.methods:
        first = method == label
        attempts.append(
            attempt(
                ATTACK, method, changed, x, restart=found.restart, objective=found.objective,
                softened=_softened(task, x, softened) if first else None, rounded=at_levels if first else None,
            )
        )  # fmt: skip
    made = changed.double() - image.double()
    for name in plan.controls:
        change, norm = control_change(
            name, image.double(), made, plan.norm, task.bounds, seed=judge.seed, case=judge.case
        )
        if change is None:
            continue
        size = float(made.abs().max() if norm == "inf" else made.norm())
        picture = within(change, image, size, norm, task.bounds)
        seen = task.as_input(picture)
        attempts.append(attempt(name, label, picture, seen, restart=0, objective=math.nan, softened=None, rounded=None))
    return attempts


def _told(task: _Task, own: Mapping[str, Tensor]) -> list[str]:
    """What a reader must see."""
    told = []
    small = [b for b in task.plan.budgets if task.plan.norm == "inf" and b < task.level / 2]
    if small:
        told.append(
            f"budgets of {', '.join(f'{b:g}' for b in small)} {task.intensities.unit} are below half a grey level "
            f"({task.level / 2:g}): an image stored at whole levels loses the change"
        )
    for method, relevance in own.items():
        values = torch.nan_to_num(relevance)[:, 0][:, task.judge.inside]
        if not float(values.max()) > float(values.min()):
            told.append(f"the map of {method} is constant over the foreground: it cannot be said to change or to stay")
    return told
