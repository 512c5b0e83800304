"""Maps of the best network: which input made a region of its output, and what it took away that was not bone."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from regard.case.explaining import explain_case
from regard.core.explanation import Explanation
from regard.core.image_target import EdgeStrength, Mean
from regard.core.spatial import box_mean
from regard.core.target import AbstractTarget
from regard.core.volume import Volume
from regard.explainers.spec import MethodSpec, parse_methods
from regard.io import read_map, save_map
from regard.report.colours import common_scales
from regard.report.figures import overlay
from regard.studies.bone_suppression.config import TrainSection
from regard.studies.bone_suppression.material import Material
from regard.studies.bone_suppression.networks import whole_batch
from regard.studies.bone_suppression.pairs import Pairs, picture
from regard.studies.bone_suppression.phantoms import again
from regard.studies.scoring.bootstrap import Score, mean_score
from regard.studies.trained import among_its_own

__all__ = ["explain_cases", "explained", "maps_of", "reach", "region_of", "square_of", "target_of", "wrongly_removed"]


def explained(material: Material, n_cases: int | None = None) -> Pairs:
    """The test radiographs that are explained, those with a finding first; None: as many as have maps."""
    test = material.test
    order = sorted(range(len(test)), key=lambda n: test.kinds[n] in ("", "miliary"))
    return test.of(order[: n_cases or material.config.explain.n_cases])


def region_of(material: Material, cohort: Pairs, n: int) -> Tensor:
    """The region of the output that is explained, (row, column) of bool.

    The part of the finding, where one is known, in a square of twice the usual side around its middle; otherwise the
    square in which the best network takes most away, or behind bone in the lungs where they are known.
    """
    side = material.config.explain.region
    if bool(cohort.finding[n].any()) and cohort.kinds[n] != "miliary":
        places = torch.nonzero(cohort.finding[n]).float()
        middle = places[(places - places.mean(0)).square().sum(1).argmin()].long().tolist()
        around = torch.zeros_like(cohort.finding[n])
        rows, columns = (slice(max(0, m - side), m + side) for m in middle)
        around[rows, columns] = True
        return cohort.finding[n] & around
    taken = (cohort.images[n : n + 1] - whole_batch(material.network(material.best), cohort.images[n : n + 1])).abs()
    if bool(cohort.lung[n].any()):
        taken = taken * (cohort.lung[n] & cohort.bone[n])
    size = taken.shape[-1]
    mean = box_mean(taken, side | 1)[0, 0]
    half = side // 2
    inside = torch.zeros_like(mean)
    inside[half : size - half, half : size - half] = 1
    at = int((mean * inside).argmax())
    row, column = at // size, at % size
    region = torch.zeros(size, size, dtype=torch.bool)
    region[row - half : row + half, column - half : column + half] = True
    return region


def reach(name: str, section: TrainSection) -> int:
    """How far from a pixel of the output a network of the study sees [pixel]."""
    return {"ae-bs": 28, "convnet-bs": 7, "rl-bs": 9, "resnet-bs": 2 * section.resnet_blocks + 3}[name]


def square_of(material: Material, region: Tensor) -> tuple[slice, slice]:
    """Rows and columns of the square that holds all that a region of the output depends on.

    A pixel outside cannot change the region, as no layer reaches so far; on the square alone the region is the same,
    and a hundred questions cost what a few of the whole radiograph do. Squares of all regions are of one size, and lie
    on the grid of the autoencoder's halvings.
    """
    size = region.shape[-1]
    far = reach(material.best, material.config.train)
    side = min(size, 4 * math.ceil((2 * material.config.explain.region + 2 * far + 4) / 4))
    cuts = []
    for axis in (1, 0):
        at = torch.nonzero(region.any(axis)).flatten()
        middle = (int(at[0]) + int(at[-1])) // 2
        first = min(max(0, middle - side // 2), size - side) // 4 * 4
        cuts.append(slice(first, first + side))
    return cuts[0], cuts[1]


def target_of(spec: MethodSpec, region: Volume | Tensor) -> AbstractTarget:
    """What a method explains: LAM the edges of the region, as published; the others its mean."""
    if spec.name == "lam":
        return EdgeStrength(region, name="region")
    return Mean(region, name="region")


def specs_of(material: Material) -> list[MethodSpec]:
    """The methods."""
    return list(parse_methods(material.config.explain.methods))


def wrongly_removed(material: Material, cohort: Pairs, n: int) -> Tensor:
    """What the best network took away and should not have (above 0), or left (below 0), (row, column) [grey]."""
    network = material.network(material.best)
    found = whole_batch(network, cohort.images[n : n + 1])[0, 0].clamp(0, 1)
    return cohort.soft[n, 0] - found


def _region_volume(material: Material, cohort: Pairs, n: int) -> Volume:
    return picture(region_of(material, cohort, n).float(), "label", cohort.cases[n])


def maps_of(material: Material, cohort: Pairs, n: int) -> list[Explanation]:
    """Maps of one case, read back from the run folder; those that are not there are left out."""
    folder, found = material.run.folder, []
    for spec in specs_of(material):
        if folder.is_done(cohort.cases[n], spec.label):
            stored = read_map(folder.map_path(cohort.cases[n], spec.label))
            found.append(stored.explanation(cohort.volume(n)))
    return found


def explain_cases(material: Material) -> dict[str, dict[str, Score]]:
    """Make and save all maps; the scores say how far away what made the region lies, and what was wrongly removed."""
    cohort, folder = explained(material), material.run.folder
    model = material.model(material.best)
    model = among_its_own(model) if material.phantoms else model
    for n, case in enumerate(cohort.cases):
        material.run.stage(case, n, len(cohort))
        region = _region_volume(material, cohort, n)
        near = torch.zeros_like(cohort.images[n, 0])
        near[square_of(material, region_of(material, cohort, n))] = 1
        for spec in specs_of(material):
            if folder.is_done(case, spec.label):
                continue
            found = explain_case(
                model, cohort.volume(n), [spec], target=target_of(spec, region), seed=material.run.seed, case=case,
                # Hiding what no layer carries to the region would take most of the time.
                mask=picture(near, "label") if spec.method.takes_mask else None,
            ).explanations  # fmt: skip
            for explanation in found:
                save_map(explanation, folder.map_path(case, explanation.name))
    for n in range(min(material.config.explain.n_pictured, len(cohort))):
        shown = maps_of(material, cohort, n)
        scales = common_scales(shown)
        for explanation in shown:
            path = str(folder.map_path(cohort.cases[n], explanation.name))
            overlay(explanation, path.removesuffix(".nii.gz") + ".png", scale=scales)
    return {"explained": _near(material, cohort), **_dependence(material)}


def _near(material: Material, cohort: Pairs) -> dict[str, Score]:
    """Share of each map's size that lies in the explained region or within 8 pixels of it."""
    values: dict[str, list[float]] = {}
    for n in range(len(cohort)):
        region = region_of(material, cohort, n)
        near = box_mean(region[None, None].float(), 17)[0, 0] > 0
        for explanation in maps_of(material, cohort, n):
            size = explanation.relevance.tensor[0, :, :, 0].T.abs().nan_to_num()
            share = float((size * near).sum() / size.sum().clamp_min(1e-30))
            values.setdefault(explanation.name, []).append(share)
    return {f"share_near_region_{k}": mean_score(v, list(cohort.patients)[: len(v)]) for k, v in values.items()}


