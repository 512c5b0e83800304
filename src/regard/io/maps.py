"""Explanations to NIfTI with a JSON sidecar, and back."""

import gzip
import hashlib
import io
import logging
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from regard.core.errors import CardError, FileError
from regard.core.explanation import Explanation, NetworkMap
from regard.core.quantity import Quantity, Sign
from regard.core.volume import Volume
from regard.io.atomic import write_bytes, write_json
from regard.io.names import MAP_ENDINGS, check_labels, map_stem, without_map_ending
from regard.io.network_maps import network_volumes, read_network_map
from regard.io.nifti import read_nifti
from regard.io.nifti_forms import holds_no_shear, place
from regard.io.schema import read_json
from regard.io.signal_maps import ALL_LEADS, of_leads, read_signal_map, signal_facts, table_bytes

__all__ = [
    "SIDECAR",
    "StoredMap",
    "check_labels",
    "map_is_whole",
    "map_stem",
    "nifti_bytes",
    "read_map",
    "save_map",
    "save_volume",
    "set_verdict",
    "sidecar",
]

logger = logging.getLogger(__name__)

_MADE = ("seed", "batch_size", "threads", "device", "versions", "weights_sha256", "inputs_sha256")

SIDECAR = (
    *("case", "method", "knobs", "form", "quantity", "unit", "sign", "target", "layer", "prediction", "reference"),
    *("completeness_error", "outside", *_MADE, "verdict"),
)
"""The keys of a sidecar after ``schema``, in their order; further keys follow them."""

FILES = "files_sha256"
"""Key of a sidecar: name to checksum of each file of the map."""

_NUMBER = (int, float, type(None))
_UNCERTAINTY = {"standard_error": "se", "spread": "spread", "agreement": "agreement"}


@dataclass(frozen=True, eq=False)
class StoredMap:
    """A map as it was read back from a run folder.

    Parameters
    ----------
    relevance
        Volume of one channel on the scan's grid.
    sidecar
        Everything that its JSON file says.
    standard_error, spread, agreement
        Uncertainty, where it was saved.
    on_network
        The map on the network's grid, with three axes; None for maps of earlier versions.
    by_lead
        Of a signal, the map of each lead.
    """

    relevance: Volume
    sidecar: Mapping[str, Any]
    standard_error: Volume | None = None
    spread: Volume | None = None
    agreement: Volume | None = None
    on_network: NetworkMap | None = None
    by_lead: Volume | None = None

    def explanation(self, scan: Volume) -> Explanation:
        """The explanation again, of the ``scan`` that it was made of.

        Raises
        ------
        FileError
            If the scan has another grid than the map.
        """
        if not scan.grid.matches(self.relevance.grid, tolerance_mm=1e-2):
            got = f"a scan of {scan.shape} for a map of {self.relevance.shape} of case '{self.sidecar['case']}'"
            raise FileError(got, "the scan that was explained, on the same grid", "restore the image of inputs.tsv")
        said = self.sidecar
        scan = of_leads(scan, said)
        prediction = said["prediction"]
        return Explanation(
            relevance=self.relevance,
            scan=scan,
            case=said["case"],
            method=said["method"],
            quantity=Quantity(said["quantity"]),
            sign=Sign(said["sign"]),
            unit=said["unit"],
            prediction=float("nan") if prediction is None else float(prediction),
            target=said["target"],
            output_unit=said.get("output_unit", "a.u."),
            label=said.get("label", ""),
            input=said.get("input"),
            knobs=said["knobs"],
            form=said["form"],
            layer=said["layer"],
            reference=said["reference"],
            completeness_error=said["completeness_error"],
            outside=said["outside"] or 0.0,
            standard_error=self.standard_error,
            spread=self.spread,
            agreement=self.agreement,
            made={key: said[key] for key in _MADE if said.get(key) is not None},
            notes=said.get("notes", {}),
            warnings=tuple(said.get("warnings", ())),
            verdict=said["verdict"],
            on_network=self.on_network,
            by_lead=self.by_lead,
            target_name=said.get("target_name", ""),
        )


def sidecar(explanation: Explanation) -> dict[str, Any]:
    """What the JSON file beside a map says, without ``schema``: the keys of `SIDECAR`, then further ones."""
    made = explanation.made
    said: dict[str, Any] = {
        "case": explanation.case,
        "method": explanation.method,
        "knobs": dict(explanation.knobs),
        "form": explanation.form,
        "quantity": str(explanation.quantity),
        "unit": explanation.unit,
        "sign": str(explanation.sign),
        "target": explanation.target,
        "layer": explanation.layer,
        "prediction": explanation.prediction,
        "reference": None if explanation.reference is None else dict(explanation.reference),
        "completeness_error": explanation.completeness_error,
        "outside": explanation.outside,
        **{key: made.get(key) for key in _MADE},
        "verdict": explanation.verdict,
    }
    return {
        **{key: said[key] for key in SIDECAR},
        "label": explanation.name,
        "input": explanation.input,
        "output_unit": explanation.output_unit,
        **({"target_name": explanation.target_name} if explanation.target_name else {}),
        "has_geometry": explanation.scan.has_geometry,
        "notes": dict(explanation.notes),
        "warnings": list(explanation.warnings),
        "scan_header": dict(explanation.scan.header),
        **({"signal": facts} if (facts := signal_facts(explanation.scan)) else {}),
    }


