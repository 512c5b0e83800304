"""Reading one CT with the networks of a finished run: slice, outline, density of the three cases, maps."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from regard.case.explaining import explain_case
from regard.core.errors import FolderError
from regard.core.explanation import Explanation
from regard.core.volume import Volume
from regard.datasets.bone_density import slices_through_l1
from regard.explainers.spec import MethodSpec
from regard.io import Case
from regard.io.records import read_run
from regard.models import Ensemble, Model, load_model
from regard.models.card import Standard
from regard.studies.bmd.cohort import Scale
from regard.studies.bmd.config import CASES
from regard.studies.bmd.networks import HOOKED, SEGMENTATION, masked, outlined, predicted

__all__ = ["Reading", "read_ct"]


@dataclass(frozen=True, eq=False)
class Reading:
    """What a run's networks make of one CT.

    Parameters
    ----------
    image
        The slice that they saw [HU], one slice thick, with its place in the scan's millimetres.
    outline
        On its grid: 1 where the segmentation network sees L1's body, 2 where it sees the rest of L1.
    densities
        Mean of the networks of each case [g/cm2].
    explanations
        Maps of the networks of case 1.
    warnings
        In what the CT leaves what the networks were trained on.
    """

    image: Volume
    outline: Volume
    densities: Mapping[int, float]
    explanations: Sequence[Explanation]
    warnings: tuple[str, ...]


def _members(folder: Path, case: int) -> list[Model]:
    names = [p for p in folder.glob("models/*/card.yaml") if re.fullmatch(rf"case{case}-member\d+", p.parent.name)]
    if not names:
        raise FolderError(f"'{folder}' without networks of case {case}", "a finished run of the study bmd", "run it")
    return [load_model(p.parent) for p in sorted(names, key=lambda p: int(p.parent.name.rpartition("member")[2]))]


def _scale(model: Model) -> Scale:
    normalise = model.card.inputs[0].normalise
    if not isinstance(normalise, Standard) or isinstance(normalise.mean, tuple) or isinstance(normalise.std, tuple):
        raise FolderError(
            f"'{model.source}' without the training set's scale", "a run of the study bmd", "run it again"
        )
    return Scale(normalise.mean, normalise.mean + normalise.std)


def read_ct(run: str | Path, case: Case, methods: Sequence[str | MethodSpec] = ()) -> Reading:
    """Read one CT with the networks of a run.

    Parameters
    ----------
    run
        Folder of a run of the study, trained.
    case
        The CT in HU, with L1's place in the column ``l1`` (a mask, or a height in mm), or an image of one slice.
    methods
        Maps of the networks of case 1 that are wanted.

    Raises
    ------
    FolderError
        If the run holds no trained networks.
    InputError
        If the image is not CT in HU, or L1's place is not known.
    """
    folder = Path(run)
    config = read_run(folder).get("config") or {}
    models = {k: _members(folder, k) for k in CASES}
    spec = models[1][0].card.inputs[0]
    assert spec.shape is not None
    assert spec.spacing_mm is not None
    (cut,) = slices_through_l1(
        case,
        shape=(spec.shape[0], spec.shape[1]),
        spacing_mm=spec.spacing_mm[0],
        slice_mm=float(config["data"]["slice_mm"]),
        offsets_mm=(0.0,),
    )
    image = cut.image.tensor[0, :, :, 0].T[None, None].contiguous()
    segmentation = load_model(folder / "models" / SEGMENTATION)
    shares = outlined(segmentation, image, _scale(segmentation))
    body, vertebra = shares[0] >= 0.5
    outline = torch.where(body, 1, torch.where(vertebra, 2, 0)).float().T[None, :, :, None].contiguous()
    scale, below = _scale(models[1][0]), float(config["train"]["segmented_below"])
    densities = {k: float(predicted(models[k], masked(image, shares, k, below), scale).mean()) for k in CASES}
    ensemble = Ensemble(models[1]) if len(models[1]) > 1 else models[1][0]
    asked = methods or ("grad-ram",)
    found = explain_case(ensemble, cut.image, asked, layer=HOOKED, case=case.case).explanations
    warnings = tuple(dict.fromkeys(w for e in found for w in e.warnings))
    return Reading(
        cut.image, cut.image.with_tensor(outline, unit="label"), densities, found if methods else (), warnings
    )