def _dependence(material: Material) -> dict[str, dict[str, Score]]:
    """What moving one thing from nothing to all does to the mean of the region, in the best network and in truth.

    What a perfect suppressor gives: all of the finding, none of the bone, none of the letter.
    """
    if not material.phantoms:
        return {}
    network, cohort = material.network(material.best), material.test
    with_finding = [n for n, kind in enumerate(cohort.kinds) if kind]
    values: dict[str, list[float]] = {}
    for n in with_finding:
        weights = region_of(material, cohort, n).float()
        goal = Mean(weights)
        names = ("finding", "bone", "marker")
        changes: Sequence[dict[str, float]] = [{f: v} for f in names for v in (0.0, 1.0)]
        images, _ = again(material.run, material.config, cohort.patients[n], changes)
        with torch.no_grad():
            out, plain = goal(whole_batch(network, images)), goal(images)
        for k, name in enumerate(names):
            values.setdefault(f"change_{name}", []).append(float(out[2 * k + 1] - out[2 * k]))
            values.setdefault(f"change_{name}_in_radiograph", []).append(float(plain[2 * k + 1] - plain[2 * k]))
    patients = [cohort.patients[n] for n in with_finding]
    return {"depends": {k: mean_score(v, patients, "grey") for k, v in values.items()}} if values else {}