def nifti_bytes(volume: Volume, description: str, *, packed: bool = True) -> bytes:
    """A volume as a NIfTI-1 file: float32, unscaled, placed as `regard.io.nifti_forms.place` says.

    The same volume gives the same bytes.

    Parameters
    ----------
    volume
        One channel, or several on a fourth axis.
    description
        At most 79 characters.
    packed
        Whether to compress.
    """
    array = volume.tensor.detach().cpu().numpy().astype(np.float32)
    data = array[0] if len(array) == 1 else np.moveaxis(array, 0, 3)
    largest = max(data.shape)
    image_class = nibabel.Nifti1Image if largest < 2**15 else nibabel.Nifti2Image
    image = image_class(data, volume.affine)
    image.header["descrip"] = description.encode("ascii", "replace")[:79]
    out = io.BytesIO()
    image.to_stream(out)
    # No time and no file name go into the compressed file: equal maps are equal files.
    content = place(out.getvalue(), volume)
    return gzip.compress(content, 6, mtime=0) if packed else content


def save_volume(volume: Volume, path: str | Path, description: str = "regard") -> None:
    """Write a volume as NIfTI (``.nii.gz`` or ``.nii``), whole or not at all; see `nifti_bytes`."""
    write_bytes(path, nifti_bytes(volume, description, packed=str(path).lower().endswith(".gz")))


def _stem(path: str | Path) -> tuple[Path, str]:
    """A map's path without its ending, and the ending."""
    path = Path(path)
    for ending in MAP_ENDINGS:
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return path.with_name(path.name[: -len(ending)]), path.name[-len(ending) :]
    raise FileError(f"'{path}' for a map", "a name that ends in .nii.gz, or .tsv of a signal", "give it that ending")


def _content(volume: Volume, description: str, ending: str, columns: Sequence[str]) -> bytes:
    """The file of a map: NIfTI, or of a signal a table."""
    if ending != ".tsv":
        return nifti_bytes(volume, description, packed=ending == ".nii.gz")
    named = list(columns) if len(columns) == volume.n_channels else [str(k + 1) for k in range(volume.n_channels)]
    return table_bytes(volume, [ALL_LEADS] if volume.n_channels == 1 and len(columns) != 1 else named)


def _beside(stem: Path, word: str, ending: str) -> Path:
    """Path of an uncertainty map beside the map."""
    return stem.with_name(f"{stem.name.removesuffix('_relevance')}_{word}{ending}")


def save_map(explanation: Explanation, path: str | Path) -> None:
    """Write an explanation: NIfTI float32 with the scan's shape and affine, and a JSON sidecar beside it.

    Uncertainty goes to ``..._se``, ``..._spread`` and ``..._agreement`` beside the map, and the map as the network saw
    it to ``..._space-network_desc-<label>_relevance``, with the reference it was counted from and the parts that it
    took together. The sidecar is written last: a map that has one is complete.

    Parameters
    ----------
    explanation
        The explanation.
    path
        Path of the map, ending in ``.nii.gz`` or ``.nii``; of a signal in ``.tsv``, a column a lead.

    Raises
    ------
    FileError
        If the ending is not that of its kind, the disk is full, or the place cannot be written to.
    """
    stem, ending = _stem(path)
    if (ending == ".tsv") != (explanation.scan.signal is not None):
        kind, wanted = ("an image", ".nii.gz") if explanation.scan.signal is None else ("a signal", ".tsv")
        raise FileError(f"'{path}' for the map of {kind}", f"a name that ends in {wanted}", "give it that ending")
    volumes = {Path(path): (explanation.by_lead or explanation.relevance, f"regard {explanation.quantity}")}
    for name, word in _UNCERTAINTY.items():
        volume = getattr(explanation, name)
        if volume is not None:
            volumes[_beside(stem, word, ending)] = (volume, f"regard {word}")
    scan = explanation.scan
    on_scan = {
        target: (replace(v, affine=scan.affine, has_geometry=scan.has_geometry, stored=scan.stored), description)
        for target, (v, description) in volumes.items()
    }
    sums = {}
    leads = () if scan.signal is None else scan.signal.leads
    for target, (volume, description) in {**on_scan, **network_volumes(explanation, stem, ending)}.items():
        content = _content(volume, description, ending, leads)
        write_bytes(target, content)
        sums[target.name] = hashlib.sha256(content).hexdigest()
    if holds_no_shear(scan):
        logger.warning(
            "%s: its affine has a shear (a tilted gantry), which a qform cannot hold; programs that read the qform "
            "alone place the map with its slices at right angles",
            explanation.case,
        )
    said = {**sidecar(explanation), FILES: sums}
    write_json(stem.with_name(stem.name + ".json"), "explanation", said)


