"""What a measure of an explanation is: data in, a number out, with its unit, its direction and what it needs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor

from regard.core import recording
from regard.core.batching import BatchSize, auto_batch_size, run
from regard.core.devices import sent
from regard.core.quantity import Quantity, Sign
from regard.core.recording import Network
from regard.core.rows import target_values
from regard.core.spatial import n_space
from regard.core.target import AbstractTarget

__all__ = ["AbstractMeasure", "Direction", "Exhibit", "Explain", "Measured", "Places"]

T = TypeVar("T")

Direction: TypeAlias = Literal["higher", "lower"]
"""Which way a better explanation goes."""

Explain: TypeAlias = Callable[[Network, Tensor], Tensor]
"""Explains again: a network and inputs (1, channel, \\*space) to a signed map (1, 1, \\*space)."""


@dataclass(frozen=True)
class Places:
    """Where the truth lies, on the network's input grid, each (\\*space) of bool.

    Parameters
    ----------
    core
        Places that the output truly depends on.
    allowed
        Places that count neither way: a band along the border, reference tissue.
    decoy
        Places that hold what the label does not depend on but a network may use.
    spacing
        Size of a voxel along each axis in mm; None where it is not known, so that distances are in voxels.

    Everything else is forbidden.
    """

    core: Tensor
    allowed: Tensor | None = None
    decoy: Tensor | None = None
    spacing: tuple[float, ...] | None = None

    @property
    def counted(self) -> Tensor:
        """Places that count one way or the other."""
        return torch.ones_like(self.core) if self.allowed is None else ~self.allowed | self.core


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One map of one case, with all that a measure may ask about it.

    Parameters
    ----------
    network
        The network, a callable on inputs.
    x
        Its input (1, channel, \\*space); what measures perturb.
    target
        The scalar that was explained, ready for the network's output.
    relevance
        The map (1, 1, \\*space) on the input's grid, signed, finite.
    quantity, sign
        What its numbers are and how the sign reads.
    case
        Case id, the key of random draws.
    spread
        Standard deviation of f over the cohort, the scale of figures in output units; None for a single case.
    places
        The truth, where it is known.
    explain
        Explains again, for measures that need it; None where it is not to be had.
    reference
        What a contribution is counted from, also where its method chose it, or what an effect fills hidden places with,
        (1, channel, \\*space); None where that is not known.
    parts
        Number of the part of each voxel, (\\*space), int64, for methods that take places away together (windows,
        segments): such a map is measured on them; None for any.
    others
        Maps (1, 1, \\*space) of the same case by other methods, or by members of an ensemble, by name.
    kept
        What measures keep of this case that does not depend on the map; shared by all its maps and controls.
    seed, batch_size
        As in every loop.
    """

    network: Network
    x: Tensor
    target: AbstractTarget
    relevance: Tensor
    quantity: Quantity
    sign: Sign
    case: str = ""
    spread: float | None = None
    places: Places | None = None
    explain: Explain | None = None
    reference: Tensor | None = None
    parts: Tensor | None = None
    others: Mapping[str, Tensor] = field(default_factory=dict)
    kept: MutableMapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    batch_size: BatchSize = "auto"

    def with_map(self, relevance: Tensor) -> "Exhibit":
        """The same case with another map, such as a control."""
        return replace(self, relevance=relevance)

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """What ``make`` gives for this case, made once for all its maps; ``name`` tells all that it depends on.

        Another network, input or target is another case to what is kept.
        """
        about = (id(self.network), id(self.x), id(self.target))
        # Kept as well, so that no other object can come to have the same identity.
        self.kept.setdefault(f"of/{about}", (self.network, self.x, self.target))
        name = f"{about}/{name}"
        if name not in self.kept:
            self.kept[name] = make()
        found: T = self.kept[name]
        return found

    def number(self, kind: str, tensor: Tensor) -> int:
        """Number of a tensor among those of its ``kind`` that this case has seen: what is kept is told apart by it."""
        known = self.kept.setdefault(f"seen/{kind}", [])
        for same in (
            lambda seen: seen is tensor,
            lambda seen: seen.shape == tensor.shape and torch.equal(seen, tensor),
        ):
            for n, seen in enumerate(known):
                if same(seen):
                    return n
        known.append(tensor)
        return len(known) - 1

    @torch.no_grad()
    def values(self, n: int, inputs: Callable[[range], Tensor], label: str = "") -> Tensor:
        """Output for ``n`` changed inputs, (n,) float64 on the CPU.

        Parameters
        ----------
        n
            How many.
        inputs
            Makes the inputs of a range, (len(range), channel, \\*space).
        label
            What progress is reported as.
        """
        found = torch.empty(n, dtype=torch.float64)

        def evaluate(items: range) -> Tensor:
            with torch.no_grad():
                changed = sent(inputs(items), self.network)
                return target_values(self.target, self.network(changed), len(items), n_space(changed))

        def keep(items: range, values: Tensor) -> None:
            found[items.start : items.stop] = values.double().cpu()

        at_once = auto_batch_size(self.x, n) if self.batch_size == "auto" else self.batch_size
        with recording.intact(self.network):
            run(evaluate, n, keep, batch_size=at_once, label=label)
        return found

    @property
    def blank(self) -> bool:
        """Whether the map is zero everywhere: what most measures have nothing to say about."""
        return not bool((self.relevance != 0).any())

    @property
    def value(self) -> float:
        """f(x)."""
        return float(self.values(1, lambda _: self.x)[0])


