"""A benchmark on scans and a network of the user's own."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from regard.bench.plan import SIZES, BenchPlan
from regard.bench.question import Question, question_of
from regard.bench.scans.images import Scans, on_channels
from regard.bench.scans.phantom import ScanPhantom
from regard.bench.scans.regions import ALL_TASKS, READ, phantom_of
from regard.core.errors import CapabilityError, InputError, RegardError, UnknownNameError
from regard.core.recording import unwrap
from regard.core.registry import Registry
from regard.explainers import METHODS
from regard.explainers.spec import parse_methods
from regard.models.model import Model
from regard.models.zoo import ZOO
from regard.training.retraining import drawn_anew

__all__ = ["ScanPlan", "plan_of", "untrained"]

logger = logging.getLogger(__name__)

_SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"phantoms": ("spot", "spot-classes"), "n_networks": 1, "n_train": 96, "n_epochs": 8},
    "default": {"phantoms": ALL_TASKS, "n_networks": 2, "n_train": 384, "n_epochs": 15},
    "reference": {"phantoms": ALL_TASKS, "n_networks": 5, "n_train": 768, "n_epochs": 25},
    "paper": {"phantoms": ALL_TASKS, "n_networks": 10, "n_train": 4000, "n_epochs": 40},
}


class FirstOutput(nn.Module):
    """A user's network with one channel repeated, as one number a case, scaled.

    Parameters
    ----------
    network
        Images (batch, channel, \\*space) to numbers (batch, ...), of which the first is taken.
    channels
        That it takes.
    """

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network, self.channels = network, channels
        self.head = nn.Linear(1, 1)
        with torch.no_grad():
            self.head.weight.fill_(1.0)
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.channels == 1 else x.expand(-1, self.channels, *x.shape[2:])
        output = self.network(wide)
        if not isinstance(output, Tensor) or output.ndim > 2 or output.shape[:1] != x.shape[:1]:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(
                f"an output of {got} for {len(x)} images", "numbers (batch, number)", "choose another --network"
            )
        first: Tensor = self.head(output.reshape(len(x), -1)[:, :1])
        return first


def untrained(model: Model, seed: int) -> nn.Module:
    """The model's architecture with weights drawn anew.

    Raises
    ------
    CapabilityError
        If it is no module.
    InputError
        If some of its weights are in no layer that can draw them.
    """
    plain = unwrap(model.network)
    if not isinstance(plain, nn.Module) or isinstance(plain, torch.jit.ScriptModule):
        raise CapabilityError(
            f"a network of type {type(plain).__name__} to train",
            "a torch.nn.Module",
            "give one, or leave --network out",
        )
    return drawn_anew(plain, seed)


@dataclass(frozen=True)
class UserQuestion(Question):
    """A question put to a user's architecture.

    Parameters
    ----------
    model
        The model; None for the small default.
    """

    model: Model | None = field(default=None, compare=False)

    def network(self, spatial_dims: int, *, zoo: Registry = ZOO) -> nn.Module:
        """The untrained network."""
        if self.model is None:
            return super().network(spatial_dims, zoo=zoo)
        # From the generator that the training has seeded.
        made = untrained(self.model, torch.initial_seed() % 2**31)
        return FirstOutput(made, self.model.card.inputs[0].channels)


@dataclass(frozen=True)
class ScanPlan(BenchPlan):
    """A benchmark on a user's scans; the tasks stand in the place of the phantoms.

    Parameters
    ----------
    scans
        The scans.
    model
        The network whose architecture is trained, or None.
    """

    scans: Scans | None = field(default=None, repr=False, compare=False)
    model: Model | None = field(default=None, repr=False, compare=False)

    def _check_phantoms(self) -> None:
        for name in self.phantoms:
            if name not in ALL_TASKS:
                raise UnknownNameError.suggest("task", name, list(ALL_TASKS))

    def phantom(self, name: str) -> ScanPhantom:
        """The scans with a task's signal."""
        assert self.scans is not None
        return phantom_of(name, self.scans, self.test_seed)

    def question(self, name: str) -> Question:
        """What is asked of the networks of a task."""
        asked = question_of(self.phantom(name))
        layer: str | None = asked.layer
        if self.model is not None:
            layer = None if self.model.card.layer is None else f"network.{self.model.card.layer}"
        return UserQuestion(**{**vars(asked), "layer": layer}, model=self.model)

    @property
    def n_test_patients(self) -> int:
        """Patients behind the test images: each lends its scan to several."""
        assert self.scans is not None
        return len(self.scans.test)

    @property
    def kind(self) -> str:
        """What the images are, in a word or two."""
        return "planted scans" if set(self.phantoms) - set(READ) else "scans as they are"

    @property
    def about(self) -> str:
        """What the images are, in words."""
        assert self.scans is not None
        n = len(self.scans.learn) + len(self.scans.test)
        what = ["with planted signals"] if set(self.phantoms) - set(READ) else []
        what += ["with numbers read in known places"] if set(self.phantoms) & set(READ) else []
        who = "a small network" if self.model is None else f"the architecture of {self.model.card.name}"
        return (
            f"{n} scans of the user {' and '.join(what)}, and {who} trained on them: for these scans and this network"
        )

    @property
    def recorded(self) -> dict[str, Any]:
        """The settings, without images and weights."""
        known = {k: v for k, v in super().recorded.items() if k not in ("scans", "model")}
        return known | {"network": None if self.model is None else self.model.card.name}


def plan_of(
    size: str, scans: Scans, model: Model | None, *, seed: int, methods: tuple[str, ...] = (),
    measures: tuple[str, ...] = (), tasks: tuple[str, ...] = (),
) -> ScanPlan:  # fmt: skip
    """The plan of a size; methods, measures and tasks replace its own where they are given.

    Of the default methods, and of the controls, those that the network cannot have are left out, and told.
    """
    base = SIZES[size]
    one = on_channels(scans)
    made = {**_SIZES[size], "n_test": max(64, len(one.test)), "n_explained": len(one.test), "shape": one.shape}
    made |= {k: v for k, v in (("methods", methods), ("measures", measures), ("phantoms", tasks)) if v}
    known = {k: v for k, v in vars(base).items() if k not in made}
    window = max(2, round(1.2 * one.radius))
    if not methods:
        wide = f"occlusion:window={window},stride={max(1, window // 2)}"
        made["methods"] = tuple(wide if m.startswith("occlusion") else m for m in base.methods)
    plan = replace(ScanPlan(**{**known, **made}, scans=one, model=model), seed=seed)
    if model is None:
        return plan
    lost = _refused(plan, [*plan.methods, *(c for c in plan.controls if c in METHODS)])
    for name, why in lost.items():
        if name in methods:
            raise why
        logger.warning("%s is left out: %s", name, why)
    return replace(
        plan,
        methods=tuple(m for m in plan.methods if m not in lost),
        controls=tuple(c for c in plan.controls if c not in lost),
    )


def _refused(plan: ScanPlan, names: Sequence[str]) -> dict[str, RegardError]:
    """What an untrained network of the plan refuses, tried on one image."""
    task = plan.phantoms[0]
    subject = plan.phantom(task).subject(0, seed=plan.test_seed)
    question = plan.question(task)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = question.network(len(plan.shape)).eval()
    lost: dict[str, RegardError] = {}
    for name in names:
        (spec,) = parse_methods([name])
        try:
            spec.build(network, layer=question.layer).attribute(subject.image[None], question.target(subject))
        except RegardError as error:
            lost[name] = error
    return lost