def map_is_whole(path: Path, said: Mapping[str, Any]) -> bool:
    """Whether the files of a map are there as they were saved; of a sidecar without checksums, whether they are there.

    Parameters
    ----------
    path
        The map.
    said
        What its sidecar says.
    """
    sums = said.get(FILES)
    if not isinstance(sums, Mapping) or not all(isinstance(name, str) for name in sums):
        return path.exists()
    try:
        return bool(sums) and all(
            hashlib.sha256((path.parent / Path(name).name).read_bytes()).hexdigest() == known
            for name, known in sums.items()
        )
    except OSError:
        return False


def read_map(path: str | Path) -> StoredMap:
    """Read a map and its uncertainty back.

    Parameters
    ----------
    path
        The map's sidecar, the map itself, or their path without an ending.

    Raises
    ------
    FileError
        If a file is missing or corrupt.
    CardError
        If the sidecar is of another kind or of a newer Regard, or lacks a key.
    """
    path = Path(path)
    name = without_map_ending(path.name.removesuffix(".json"))
    stem = path.with_name(name)
    said = read_json(stem.with_name(name + ".json"), "explanation")
    lacking = [key for key in SIDECAR if key not in said]
    if lacking:
        got = f"'{stem}.json' without {', '.join(lacking)}"
        raise CardError(got, "all keys of a sidecar", "explain the case again")
    _check_sidecar(said, stem)
    ending = next((e for e in (".nii.gz", ".tsv") if stem.with_name(name + e).exists()), ".nii")
    whole = stem.with_name(name + ending)
    if whole.exists() and not map_is_whole(whole, said):
        got = f"the map '{whole}', or its uncertainty, which is not as it was saved"
        raise FileError(got, "the files that its sidecar names, unchanged", "explain the case again")
    has_geometry = bool(said.get("has_geometry", True))

    def volume(place: Path, unit: str) -> Volume:
        if not place.exists():
            raise FileError(f"no map '{place}' beside its sidecar", "both files", "explain the case again")
        if ending == ".tsv":
            return read_signal_map(place, said, unit)[0]
        return replace(read_nifti(place), unit=unit, has_geometry=has_geometry, source="")

    relevance = volume(stem.with_name(name + ending), said["unit"])
    more: dict[str, Volume] = {}
    for key, word in _UNCERTAINTY.items():
        place = _beside(stem, word, ending)
        if place.exists():
            more[key] = volume(place, "" if key == "agreement" else said["unit"])
    by_lead = read_signal_map(stem.with_name(name + ending), said, said["unit"])[1] if ending == ".tsv" else None
    return StoredMap(relevance, said, **more, on_network=read_network_map(stem, ending), by_lead=by_lead)


def _check_sidecar(said: Mapping[str, Any], stem: Path) -> None:
    """Refuse a sidecar whose values are not of the kind that a map has.

    Raises
    ------
    CardError
        If one is not; the key is named.
    """
    texts = dict.fromkeys(("case", "method", "form", "unit", "target"), (str,))
    optional = {"layer": (str, type(None)), "knobs": (Mapping,), "prediction": _NUMBER, "outside": _NUMBER}
    kinds: dict[str, tuple[type, ...]] = {**texts, **optional, "completeness_error": _NUMBER}
    wrong = [key for key, kind in kinds.items() if not isinstance(said[key], kind)]
    wrong += [key for key, known in (("quantity", Quantity), ("sign", Sign)) if said[key] not in [*known]]
    wrong += [key for key in ("output_unit", "label", "target_name") if not isinstance(said.get(key, ""), str)]
    wrong += [key for key, kind in (("notes", dict), ("warnings", list)) if not isinstance(said.get(key, kind()), kind)]
    if wrong:
        got = f"{wrong[0]}: {reprlib.repr(said.get(wrong[0]))} in '{stem}.json'"
        raise CardError(got, "the value that explain wrote", "explain the case again")


def set_verdict(path: str | Path, verdict: str) -> None:
    """Fill ``verdict`` in a sidecar, and change nothing else.

    Parameters
    ----------
    path
        The sidecar.
    verdict
        ``"supported"``, ``"not supported"`` or ``"undetermined"``.
    """
    if verdict not in ("supported", "not supported", "undetermined"):
        raise CardError(f"the verdict '{verdict}'", "supported, not supported or undetermined")
    said = read_json(path, "explanation")
    said.pop("schema")
    write_json(path, "explanation", {**said, "verdict": verdict})
