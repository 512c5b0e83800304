"""A card from a MONAI bundle's metadata and the transforms that it names; what cannot be known is said in the notes."""

from collections.abc import Mapping
from typing import Any

from regard.core.errors import CardError
from regard.models.card import ModelCard, validate_card

__all__ = ["card_of_bundle"]

_HARMLESS = frozenset(
    {"LoadImage", "EnsureChannelFirst", "EnsureType", "CastToType", "ToTensor", "AddChannel", "AsChannelFirst",
     "SelectItems", "Identity", "ToDevice"}
)  # fmt: skip


def card_of_bundle(
    name: str, metadata: Mapping[str, Any], configuration: Mapping[str, Any]
) -> tuple[ModelCard, list[str]]:
    """Make a card of a bundle; no code runs.

    Parameters
    ----------
    name
        The folder's name.
    metadata
        Content of ``metadata.json``.
    configuration
        Content of ``inference.json``; of its preprocessing, the transforms that a card can say are taken.

    Returns
    -------
    card
        The card.
    doubts
        One sentence that says what could not be known, or nothing.

    Raises
    ------
    CardError
        If the metadata do not say what goes in and what comes out.
    """
    data = metadata.get("network_data_format")
    if not isinstance(data, Mapping) or not _table(data, "inputs") or not _table(data, "outputs"):
        raise CardError(
            "a metadata.json without network_data_format.inputs and .outputs", "both", "write a card.yaml instead"
        )
    unknown: list[str] = []
    windows = _sliding_window(configuration)
    inputs = []
    for key, entry in _table(data, "inputs").items():
        spec = {"name": str(key), **_input(entry, unknown, joined=windows is not None)}
        _read_transforms(configuration, len(spec.pop("_size")), spec, unknown)
        inputs.append(spec)
    first_name, first = next(iter(_table(data, "outputs").items()))
    notes = [str(metadata[k]) for k in ("description", "intended_use") if metadata.get(k)]
    doubts = [f"not known from the bundle: {'; '.join(dict.fromkeys(unknown))}"] if unknown else []
    site = metadata.get("data_source")
    content = {
        "name": name,
        "licence": None if metadata.get("license") is None else str(metadata["license"]),
        "inputs": inputs,
        "sliding_window": windows,
        "output": _output(str(first_name), first),
        "trained_on": {"site": None if site is None else str(site)},
        "notes": " ".join([*notes, *doubts]),
    }
    return validate_card(content, "the card made of metadata.json"), doubts