@dataclass(frozen=True)
class Measured:
    """What a measure found.

    Parameters
    ----------
    value
        The figure; NaN is "undefined", never "passed".
    unit
        Its unit: ``"1"`` for shares and correlations, ``"spread"`` for output units divided by the cohort's spread, or
        the output's own unit.
    notes
        Short facts beside it, such as the filler; numbers or words.
    curve
        The figures behind it by name, each (n,), for plots.
    attainable
        What the network's own measured effects of the same parts reach in the map's place; NaN where that is not asked.
    by_filling, deciding
        The figure with each filling, and which of them the map's own numbers speak of.
    steady
        How far what a filling does is free of its borders: correlation with soft ones, of the least steady filling.
    """

    value: float
    unit: str = "1"
    notes: Mapping[str, Any] = field(default_factory=dict)
    curve: Mapping[str, Tensor] = field(default_factory=dict)
    attainable: float = float("nan")
    by_filling: Mapping[str, float] = field(default_factory=dict)
    deciding: tuple[str, ...] = ()
    steady: float = float("nan")

    @classmethod
    def undefined(cls, why: str, unit: str = "1", notes: Mapping[str, Any] | None = None) -> "Measured":
        """No figure, and ``why``: NaN, which is neither passed nor failed."""
        return cls(float("nan"), unit, {"undefined": why, **(notes or {})})


class AbstractMeasure(ABC):
    """A measure of one map. Settings go to the constructor; a subclass writes `measure`."""

    direction: ClassVar[Direction] = "higher"
    """Which way a better explanation goes."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What it cannot do without: any of ``"places"``, ``"explain"``, ``"others"``, ``"layers"``, ``"gradient"``."""
    family: ClassVar[str] = ""
    """``"faithful"``, ``"sane"``, ``"stable"``, ``"right"``, ``"agreement"`` or ``"complexity"``."""

    @abstractmethod
    def measure(self, exhibit: Exhibit) -> Measured:
        """Measure one map."""

    def can(self, exhibit: Exhibit) -> bool:
        """Whether the exhibit holds what the measure needs."""
        have = {"places"} if exhibit.places is not None else set()
        have |= {"explain"} if exhibit.explain is not None else set()
        have |= {"others"} if exhibit.others else set()
        return self.needs <= have | recording.capabilities(exhibit.network)
