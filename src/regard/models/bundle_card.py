"""A card from a MONAI bundle's metadata; what they do not say is said in the notes."""

import hashlib
from collections.abc import Mapping
from typing import Any

from regard.core.errors import CardError
from regard.models.bundle_chain import BundleChain
from regard.models.bundle_values import Values
from regard.models.card import ModelCard, validate_card

__all__ = ["card_of_bundle"]


def card_of_bundle(
    name: str, metadata: Mapping[str, Any], configuration: Mapping[str, Any], chain: BundleChain | None = None
) -> tuple[ModelCard, list[str]]:
    """Make a card of a bundle; no code runs.

    Parameters
    ----------
    name
        The folder's name.
    metadata
        Content of ``metadata.json``.
    configuration
        Content of ``inference.json``.
    chain
        Its preprocessing, which is run as it is; the card only describes it. None: there is none.

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
    windows = _sliding_window(configuration, unknown)
    inputs = []
    for key, entry in _table(data, "inputs").items():
        spec = {"name": str(key), **_input(entry, unknown, joined=windows is not None)}
        size = spec.pop("_size")
        if chain is not None:
            spec |= _described(chain, len(size))
        inputs.append(spec)
    if chain is None:
        unknown.append("what is done to an image first, so it is given as it is")
    elif len(inputs) == 1:
        # Images that the bundle puts together are inputs of their own, so that each has its map.
        n = inputs[0]["channels"]
        parts = len(chain.sources)
        each = n // parts if isinstance(n, int) and n % parts == 0 else 1
        inputs = [{**inputs[0], "name": source, "channels": each} for source in chain.sources]
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
        "notes": " ".join([*notes, *doubts, *([] if chain is None else [_steps(chain)])]),
    }
    return validate_card(content, "the card made of metadata.json"), doubts


def _table(data: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    found = data.get(key)
    if not isinstance(found, Mapping):
        return {}
    return {str(k): v for k, v in found.items() if isinstance(v, Mapping)}


def _sliding_window(configuration: Mapping[str, Any], unknown: list[str]) -> dict[str, Any] | None:
    """How the configuration's inferer runs windows over an image, where it says so in plain values."""
    values = Values(configuration)
    inferer = values.read(configuration.get("inferer"))
    if (
        not isinstance(inferer, Mapping)
        or str(inferer.get("_target_", "")).rpartition(".")[2] != "SlidingWindowInferer"
    ):
        return None
    roi, overlap, blend = inferer.get("roi_size"), inferer.get("overlap", 0.25), inferer.get("mode", "constant")
    plain = isinstance(roi, list) and all(isinstance(n, int) and n > 0 for n in roi)
    if not plain or not isinstance(overlap, (int, float)) or blend not in ("gaussian", "constant"):
        return None
    padding, value = inferer.get("padding_mode", "constant"), inferer.get("cval", 0.0)
    if padding != "constant" or value != 0:
        unknown.append(f"how an image smaller than a window is padded ({padding}), so it is padded with 0")
    if inferer.get("sigma_scale", 0.125) != 0.125:
        unknown.append("how wide the weights of its windows are, so an eighth of a window is taken")
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


def _described(chain: BundleChain, n_axes: int) -> dict[str, Any]:
    """Orientation, spacing and window of what the network gets, where a single step says them."""
    said: dict[str, Any] = {}
    for step in chain.steps:
        given = step.arguments
        if step.name == "Orientation" and isinstance(given.get("axcodes"), str):
            said["orientation"] = given["axcodes"].upper()[:n_axes]
            if len(set(said.get("spacing_mm") or ())) > 1:
                del said["spacing_mm"]
        elif step.name == "Spacing":
            said["spacing_mm"] = _spacing(given.get("pixdim"), n_axes)
        elif step.name in ("Flip", "Rotate90") or step.kind == "foreign":
            said.pop("orientation", None)
            said.pop("spacing_mm", None)
        elif step.name in ("Resize", "Zoom"):
            said.pop("spacing_mm", None)
    scaled = [s for s in chain.steps if s.kind in ("intensity", "foreign")]
    if len(scaled) == 1 and scaled[0].name == "ScaleIntensityRange" and scaled[0].arguments.get("clip"):
        said["window"] = [scaled[0].arguments["a_min"], scaled[0].arguments["a_max"]]
    return {k: v for k, v in said.items() if v}


def _spacing(pixdim: Any, n_axes: int) -> list[float] | None:
    each = pixdim if isinstance(pixdim, list) else [pixdim] * n_axes
    plain = len(each) == n_axes and all(isinstance(p, (int, float)) and p > 0 for p in each)
    return [float(p) for p in each] if plain else None


def _steps(chain: BundleChain) -> str:
    """The steps with their arguments, so that another preparation is another card."""
    content = repr([(s.name, s.keys, sorted(s.arguments.items(), key=str)) for s in chain.steps])
    mark = hashlib.sha256(content.encode()).hexdigest()[:12]
    return f"Its preprocessing is run by MONAI: {chain.words} ({mark})."


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
