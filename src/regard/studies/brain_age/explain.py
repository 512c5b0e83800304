"""Explaining a cohort: maps of every explained subject by every method, in one pass that can be interrupted."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from regard.case.explaining import explain_case
from regard.cohort import Explaining, ThisProcess, run_cases
from regard.cohort.engine import Cohort as Explained
from regard.cohort.question import Question
from regard.cohort.store import MapStore, open_maps
from regard.core.errors import InputError
from regard.core.explanation import Explanation
from regard.core.volume import Volume
from regard.explainers.learned.atlas import atlas_share
from regard.explainers.learned.extent import ExtentRow, extent_curve
from regard.io import Case, read_map, read_table, save_map, save_volume
from regard.io.atomic import write_text, write_tsv
from regard.phantoms.brain import REGIONS, atlas
from regard.phantoms.brain.atlas import index_of
from regard.report.colours import common_scales
from regard.report.figures import overlay
from regard.studies.brain_age.cohort import Cohort, prepared
from regard.studies.brain_age.material import Material
from regard.studies.brain_age.networks import age_target
from regard.studies.brain_age.noise import LEARNED, noise_knobs
from regard.studies.scoring.bootstrap import Score, mean_score
from regard.studies.trained import among_its_own

__all__ = [
    "ATLAS",
    "OUTSIDE",
    "SPACE",
    "explain_all",
    "explained_cohort",
    "extent_rows",
    "function_of",
    "label_regions",
    "map_of",
    "pictured",
    "write_cases",
]

SPACE = "MNI152NLin2009aSym"
"""Space of the phantom's template."""

ATLAS = "atlas_space-MNI152NLin2009aSym.nii.gz"
"""Regions on the grid of the maps."""

OUTSIDE = ("skull and scalp", "occipital remnant")
"""Regions around the brain: they are outside the mask, and in no table."""

_MASK = "mask.nii.gz"
_REFERENCE = "reference.nii.gz"
_KEPT = "explain"


def label_regions(affine: np.ndarray, shape: Sequence[int]) -> Tensor:
    """Number of the phantom's region that fills most of each voxel, (i, j, k); 0 outside the brain.

    Parameters
    ----------
    affine
        Matrix (4, 4): voxel index to MNI152 mm; axes along x, y and z.
    shape
        Number of voxels (i, j, k).
    """
    regions = atlas()
    matrix = torch.tensor(affine, dtype=torch.float32)
    points = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in shape], indexing="ij"))
    points = torch.einsum("ab,bijk->aijk", matrix[:3, :3], points) + matrix[:3, 3].reshape(3, 1, 1, 1)
    step = float(matrix[0, 0])
    n = max(1, round(step / 2))
    offsets = [(o + 0.5) * step / n - step / 2 for o in range(n)]
    counts = torch.zeros(len(REGIONS), *shape)
    for offset in itertools.product(offsets, repeat=3):
        grid = regions.lattice.normalised(points + torch.tensor(offset).reshape(3, 1, 1, 1)).movedim(0, -1)[None]
        labels = regions.labels[None, None].float()
        at = functional.grid_sample(labels, grid, mode="nearest", align_corners=True)[0, 0].long()
        counts.scatter_add_(0, at[None], torch.ones(1, *at.shape))
    found = counts.argmax(0)
    found[torch.isin(found, torch.tensor([index_of(name)[0] for name in OUTSIDE]))] = 0
    return found


def write_cases(material: Material) -> list[Case]:
    """Write the explained subjects, the regions and the brain mask as files that `regard cohort` takes too."""
    cohort, folder = material.explained, material.run.path / "cases"
    table = folder / "cases.tsv"
    if not table.exists():
        for n, name in enumerate(cohort.cases):
            save_volume(_scan(cohort, n), folder / f"{name}.nii.gz", "brain")
        save_volume(_scan(material.learn, material.reference), folder / _REFERENCE, "reference")
        labels = label_regions(cohort.affine, cohort.grid.shape)
        save_volume(Volume(labels[None].float(), cohort.affine, "label"), folder / ATLAS, "regions")
        save_volume(Volume((labels > 0)[None].float(), cohort.affine, "label"), folder / _MASK, "brain mask")
        write_text(folder / "atlas.tsv", atlas().table())
        columns = sorted({name for row in cohort.columns for name in row})
        rows = [
            (name, f"{name}.nii.gz", patient, f"{age:.4f}", *(row.get(c, "") for c in columns))
            for name, patient, age, row in zip(
                cohort.cases, cohort.patients, cohort.ages.tolist(), cohort.columns, strict=True
            )
        ]
        write_tsv(table, ("case", "image", "patient", "label", *columns), rows)
    return read_table(table)


