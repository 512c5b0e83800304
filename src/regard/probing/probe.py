"""What one probe of a network says, and what all of them say together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from regard.core import errors
from regard.core.batching import is_out_of_memory
from regard.core.errors import InputError

__all__ = ["APART", "Preflight", "Probe", "State", "in_short", "refused", "told"]

State = Literal["ok", "told", "refused", "unclear"]
"""``ok``; ``told``: said beside every map; ``refused``: no map is drawn; ``unclear``: the probe has no answer."""

APART = "cases apart"
"""Name of the probe of whether cases of a batch mix."""


@dataclass(frozen=True)
class Probe:
    """One line of a preflight.

    Parameters
    ----------
    name
        What was probed.
    state
        See `State`.
    sentence
        What was seen; where that is not as it should be: what was got, what was expected, what to do.
    figure
        The number behind it, or None.
    error_type
        Name of the error that a refusal raises.
    one_case
        Whether it holds for the case it was taken on only, not for the network.
    """

    name: str
    state: State
    sentence: str
    figure: float | None = None
    error_type: str = ""
    one_case: bool = False

    def error(self) -> InputError:
        """The refusal as an exception."""
        kind = getattr(errors, self.error_type, InputError)
        got, *others = self.sentence.split("; ", 2)
        if len(others) == 2 and others[0].startswith("expected "):
            return kind(got, others[0].removeprefix("expected "), others[1])  # type: ignore[no-any-return]
        return kind(self.sentence)  # type: ignore[no-any-return]


def in_short(error: BaseException) -> str:
    """The first words of an exception that is not ours, on one line, without semicolons, which part our sentences."""
    words = " ".join(str(error).replace(";", ",").split())
    return words if len(words) <= 120 else words[:117] + "..."


def refused(name: str, error: Exception, figure: float | None = None) -> Probe:
    """A probe that ends in a refusal, which ``error`` words; an error that is not ours is quoted.

    Memory that runs out says nothing of the network: the probe is unclear then.
    """
    if is_out_of_memory(error):
        return Probe(name, "unclear", f"the memory does not hold what this probe needs ({in_short(error)})", figure)
    if not isinstance(error, InputError):
        error = InputError(
            f"a network that raises {type(error).__name__} ({in_short(error)})",
            "one that answers this input",
            "check its inputs, their order and their shape",
        )
    return Probe(name, "refused", str(error), figure, type(error).__name__)


def told(name: str, got: str, expected: str, do: str, figure: float | None = None, *, one_case: bool = False) -> Probe:
    """A probe whose answer stands beside every map, in three parts."""
    return Probe(name, "told", f"{got}; expected {expected}; {do}", figure, one_case=one_case)


@dataclass(frozen=True)
class Preflight:
    """What the probes of one network, for one target, say.

    Parameters
    ----------
    probes
        A line each.
    target
        The target, as the command line writes it.
    """

    probes: tuple[Probe, ...]
    target: str = ""

    def __iter__(self) -> Any:
        return iter(self.probes)

    def __getitem__(self, name: str) -> Probe:
        """The probe called ``name``.

        Raises
        ------
        KeyError
            If it was not made.
        """
        for probe in self.probes:
            if probe.name == name:
                return probe
        raise KeyError(name)

    @property
    def alone(self) -> bool:
        """Whether each evaluation must be made alone, in a batch of one."""
        return any(p.name.endswith(APART) and p.state == "told" for p in self.probes)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that stand beside every map."""
        return tuple(dict.fromkeys(p.sentence for p in self.probes if p.state == "told"))

    def check(self) -> "Preflight":
        """Return it, if nothing was refused.

        Raises
        ------
        InputError
            The first refusal, as the kind of error that it is.
        """
        for probe in self.probes:
            if probe.state == "refused":
                raise probe.error()
        return self

    def of_another_case(self) -> "Preflight":
        """The same without what holds for the case only on which it was taken."""
        return replace(self, probes=tuple(p for p in self.probes if not p.one_case))

    def beside(self, others: Iterable[Probe]) -> "Preflight":
        """The same with further probes."""
        return replace(self, probes=(*self.probes, *others))

    def lines(self) -> list[dict[str, Any]]:
        """The probes in plain values, for ``run.yaml`` and JSON."""
        return [
            {"probe": p.name, "state": p.state, "figure": p.figure, "sentence": p.sentence, "one_case": p.one_case}
            for p in self.probes
        ]

    @classmethod
    def of_lines(cls, lines: Sequence[Mapping[str, Any]], target: str = "") -> "Preflight":
        """Read what `lines` wrote."""
        return cls(
            tuple(
                Probe(
                    str(entry["probe"]),
                    entry["state"],
                    str(entry["sentence"]),
                    entry.get("figure"),
                    one_case=bool(entry.get("one_case")),
                )
                for entry in lines
            ),
            target,
        )
