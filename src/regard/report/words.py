"""What a map's numbers are, and are not, in sentences; shared by figures and page."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from regard.core.explanation import Explanation
from regard.core.quantity import Quantity, Sign

__all__ = [
    "RESEARCH_USE",
    "making",
    "meaning",
    "number",
    "has_uncertainty",
    "in_figure",
    "prediction",
    "readings",
    "reference",
    "sign_sentence",
    "totals",
    "uncertainty",
    "verdict",
]

RESEARCH_USE = "Research use only; not a diagnostic device."

_MINUS, _TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"

_MEANING = {
    Quantity.CONTRIBUTION: "Contribution in {unit}: the part of the output's change that is put down to each voxel. "
    "The sum over a region means something.",
    Quantity.SENSITIVITY: "Sensitivity in {unit}: how fast the output changes with the intensity of each voxel.",
    Quantity.EFFECT: "Effect in {unit}: how much the output changes when a window around each voxel is replaced.",
    Quantity.SCORE: "Score in {unit}: the method's own number; only shares of one map can be compared.",
}
_LIMITS = {
    Quantity.CONTRIBUTION: "It divides one difference, from the reference to this image: another reference gives "
    "another map, and a voxel's part is not what would happen if that voxel alone were changed.",
    Quantity.SENSITIVITY: "It is a slope at this very image, not a share of the output: its sum over a region means "
    "nothing, and a large change of the intensity may do something else.",
    Quantity.EFFECT: "It holds for this window and this filler: others give another map. Windows overlap, so the "
    "effects do not add up to the output.",
    Quantity.SCORE: "Its sum over a region means nothing, it is not in units of the output, and a high value cannot "
    "be compared with another method's.",
}
_NOT_CAUSE = (
    "It tells what this network answers to in this image; it is not evidence that the place causes the finding in "
    "the patient."
)


def number(value: Any, digits: int = 4) -> str:
    """A value for the eye: figures with ``digits`` significant digits and a true minus sign, text as it is."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else f"{_MINUS}∞")
    text = str(value) if isinstance(value, int) else f"{value:.{digits}g}"
    if "e" in text:
        mantissa, _, power = text.partition("e")
        raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        text = f"{mantissa} {_TIMES} 10{raised}"
    return text.replace("-", _MINUS)


def in_figure(text: str) -> str:
    """Text for matplotlib, which reads dollars as mathematics."""
    return text.replace("$", r"\$")


def sign_sentence(explanation: Explanation) -> str:
    """How a number of the map reads, as a caption."""
    if explanation.sign is Sign.UNSIGNED:
        return "unsigned: larger is more, without a direction"
    return f"positive: {explanation.sign}"


def meaning(explanation: Explanation) -> str:
    """What the numbers are, with their unit."""
    return _MEANING[explanation.quantity].format(unit=explanation.unit)


def readings(explanations: Iterable[Explanation]) -> list[tuple[str, list[str]]]:
    """What the numbers of maps are and what they do not say, once for each kind of number and once for all maps."""
    maps = list(explanations)
    found: dict[str, list[str]] = {}
    for one in maps:
        name = f"{str(one.quantity).capitalize()} [{one.unit}]"
        found.setdefault(name, [meaning(one), _LIMITS[one.quantity]])
    said = [_NOT_CAUSE] if maps else []
    if any(one.sign is Sign.UNSIGNED for one in maps):
        said.append("A map without a sign: a strong place may have raised the output or lowered it.")
    if any(not has_uncertainty(one) for one in maps):
        said.append("Where no uncertainty was estimated for a map, nothing of it is greyed.")
    if any(one.verdict is None for one in maps):
        said.append("A map that is not weighed: whether it is true to the network has not been measured.")
    return [*found.items(), *([("All maps", said)] if said else [])]


def has_uncertainty(explanation: Explanation) -> bool:
    """Whether something is known of how sure the map is."""
    return explanation.resolved() is not None or explanation.spread is not None


def verdict(explanation: Explanation) -> str:
    """The verdict, or that there is none yet."""
    return explanation.verdict or "not weighed"


def prediction(explanation: Explanation) -> str:
    """The explained output, with its unit."""
    return f"{number(explanation.prediction)} {explanation.output_unit}"


def reference(explanation: Explanation) -> str | None:
    """What the input was compared with, and the output there."""
    if not explanation.reference:
        return None
    label = explanation.reference.get("label", "reference")
    value = explanation.reference.get("value")
    return f"{label}" if value is None else f"{label}, output there {number(value)} {explanation.output_unit}"


def totals(explanation: Explanation) -> str | None:
    """Total, part on padding and completeness error; for contributions only."""
    if explanation.total is None:
        return None
    unit = explanation.unit
    text = f"The map sums to {number(explanation.total)} {unit}"
    if explanation.outside:
        text += f", and {number(explanation.outside)} {unit} fell on padding outside the image"
    if explanation.completeness_error is not None:
        text += f"; completeness error {number(explanation.completeness_error, 2)} {unit}"
    return text + "."


def uncertainty(explanation: Explanation) -> str:
    """How sure the map is, and what is greyed."""
    resolved = explanation.resolved()
    if resolved is None:
        if explanation.spread is not None:
            return "Spread over members is known, agreement in sign is not; nothing is greyed."
        return "No uncertainty was estimated for this map; nothing is greyed."
    seen = torch.isfinite(explanation.relevance.tensor[0])
    share = float((resolved & seen).sum()) / max(int(seen.sum()), 1)
    if explanation.standard_error is not None:
        return (
            "Monte-Carlo standard error is known: the sign is resolved (beyond 1.96 standard errors) "
            f"at {100 * share:.0f} % of the voxels; the others are grey."
        )
    return (
        f"More than 90 % of the ensemble's members agree in sign at {100 * share:.0f} % of the voxels; "
        "the others are grey."
    )


def making(explanation: Explanation) -> list[tuple[str, str]]:
    """How the map was made, as pairs of what and value."""
    pairs: list[tuple[str, Any]] = [("method", explanation.method), ("form", explanation.form)]
    pairs += [("layer", explanation.layer)] if explanation.layer else []
    pairs += [("input", explanation.input)] if explanation.input else []
    pairs += _flat("", explanation.knobs) + _flat("", explanation.notes) + _flat("", explanation.made)
    return [(key, number(value)) for key, value in pairs]


def _flat(prefix: str, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        pairs += _flat(f"{name} ", value) if isinstance(value, Mapping) else [(name, value)]
    return pairs