def function_of(material: Material, folder: Path) -> Explaining:
    """What is done with every case."""
    cohort = material.explained
    question = Question(
        model=material.model_folder,
        methods=tuple(str(s) for s in material.methods),
        target="expectation" if material.model.card.output.bins is not None else "output",
        reference=str(folder / _REFERENCE),
        mask=str(folder / _MASK),
        seed=material.run.seed,
        device=material.run.device,
    )
    return Explaining(
        question,
        shape=cohort.grid.shape,
        affine=tuple(float(v) for v in cohort.affine.ravel()),
        atlas=str(folder / ATLAS),
        atlas_table=str(folder / "atlas.tsv"),
        null=material.config.explain.null,
    )


def explained_cohort(material: Material) -> tuple[Explained, list[Case], Explaining]:
    """What came of every explained subject, the cases, and what was done; goes on where it was cut off."""
    run = material.run
    cases = write_cases(material)
    function = function_of(material, run.path / "cases")
    names = [s.label for s in material.methods]
    store = MapStore(run.path / "maps.zarr", [c.case for c in cases], function.grid, names)

    def told(said: str, settled: int, total: int) -> None:
        run.stage(said, settled, total)

    threads = max(1, torch.get_num_threads())
    found = run_cases(
        function, cases, run.path / "checkpoints" / _KEPT, ThisProcess(threads), store=store, progress=told,
        on_failure=lambda case, error: run.folder.add_failure_in_words(
            case.case, "explain", error.error_type, error.message
        ),
    )  # fmt: skip
    if not found.rows:
        raise InputError("no subject that could be explained", "at least one", f"see {run.path / 'failures.tsv'}")
    return found, cases, function


def map_of(material: Material, method: str, n: int) -> Tensor:
    """A stored map of an explained subject, (1, 1, i, j, k), 0 where nothing was seen."""
    values = np.asarray(open_maps(material.run.path / "maps.zarr")[method][n])
    return torch.from_numpy(np.nan_to_num(values)).double()[None, None]


def _pictures(material: Material) -> None:
    """Maps, sidecars and pictures of the subjects that the report shows."""
    folder, cohort = material.run.folder, material.explained
    model = among_its_own(material.model) if material.phantoms else material.model
    for n in range(min(material.config.explain.n_pictured, len(cohort))):
        case = cohort.cases[n]
        left = [s for s in material.methods if not folder.is_done(case, s.label)]
        if left:
            mask = Volume((label_regions(cohort.affine, cohort.grid.shape) > 0)[None].float(), cohort.affine, "label")
            found = explain_case(
                model, _scan(cohort, n), left, target=age_target(model), mask=mask,
                reference=_scan(material.learn, material.reference), seed=material.run.seed, case=case,
            ).explanations  # fmt: skip
            for explanation in found:
                save_map(explanation, folder.map_path(case, explanation.name))
    for n in range(min(material.config.explain.n_pictured, len(cohort))):
        shown = pictured(material, n)
        scales = common_scales(shown)
        for explanation in shown:
            path = str(folder.map_path(cohort.cases[n], explanation.name))
            overlay(explanation, path.removesuffix(".nii.gz") + ".png", scale=scales)


def _scan(cohort: Cohort, n: int) -> Volume:
    volume = cohort.volume(n)
    return volume if volume.n_channels == 1 else volume.with_tensor(prepared(volume.tensor[None])[0])


def pictured(material: Material, n: int) -> list[Explanation]:
    """Maps of a subject as they were saved."""
    folder, case = material.run.folder, material.explained.cases[n]
    labels = [s.label for s in material.methods if folder.is_done(case, s.label)]
    return [read_map(folder.map_path(case, label)).explanation(_scan(material.explained, n)) for label in labels]


