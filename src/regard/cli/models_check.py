"""``regard models check``: write a card, or try one on a scan."""

from pathlib import Path
from typing import Any

import typer

from regard.core.errors import InputError

__all__ = ["check"]


def check(source: Path, scan: Path | None, *, weights: Path | None, trust: bool, output: Path | None) -> dict[str, Any]:
    """Write the card of a model that has none; otherwise load it, and with a scan show what it sees and gives.

    Returns
    -------
    dict
        What was found, for ``--json``.
    """
    from regard.models.bundle import is_bundle
    from regard.models.draft import card_place, draft_card

    if source.exists() and not (source.is_dir() and is_bundle(source)) and not card_place(source).exists():
        place = draft_card(source)
        typer.echo(f"{place} was written: correct each line that is not true of your network, then check again")
        return {"card": str(place), "written": True}
    import torch

    from regard.io import read
    from regard.models import load_model
    from regard.models.case import prepare_case

    model = load_model(source, weights=weights, trust=trust)
    facts: dict[str, Any] = {**model.describe(), "warnings": list(model.warnings)}
    for key, value in facts.items():
        if key != "warnings":
            typer.echo(f"{key}: {value}")
    for warning in model.warnings:
        typer.echo(f"warning: {warning}")
    if scan is None:
        return facts
    if len(model.card.inputs) > 1:
        raise InputError(f"one scan for {len(model.card.inputs)} inputs", "a network of one", "try regard explain")
    from regard.report.prepared import draw_prepared, prepared_volume

    prepared = prepare_case(model, {model.card.inputs[0].name: read(scan)})
    seen, x = prepared_volume(prepared), prepared.inputs.tensors[0]
    place = draw_prepared(prepared, output or Path(f"{source.name}-sees.png"))
    with torch.no_grad():
        outputs = model(x)
    facts |= {
        "input shape": list(x.shape), "input range": [float(x.min()), float(x.max())],
        "input mean and deviation": [float(x.double().mean()), float(x.double().std())],
        "orientation": seen.grid.orientation, "picture": str(place),
    }  # fmt: skip
    typer.echo(f"input: {tuple(x.shape)}, {float(x.min()):.4g} to {float(x.max()):.4g}, mean {float(x.mean()):.4g}, "
               f"deviation {float(x.std()):.4g}")  # fmt: skip
    for warning in prepared.warnings:
        typer.echo(f"warning: {warning}")
    if isinstance(outputs, torch.Tensor):
        facts["output shape"] = list(outputs.shape)
        shown = outputs.flatten()[:8].tolist()
        numbers = ", ".join(f"{v:.4g}" for v in shown) + (" ..." if outputs.numel() > 8 else "")
        typer.echo(f"gives: {tuple(outputs.shape)}: {numbers}")
    typer.echo(f"picture: {place}: is the patient the right way round, whole, and at the scale that it was trained on?")
    return facts
