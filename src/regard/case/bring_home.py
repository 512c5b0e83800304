"""Attributions on the network's grid as an explanation on the scan's own: the way home, with unit, sign and doubt."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.core.emptiness import emptiness, shortfall
from regard.core.errors import InputError
from regard.core.explainer import Attribution
from regard.core.explanation import Explanation, NetworkMap
from regard.core.geometry import resample
from regard.core.quantity import Quantity, Sign
from regard.core.spatial import over_channels
from regard.core.target import AbstractTarget
from regard.core.volume import Volume
from regard.explainers.spec import MethodSpec
from regard.models.binding import name_of, unit_of
from regard.models.case import PreparedScan
from regard.models.model import Model
from regard.references import FoundReference

__all__ = ["bring_home", "explanation_of", "masked"]


def bring_home(
    part: PreparedScan, found: Sequence[Attribution], n: int, quantity: Quantity
) -> dict[str, tuple[Tensor, float]]:
    """Maps on the scan's grid (1, i, j, k) with what fell outside: mean, and for ensembles spread and agreement.

    Of a signal, ``by_lead`` (lead, sample, 1, 1) is the mean for each lead, where the method tells them apart.

    All that belongs to a map goes home by the map's own way. A standard error (s per network voxel) so becomes A' |s|
    for a contribution A' m: at most what the error of A' m is, whatever the network voxels' errors have in common, and
    exactly that where one network voxel feeds a scan voxel or the errors are shared, as within a segment.
    """

    def on_grid(tensor: Tensor) -> Tensor:
        return part.to_space(tensor, quantity)[None]

    def home(tensor: Tensor) -> tuple[Tensor, float]:
        carried, outside = part.bring_home(tensor[0], quantity)
        return carried, outside if math.isfinite(outside) else 0.0

    homes = [home(over_channels(on_grid(a.relevance[n]))) for a in found]
    stack = torch.stack([h for h, _ in homes])
    maps = {"relevance": (stack.mean(0), float(np.mean([o for _, o in homes])))}
    errors = [a.standard_error for a in found]
    if all(e is not None for e in errors):
        squares = []
        for e in errors:
            assert e is not None
            squares.append(home(over_channels(on_grid(e[n]).square()).sqrt())[0].square())
        maps["standard_error"] = (torch.stack(squares).sum(0).sqrt() / len(squares), 0.0)
    if len(found) > 1:
        maps["spread"] = (stack.std(0), 0.0)
        same = (stack.sign() == stack.mean(0).sign()).double().mean(0)
        maps["agreement"] = (torch.where(torch.isnan(stack[0]), torch.nan, same), 0.0)
    leads = part.scan.n_channels
    if part.scan.signal is not None and leads > 1 and all(a.relevance[n].shape[1] == leads for a in found):
        of_leads = [torch.cat([home(lead[None])[0] for lead in on_grid(a.relevance[n])[0].split(1)]) for a in found]
        maps["by_lead"] = (torch.stack(of_leads).mean(0), 0.0)
    return maps


def explanation_of(
    model: Model,
    spec: MethodSpec,
    knobs: Mapping[str, Any],
    form: str,
    parts: Sequence[Attribution],
    maps: Mapping[str, tuple[Tensor, float]],
    quantity: Quantity,
    sign: Sign,
    compared: FoundReference | None,
    part: PreparedScan,
    name: str | None,
    case: str,
    goal: AbstractTarget,
    prediction: float,
    warnings: Sequence[str],
    made: Mapping[str, Any],
    on_network: NetworkMap,
) -> Explanation:
    """One map with all that belongs to it: what was asked, what was found and how it was made.

    Parameters
    ----------
    model, spec, knobs, form
        The model; the method and its settings.
    parts
        What the method found, for each member of an ensemble.
    maps
        `bring_home` of it.
    quantity, sign
        As the method declares.
    compared
        The reference that was given, or None.
    part, name, case
        The scan with the way home, its input's name where there are several, and the case id.
    goal, prediction
        The target, and f(x).
    warnings
        What a reader must know first.
    made
        Seed, versions and checksums.
    on_network
        The map on the network's grid.
    """
    first, scan = parts[0], part.scan
    output_unit = unit_of(model.card.output, goal)
    unit = quantity.unit(output_unit, part.unit)
    notes = {k: v for k, v in first.notes.items() if k not in ("layer", "reference")}
    if len(parts) > 1:
        notes["members"] = len(parts)
    reference: dict[str, Any] | None = None
    if compared is not None:
        reference = {"label": compared.label, "value": compared.value}
    elif first.reference_value is not None:
        own = str(first.notes.get("reference", "the method's own"))
        reference = {"label": own, "value": float(first.reference_value[0])}
    errors = [float(a.completeness_error[0]) for a in parts if a.completeness_error is not None]
    left = float(np.mean(errors)) if errors else None
    if len(errors) > 1:
        notes["completeness_error_rms"] = float(np.sqrt(np.mean(np.square(errors))))
    warnings = [*warnings, *shortfall(parts, output_unit), *dict.fromkeys(w for a in parts for w in a.warnings)]
    if len(parts) > 1 and not any("empty" in a.notes for a in parts):
        # Members that each hold something may leave nothing in their mean.
        warnings += emptiness([maps["relevance"][0][None]])
    volumes = {key: scan.with_tensor(tensor.float(), unit="") for key, (tensor, _) in maps.items()}
    return Explanation(
        relevance=replace(volumes["relevance"], unit=unit, header={}),
        scan=scan,
        case=case,
        method=spec.name,
        quantity=quantity,
        sign=sign,
        unit=unit,
        prediction=prediction,
        target=goal.label,
        target_name=name_of(model.card.output, goal),
        output_unit=output_unit,
        label=spec.label,
        input=name,
        knobs=knobs,
        form=form,
        layer=first.notes.get("layer"),
        reference=reference,
        completeness_error=left,
        outside=maps["relevance"][1],
        standard_error=volumes.get("standard_error"),
        spread=volumes.get("spread"),
        agreement=volumes.get("agreement"),
        made=made,
        notes=notes,
        warnings=tuple(warnings),
        on_network=on_network,
        by_lead=None if "by_lead" not in volumes else replace(volumes["by_lead"], unit=unit, header={}),
    )


def masked(explanation: Explanation, mask: Volume) -> Explanation:
    """Set the map to NaN outside a mask, and state what was there."""
    inside = resample(mask, explanation.scan.grid, order=0).tensor[0] > 0.5
    if not bool(inside.any()):
        raise InputError("a mask with no voxel inside the scan", "one that overlaps it", "check its affine")
    tensor = explanation.relevance.tensor
    notes = dict(explanation.notes)
    if explanation.quantity.sums:
        notes["outside_mask"] = float(torch.nansum(tensor[0][~inside].double()))
    kept = torch.where(inside[None], tensor, torch.nan)
    seen = explanation.on_network and explanation.on_network.within(mask)
    leads = explanation.by_lead and explanation.by_lead.with_tensor(
        torch.where(inside[None], explanation.by_lead.tensor, torch.nan)
    )
    kept_map = explanation.relevance.with_tensor(kept)
    return replace(explanation, relevance=kept_map, notes=notes, on_network=seen, by_lead=leads)