def extent_rows(material: Material) -> list[ExtentRow]:
    """Extent of the maps against lambda, over a few explained subjects."""
    section = material.config.explain
    n = min(section.n_extent, len(material.explained))
    if not n:
        return []

    def make() -> dict[str, object]:
        knobs = noise_knobs(material.config, material.spread)
        spec = next((s for s in material.methods if s.name == "noise-map" and s.label != LEARNED), None)
        own = {} if spec is None else dict(spec.knobs)
        settings = {k: v for k, v in {**knobs, **own}.items() if k != "strength"}
        rows = []
        images = prepared(material.explained.images[:n])
        for case, image in zip(material.explained.cases, images, strict=False):
            rows.append(
                extent_curve(
                    material.model.network,
                    image[None],
                    age_target(material.model),
                    strengths=section.strengths,
                    knobs=settings,
                    seed=material.run.seed,
                    case=case,
                )
            )
        return {"rows": [[vars(row) for row in one] for one in rows]}

    found = [[ExtentRow(**row) for row in one] for one in material.run.record("explain/extent", make)["rows"]]
    return [_mean_row([one[k] for one in found]) for k in range(len(section.strengths))]


def _mean_row(rows: Sequence[ExtentRow]) -> ExtentRow:
    def mean(name: str) -> float:
        return float(np.mean([getattr(r, name) for r in rows]))

    def root(name: str) -> float:
        return float(np.sqrt(np.mean([getattr(r, name) ** 2 for r in rows])))

    return replace(
        rows[0],
        mean_noise=mean("mean_noise"),
        share_important=mean("share_important"),
        prediction_change=root("prediction_change"),
        strongest_change=root("strongest_change"),
        n_cases=len(rows),
    )


def explain_all(material: Material) -> dict[str, dict[str, Score]]:
    """Make all maps; the scores say what the noise of each map does to the prediction, and how alike the maps are."""
    found, _, _ = explained_cohort(material)
    _pictures(material)
    extent_rows(material)
    patients = [str(row["patient"]) for row in found.rows.values()]
    scores: dict[str, dict[str, Score]] = {}
    for spec in (s for s in material.methods if s.name == "noise-map"):
        group = {}
        notes = [row["maps"][spec.label]["notes"] for row in found.rows.values()]
        for name, unit in _NOTED.items():
            values = [float(n[name]) for n in notes if n.get(name) is not None]
            if len(values) == len(patients):
                group[name] = mean_score(values, patients, unit)
        scores[f"noise_{spec.label}"] = group
    return scores | _atlas_scores(material, list(found.rows), patients)


_NOTED = {
    "prediction_change_rms": "year",
    "prediction_change_rms_strongest_noise": "year",
    "mean_noise": "1",
    "share_important": "1",
}


def _atlas_scores(material: Material, rows: Sequence[int], patients: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Whether learned maps are one atlas: the share of their variance that one common map explains.

    Beside it the correlation of what is a subject's own in the learned map with what is its own in the map that was
    found for it alone: 0 for a noise model that learned an atlas only.
    """
    specs = [s.label for s in material.methods if s.name == "noise-map"]
    if len(rows) < 2 or not specs:
        return {}
    store = open_maps(material.run.path / "maps.zarr")
    maps = {label: np.asarray(store[label])[list(rows)] for label in specs}
    n = len(rows)
    group = {}
    for label, values in maps.items():
        group[f"atlas_share_{label}"] = Score(
            atlas_share(values), float("nan"), float("nan"), 0.95, n, len(set(patients)), "1"
        )
    direct = next((label for label in specs if label != LEARNED), None)
    if LEARNED in maps and direct is not None:
        ours, theirs = (maps[label] - maps[label].mean(0) for label in (LEARNED, direct))
        seen = np.isfinite(ours).all(0) & np.isfinite(theirs).all(0)
        own = [float(np.corrcoef(a[seen], b[seen])[0, 1]) for a, b in zip(ours, theirs, strict=True)]
        group["own_part_correlation"] = mean_score(own, patients)
    return {"atlas": group}
