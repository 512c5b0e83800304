"""A model of one's own, checked: a card is written where it has none; otherwise it is loaded and tried on a scan."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regard.core.errors import InputError
from regard.models.zoo import ZOO
from regard.runs.requests.check import CheckRequest
from regard.runs.result import columns_of_text

__all__ = ["CheckResult", "check"]


@dataclass
class CheckResult:
    """What `check` gives back.

    Parameters
    ----------
    facts
        What was found, by name; without a command, a row for each network that Regard brings.
    lines
        The same in words.
    """

    facts: Any
    lines: list[str] = field(default_factory=list)
    exit_code = 0

    def to_dict(self) -> Any:
        """What was found, in plain values."""
        return self.facts

    def __str__(self) -> str:
        return "\n".join(self.lines)


def check(request: CheckRequest) -> CheckResult:
    """List the networks of Regard; or write the card of one that has none; or load it, and try it on a scan.

    Parameters
    ----------
    request
        What is asked; its fields are the options of ``regard models``.

    Raises
    ------
    InputError
        If the command is not ``check``, or the model or the scan cannot be read.
    """
    source = request.source
    if request.action is None:
        rows = [{"model": n, "output": str(ZOO.entry(n)[2]), "what it is": str(ZOO.entry(n)[1])} for n in ZOO]
        return CheckResult(rows, [columns_of_text(rows)])
    if request.action != "check" or source is None:
        got = f"regard models {request.action}" + ("" if source is None else f" {source}")
        raise InputError(got, "nothing, or check MODEL [SCAN]", "regard models check FOLDER")
    from regard.models.bundle import is_bundle
    from regard.models.draft import card_place, draft_card

    if source.exists() and not (source.is_dir() and is_bundle(source)) and not card_place(source).exists():
        place = draft_card(source)
        line = f"{place} was written: correct each line that is not true of your network, then check again"
        return CheckResult({"card": str(place), "written": True}, [line])
    from regard.models import load_model

    model = load_model(source, weights=request.weights, trust=request.trust)
    facts: dict[str, Any] = {**model.describe(), "warnings": list(model.warnings)}
    lines = [f"{key}: {value}" for key, value in facts.items() if key != "warnings"]
    result = CheckResult(facts, [*lines, *(f"warning: {warning}" for warning in model.warnings)])
    if request.scan is not None:
        _try(model, request.scan, request.output or Path(f"{source.name}-sees.png"), result)
    return result


def _try(model: Any, scan: Path, picture: Path, result: CheckResult) -> None:
    """Show what a network sees of a scan, and what it gives."""
    if len(model.card.inputs) > 1:
        raise InputError(f"one scan for {len(model.card.inputs)} inputs", "a network of one", "try regard explain")
    import torch

    from regard.io import read
    from regard.models.case import prepare_case
    from regard.report.prepared import draw_prepared, prepared_volume

    prepared = prepare_case(model, {model.card.inputs[0].name: read(scan)})
    seen, x = prepared_volume(prepared), prepared.inputs.tensors[0]
    place = draw_prepared(prepared, picture)
    with torch.no_grad():
        outputs = model(x)
    result.facts |= {
        "input shape": list(x.shape), "input range": [float(x.min()), float(x.max())],
        "input mean and deviation": [float(x.double().mean()), float(x.double().std())],
        "orientation": seen.grid.orientation, "picture": str(place),
    }  # fmt: skip
    result.lines.append(
        f"input: {tuple(x.shape)}, {float(x.min()):.4g} to {float(x.max()):.4g}, mean {float(x.mean()):.4g}, "
        f"deviation {float(x.std()):.4g}"
    )
    result.lines += [f"warning: {warning}" for warning in prepared.warnings]
    if isinstance(outputs, torch.Tensor):
        result.facts["output shape"] = list(outputs.shape)
        numbers = ", ".join(f"{v:.4g}" for v in outputs.flatten()[:8].tolist())
        numbers += " ..." if outputs.numel() > 8 else ""
        result.lines.append(f"gives: {tuple(outputs.shape)}: {numbers}")
    result.lines.append(
        f"picture: {place}: is the patient the right way round, whole, and at the scale that it was trained on?"
    )
