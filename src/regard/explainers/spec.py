"""A method as it is written on the command line: ``NAME[:knob=value[,knob=value]][@LABEL]``."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from regard.core.errors import CardError, InputError, UnknownNameError
from regard.core.explainer import AbstractExplainer
from regard.core.recording import LayerLike, Network
from regard.explainers import METHODS
from regard.io.names import letters_and_digits
from regard.io.plain_text import parse_yaml

__all__ = ["MethodSpec", "parse_methods"]


@dataclass(frozen=True)
class MethodSpec:
    """A registered method with its settings.

    Parameters
    ----------
    name
        Registered name, such as ``"grad-ram"``.
    knobs
        Constructor settings by name; ``form`` and ``layer`` are among them.
    label
        What its maps are called; the name by default.

    Raises
    ------
    UnknownNameError
        If there is no such method, or it has no such knob.
    """

    name: str
    knobs: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    def __post_init__(self) -> None:
        known = self.known_knobs()
        for knob in self.knobs:
            if knob not in known:
                raise UnknownNameError.suggest(f"a knob of {self.name}", knob, known)
        if not self.label:
            object.__setattr__(self, "label", self.name)

    def __str__(self) -> str:
        knobs = ",".join(f"{k}={'x'.join(map(str, v)) if isinstance(v, tuple) else v}" for k, v in self.knobs.items())
        label = "" if self.label == self.name else f"@{self.label}"
        return self.name + (f":{knobs}" if knobs else "") + label

    @property
    def method(self) -> type[AbstractExplainer]:
        """The explainer's class."""
        return METHODS.load(self.name)  # type: ignore[no-any-return]

    def known_knobs(self) -> list[str]:
        """Names of the settings that the method takes."""
        return [p for p in inspect.signature(self.method).parameters if p != "network"]

    def laid_out(self, reshape: str | None) -> "MethodSpec":
        """The same with ``reshape``, where the method looks at a layer and says nothing of how it lies."""
        if reshape is None or "reshape" not in self.known_knobs() or "reshape" in self.knobs:
            return self
        return replace(self, knobs={**self.knobs, "reshape": reshape})

    def build(self, network: Network, *, layer: LayerLike = None) -> AbstractExplainer:
        """Make the explainer for a network; ``layer`` is used where the method has one and none is set."""
        knobs = dict(self.knobs)
        if layer is not None and "layer" in self.known_knobs():
            knobs.setdefault("layer", layer)
        try:
            return self.method(network, **knobs)
        except TypeError as error:
            raise InputError(f"{self}: {error}", f"the knobs {', '.join(self.known_knobs())}") from error


def _value(text: str) -> Any:
    parts = text.split("x")
    if len(parts) > 1 and all(p.isdigit() for p in parts):
        return tuple(int(p) for p in parts)
    try:
        return parse_yaml(text, largest=1000)
    except CardError as error:
        raise InputError(f"the value '{text[:80]}' of a setting", "a number, a word or a list", "correct it") from error


def _parse(text: str) -> MethodSpec:
    body, _, label = text.partition("@")
    name, _, settings = body.partition(":")
    knobs = {}
    for setting in filter(None, settings.split(",")):
        knob, equals, value = setting.partition("=")
        if not equals or not value:
            raise InputError(f"the setting '{setting}' in '{text}'", "knob=value", f"see: regard methods {name}")
        knobs[knob.strip().replace("-", "_")] = _value(value.strip())
    return MethodSpec(name.strip(), knobs, label.strip())


def parse_methods(texts: Sequence[str | MethodSpec]) -> list[MethodSpec]:
    """Read methods, and see that no two have the same label.

    Raises
    ------
    InputError
        If a label occurs twice or a setting is not ``knob=value``.
    """
    specs = [t if isinstance(t, MethodSpec) else _parse(t) for t in texts]
    labels: dict[str, MethodSpec] = {}
    for spec in specs:
        plain = letters_and_digits(spec.label).lower()
        if plain in labels:
            raise InputError(
                f"two methods called '{labels[plain].label}' and '{spec.label}'",
                "labels that differ in their letters and digits",
                f"write {spec.name}:...@LABEL for one of them",
            )
        labels[plain] = spec
    return specs
