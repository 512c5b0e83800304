"""Maps of held-out cases: the classifier on radiographs, on images without bones, and through the suppressor."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from regard.case.explaining import explain_case
from regard.core.explanation import Explanation
from regard.explainers.spec import MethodSpec, parse_methods
from regard.io import read_map, save_map
from regard.models import Model
from regard.report.colours import common_scales
from regard.report.figures import overlay
from regard.studies.scoring.bootstrap import Score
from regard.studies.trained import among_its_own
from regard.studies.tuberculosis.boxes import box_scores
from regard.studies.tuberculosis.material import Material
from regard.studies.tuberculosis.networks import EXPLAINED, TARGET, as_prepared

__all__ = ["CAMS", "FOLD", "asked", "base_label", "explain_cases", "explained", "kind_of", "maps_of", "plan"]

CAMS = ("crm", "grad-cam", "grad-cam++", "layer-cam", "score-cam", "ablation-cam", "hires-cam", "random-cam")
"""Methods that look at the last convolution."""

FOLD = 0
"""The fold whose network and test cases are explained: one network, so that a verdict is about one."""

_PUBLISHED = ("crm",)


def explained(material: Material, ill: bool = True) -> np.ndarray:
    """Rows of the test cases that are explained, one a patient: the first ill (or well) ones of the first fold."""
    cohort, wanted = material.cohort, material.config.explain.n_cases
    seen: dict[str, int] = {}
    for row in material.tested(FOLD):
        if cohort.ill[row] == ill:
            seen.setdefault(cohort.patients[row], int(row))
    return np.array(list(seen.values())[:wanted], dtype=int)


def base_label(label: str) -> str:
    """A map's method without what it was made of."""
    return label.removesuffix("-suppressed").removesuffix("-chain")


def _labelled(spec: MethodSpec, ending: str, **knobs: object) -> MethodSpec:
    return MethodSpec(spec.name, {**spec.knobs, **knobs}, f"{spec.label}-{ending}" if ending else spec.label)


def plan(material: Material) -> dict[str, list[MethodSpec]]:
    """Methods by what is explained.

    ``"plain"``: the classifier of radiographs; ``"suppressed"``: that of images without bones, on such an image;
    ``"chain"``: the same through the suppressor, on the radiograph, for methods that look past the classifier's layers.
    """
    specs = parse_methods(material.config.explain.methods)
    published = [_labelled(s, "published", form="published") for s in specs if s.name in _PUBLISHED]
    found = {"plain": specs + published}
    if "suppressed" in material.arms:
        found["suppressed"] = [_labelled(s, "suppressed") for s in specs]
        if material.suppression is not None and material.suppression.network is not None:
            further = [*(s for s in specs if s.name not in CAMS), MethodSpec("gradient", {}, "gradient")]
            found["chain"] = [_labelled(s, "chain") for s in further]
    return found


def asked(material: Material, kind: str) -> tuple[Model, Tensor]:
    """The network of one kind of explanation, and the images (case, 1, row, column) that it takes."""
    arm = "plain" if kind == "plain" else "suppressed"
    classifier = as_prepared(material.member(arm, FOLD))
    chain = material.suppression.chain(classifier) if kind == "chain" and material.suppression is not None else None
    if chain is not None:
        return chain, material.cohort.plain
    return classifier, material.seen(material.cohort, arm)


def kind_of(label: str) -> str:
    """What a map's label says was explained."""
    return next((k for k in ("suppressed", "chain") if label.endswith(f"-{k}")), "plain")


def _explain_one(material: Material, row: int) -> None:
    folder, cohort = material.run.folder, material.cohort
    name = cohort.cases[row]
    for kind, specs in plan(material).items():
        left = [s for s in specs if not folder.is_done(name, s.label)]
        if not left:
            continue
        model, images = asked(material, kind)
        model = among_its_own(model) if material.phantoms else model
        found = explain_case(
            model, cohort.volume(row, images), left, target=TARGET, layer=None if kind == "chain" else EXPLAINED,
            seed=material.run.seed, case=name,
        ).explanations  # fmt: skip
        for explanation in found:
            save_map(explanation, folder.map_path(name, explanation.name))


def maps_of(material: Material, row: int, labels: Sequence[str]) -> list[Explanation]:
    """Maps of one case by their labels, read back from the run folder; those that are not there are left out."""
    folder, cohort, found = material.run.folder, material.cohort, []
    for label in labels:
        if folder.is_done(cohort.cases[row], label):
            _, images = asked(material, kind_of(label))
            stored = read_map(folder.map_path(cohort.cases[row], label))
            found.append(stored.explanation(cohort.volume(row, images)))
    return found


def explain_cases(material: Material) -> dict[str, dict[str, Score]]:
    """Make and save all maps of the ill cases; the scores say how their boxes fit the findings."""
    rows, section = explained(material), material.config.explain
    for n, row in enumerate(rows):
        material.run.stage(material.cohort.cases[row], n, len(rows) + 1)
        _explain_one(material, int(row))
    labels = [s.label for specs in plan(material).values() for s in specs]
    for row in rows[: section.n_pictured]:
        shown = maps_of(material, int(row), labels)
        scales = common_scales(shown)
        for explanation in shown:
            path = str(material.run.folder.map_path(explanation.case, explanation.name))
            overlay(explanation, path.removesuffix(".nii.gz") + ".png", scale=scales)
    material.run.stage("boxes", len(rows), len(rows) + 1)
    return box_scores(material, explained(material), explained(material, ill=False))
