"""A map as the network saw it, on the network's own grid: what `regard weigh` judges, beside the map on the scan's."""

from collections.abc import Mapping
from pathlib import Path

from regard.core.explanation import Explanation, NetworkMap
from regard.core.volume import Volume
from regard.io.names import on_network
from regard.io.nifti import read_nifti
from regard.io.signal_maps import read_columns

__all__ = ["network_volumes", "read_network_map"]

_WORDS = ("relevance", "reference", "parts")


def _place(stem: Path, word: str, ending: str) -> Path:
    name = on_network(stem.name)
    return stem.with_name(f"{name.removesuffix('_relevance')}_{word}{ending}")


def network_volumes(explanation: Explanation, stem: Path, ending: str) -> Mapping[Path, tuple[Volume, str]]:
    """What is written of a map on the network's grid: itself, its own reference and parts, by path, with a description.

    Parameters
    ----------
    explanation
        The explanation; nothing is written of one that was not made on a network's grid.
    stem
        Path of the map on the scan's grid, without its ending.
    ending
        ``".nii.gz"`` or ``".nii"``.
    """
    seen = explanation.on_network
    found: dict[Path, tuple[Volume, str]] = {}
    if seen is None or seen.grid is None:
        return found
    reference = None if seen.given else seen.reference
    for word, tensor in zip(_WORDS, (seen.relevance, reference, seen.parts), strict=True):
        if tensor is not None:
            placed = tensor.detach().cpu().float().reshape(-1, *seen.grid.shape)
            volume = Volume(placed, seen.grid.affine, has_geometry=explanation.scan.has_geometry)
            found[_place(stem, word, ending)] = (volume, f"regard {word} on the network's grid")
    return found


def read_network_map(stem: Path, ending: str) -> NetworkMap | None:
    """The map on the network's grid, with three axes; None where there is none, as in runs of earlier versions."""
    tensors = {}
    for word in _WORDS:
        place = _place(stem, word, ending)
        if place.exists() and ending == ".tsv":
            tensors[word] = read_columns(place)[1][..., None, None]
        elif place.exists():
            tensors[word] = read_nifti(place).tensor
    if "relevance" not in tensors:
        return None
    reference, parts = tensors.get("reference"), tensors.get("parts")
    return NetworkMap(
        tensors["relevance"][None],
        None if reference is None else reference[None],
        None if parts is None else parts[0].round().long(),
    )
