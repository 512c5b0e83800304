"""Whether a case is like those that a network was trained on."""

from collections.abc import Mapping

import numpy as np

from regard.core.volume import Volume
from regard.models.card import ModelCard
from regard.models.leads import at_card_leads
from regard.models.levels import at_card_levels
from regard.models.network_grid import oriented_grid

__all__ = ["outside_training"]


def outside_training(
    card: ModelCard,
    scans: Volume | Mapping[str, Volume],
    prediction: float | None = None,
    facts: Mapping[str, float] | None = None,
) -> list[str]:
    """Say where a case leaves what the network was trained on.

    Parameters
    ----------
    card
        With ``trained_on.ranges``.
    scans
        The image, or one per input by name.
    prediction
        The network's answer, compared with the range ``output``.
    facts
        Further numbers of the case by name, such as ``{"age": 31}``, compared with the range of that name.

    Returns
    -------
    list of str
        One sentence each, such as "spacing 3.0 mm; trained on 0.5 to 1.0 mm".
    """
    volumes = {card.inputs[0].name: scans} if isinstance(scans, Volume) else scans
    ranges, found = card.trained_on.ranges, []
    if card.trained_on.simulated:
        made = f" ({card.trained_on.site})" if card.trained_on.site else ""
        found.append(f"trained on simulated images alone{made}: a real case is outside of what the network knows")

    def compare(what: str, values: list[float], key: str, unit: str = "") -> None:
        if key not in ranges:
            return
        low, high = ranges[key]
        slack = 0.01 * max(abs(low), abs(high)) if key.startswith("spacing") else 0.0
        if min(values) < low - slack or max(values) > high + slack:
            unit = f" {unit}" if unit else ""
            got = " to ".join(dict.fromkeys(_number(v) for v in (min(values), max(values))))
            found.append(f"{what} {got}{unit}; trained on {_number(low)} to {_number(high)}{unit}")

    for spec in card.inputs:
        if spec.name not in volumes:
            continue
        volume, _ = at_card_levels(at_card_leads(volumes[spec.name], spec), spec)
        prefix = f"{spec.name}: " if len(card.inputs) > 1 else ""
        grid = oriented_grid(volume.grid, spec)
        if volume.signal is not None:
            compare(f"{prefix}rate", [volume.signal.rate_hz], "rate_hz", "Hz")
            compare(f"{prefix}duration", [volume.shape[0] / volume.signal.rate_hz], "duration_s", "s")
        for key in ("spacing_mm", "spacing"):
            if key in ranges and not (volume.has_geometry or volume.stored.spacing_known):
                found.append(
                    f"{prefix}spacing unknown; trained on {_number(ranges[key][0])} to {_number(ranges[key][1])} mm"
                )
            elif key in ranges:
                compare(f"{prefix}spacing", list(grid.spacing[: spec.n_axes]), key, "mm")
        places = "voxels" if volume.signal is None else "samples"
        compare(f"{prefix}size", [float(n) for n in grid.shape[: spec.n_axes]], "shape", places)
        if "intensity" in ranges:
            values = np.percentile(volume.tensor.cpu().numpy(), (1, 99))
            unit = spec.unit if volume.unit == "intensity" else volume.unit
            compare(f"{prefix}intensity (1st to 99th percentile)", [float(v) for v in values], "intensity", unit)
    if prediction is not None:
        compare("prediction", [prediction], "output", card.unit if card.output.units else "")
    for name, value in (facts or {}).items():
        compare(name, [float(value)], name)
    return found


def _number(value: float) -> str:
    if abs(value) < 100 and abs(value * 10 - round(value * 10)) < 1e-6:
        return f"{value:.1f}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