def _table(data: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    found = data.get(key)
    if not isinstance(found, Mapping):
        return {}
    return {str(k): v for k, v in found.items() if isinstance(v, Mapping)}


def _sliding_window(configuration: Mapping[str, Any]) -> dict[str, Any] | None:
    """How the configuration's inferer runs windows over an image, where it says so in plain values."""
    inferer = configuration.get("inferer")
    if (
        not isinstance(inferer, Mapping)
        or str(inferer.get("_target_", "")).rpartition(".")[2] != "SlidingWindowInferer"
    ):
        return None
    roi = _value(configuration, inferer.get("roi_size"))
    overlap = _value(configuration, inferer.get("overlap", 0.25))
    blend = _value(configuration, inferer.get("mode", "constant"))
    plain = isinstance(roi, list) and all(isinstance(n, int) and n > 0 for n in roi)
    if not plain or not isinstance(overlap, (int, float)) or blend not in ("gaussian", "constant"):
        return None
    return {"roi": roi, "overlap": overlap, "blend": blend}


def _input(entry: Mapping[str, Any], unknown: list[str], *, joined: bool) -> dict[str, Any]:
    size = entry.get("spatial_shape")
    size = list(size) if isinstance(size, (list, tuple)) and size else [None, None, None]
    fixed = all(isinstance(n, int) and not isinstance(n, bool) for n in size)
    if entry.get("is_patch_data") and fixed and not joined:
        words = " x ".join(map(str, size))
        unknown.append(f"how patches of {words} voxels are joined, so the whole image is given to the network")
    elif not fixed and not joined:
        unknown.append("the size of its input")
    unit = "HU" if str(entry.get("format", "")).lower() == "hounsfield" else "intensity"
    return {
        "channels": entry.get("num_channels", 1),
        "shape": size if fixed and not entry.get("is_patch_data") else None,
        "unit": unit,
        "fit": "crop-pad",
        "_size": size,
    }


def _read_transforms(configuration: Mapping[str, Any], n_axes: int, spec: dict[str, Any], unknown: list[str]) -> None:
    """Orientation, spacing, window and normalising, as far as the transforms named in the configuration say them."""
    for step in _transforms(configuration.get("preprocessing")):
        name = str(step.get("_target_", "")).rpartition(".")[2].removesuffix("Dict").removesuffix("d")
        plain = {k: _value(configuration, v) for k, v in step.items()}
        if name in _HARMLESS or step.get("_disabled_") is True:
            continue
        try:
            understood = _read_transform(name, plain, n_axes, spec)
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
            understood = False
        if not understood:
            unknown.append(f"what its transform {name or '?'} does")
    if "orientation" not in spec:
        unknown.append("the direction of its axes, so the scan's own are kept")
    if "normalise" not in spec:
        unknown.append("how intensities are scaled, so they are given as they are")


def _transforms(node: Any) -> list[Mapping[str, Any]]:
    steps = node.get("transforms") if isinstance(node, Mapping) else node
    return [s for s in steps if isinstance(s, Mapping)] if isinstance(steps, list) else []


def _value(configuration: Mapping[str, Any], value: Any) -> Any:
    """A plain value, or the top-level plain value that ``"@name"`` refers to; anything else raises when it is used."""
    if isinstance(value, str) and value.startswith("@"):
        found = configuration.get(value[1:])
        return found if not isinstance(found, str) or not found.startswith(("@", "$", "%")) else None
    return None if isinstance(value, str) and value.startswith(("$", "%")) else value


def _read_transform(name: str, step: Mapping[str, Any], n_axes: int, spec: dict[str, Any]) -> bool:
    if name == "Orientation":
        spec["orientation"] = str(step["axcodes"]).upper()[:n_axes]
    elif name == "Spacing":
        pixdim = step["pixdim"]
        spec["spacing_mm"] = [float(p) for p in (pixdim if isinstance(pixdim, list) else [pixdim] * n_axes)][:n_axes]
    elif name == "ScaleIntensityRange":
        low, high = float(step["a_min"]), float(step["a_max"])
        to_low, to_high = float(step.get("b_min", 0.0)), float(step.get("b_max", 1.0))
        if step.get("clip"):
            spec.update(window=[low, high], normalise={"low": to_low, "high": to_high})
        else:
            std = (high - low) / (to_high - to_low)
            if std == 0:
                return False
            spec["normalise"] = {"mean": low - to_low * std, "std": std}
    elif name == "NormalizeIntensity":
        if step.get("channel_wise") and spec["channels"] > 1:
            return False
        if step.get("subtrahend") is not None or step.get("divisor") is not None:
            spec["normalise"] = {"mean": step.get("subtrahend", 0.0), "std": step.get("divisor", 1.0)}
        else:
            spec["normalise"] = "zscore-foreground" if step.get("nonzero") else "zscore"
    elif name == "ScaleIntensity":
        if (step.get("minv", 0.0), step.get("maxv", 1.0)) != (0.0, 1.0) or step.get("factor") is not None:
            return False
        spec["normalise"] = "minmax"
    elif name in ("Resize", "ResizeWithPadOrCrop"):
        spec["shape"] = [int(n) for n in step["spatial_size"]]
        spec["fit"] = "resize" if name == "Resize" else "crop-pad"
    else:
        return False
    return True


def _output(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    kind, form = str(entry.get("type", "")).lower(), str(entry.get("format", "")).lower()
    classes = entry.get("channel_def")
    names = [str(v) for v in classes.values()] if isinstance(classes, Mapping) and classes else [name]
    if form in ("segmentation", "labels", "binary"):
        found, unit, grid = "segmentation", "logit", "input"
    elif kind in ("probabilities", "probability", "classification") or form in ("classes", "classification"):
        found, unit, grid = "classification", "logit", None
    elif kind == "image":
        found, unit, grid = "image", "intensity", "input"
    else:
        found, unit, grid = "regression", "output", None
    return {"kind": found, "names": names, "units": [unit], "grid": grid}
