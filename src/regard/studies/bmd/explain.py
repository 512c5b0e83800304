"""Maps of held-out cases: ensembles and single networks, signed and published forms, two layers, three cases."""

from collections.abc import Sequence

from regard.case.explaining import explain_case
from regard.core.explanation import Explanation
from regard.core.volume import Volume
from regard.explainers.spec import MethodSpec, parse_methods
from regard.io import read_map, save_map
from regard.models import Ensemble, Model
from regard.report.colours import common_scales
from regard.report.figures import overlay
from regard.studies.bmd.cohort import Cohort
from regard.studies.bmd.config import CASES, ExplainSection
from regard.studies.bmd.material import Material
from regard.studies.bmd.networks import HOOKED
from regard.studies.scoring.bootstrap import Score, mean_score
from regard.studies.trained import among_its_own

__all__ = ["ensemble_labels", "explain_cases", "explained", "maps_of"]

_CAMS = ("grad-cam", "grad-ram", "grad-ramp", "crm", "random-cam")
_PUBLISHED = ("grad-cam", "grad-ram", "grad-ramp", "crm")
_MASKED_CASES = ("grad-ram", "grad-ramp", "integrated-gradients")


def explained(material: Material) -> Cohort:
    """The middle slice of the test patients that are explained."""
    return material.test.one_each().of(range(min(material.config.explain.n_cases, len(set(material.test.patients)))))


def _labelled(spec: MethodSpec, ending: str, **knobs: object) -> MethodSpec:
    return MethodSpec(spec.name, {**spec.knobs, **knobs}, f"{spec.label}-{ending}" if ending else spec.label)


def plan(section: ExplainSection, case: int) -> dict[str, list[MethodSpec]]:
    """Methods for the ``"ensemble"`` and for the ``"single"`` network of a case."""
    specs = parse_methods(section.methods)
    cams = [s for s in specs if s.name in _CAMS]
    if case > 1:
        return {"ensemble": [_labelled(s, f"case{case}") for s in specs if s.name in _MASKED_CASES], "single": []}
    early = [_labelled(s, "early", layer=section.early_layer) for s in cams]
    published = [_labelled(s, "published", form="published") for s in specs + early if s.name in _PUBLISHED]
    return {"ensemble": specs + early + published, "single": [_labelled(s, "single") for s in cams]}


def ensemble_labels(section: ExplainSection) -> list[str]:
    """Labels of the ensemble's maps of case 1."""
    return [s.label for s in plan(section, 1)["ensemble"]]


def _scan(material: Material, cohort: Cohort, n: int, case: int) -> Volume:
    return cohort.volume(n, material.images(cohort, case)[n, 0])


def _asked(material: Material, case: int, kind: str) -> Model:
    """The ensemble of a case, or its first network; on phantoms, without the warning that those were simulated."""
    models = material.members(case)
    if material.phantoms:
        models = [among_its_own(m) for m in models]
    return Ensemble(models) if kind == "ensemble" and len(models) > 1 else models[0]


def _explain_one(material: Material, cohort: Cohort, n: int) -> None:
    folder, name = material.run.folder, cohort.cases[n]
    for case in CASES:
        for kind, specs in plan(material.config.explain, case).items():
            left = [s for s in specs if not folder.is_done(name, s.label)]
            if not left:
                continue
            found = explain_case(
                _asked(material, case, kind),
                _scan(material, cohort, n, case),
                left,
                layer=HOOKED,
                seed=material.run.seed,
                case=name,
            ).explanations
            for explanation in found:
                save_map(explanation, folder.map_path(name, explanation.name))


def maps_of(material: Material, cohort: Cohort, n: int, names: Sequence[str]) -> list[Explanation]:
    """Maps of one case by their labels, read back from the run folder; those that are not there are left out."""
    folder, found = material.run.folder, []
    for label in names:
        if folder.is_done(cohort.cases[n], label):
            case = int(label[-1]) if label[:-1].endswith("-case") else 1
            stored = read_map(folder.map_path(cohort.cases[n], label))
            found.append(stored.explanation(_scan(material, cohort, n, case)))
    return found


def explain_cases(material: Material) -> dict[str, dict[str, Score]]:
    """Make and save all maps; the scores say how far the networks of an ensemble agree on the sign."""
    cohort, section = explained(material), material.config.explain
    for n in range(len(cohort)):
        material.run.stage(cohort.cases[n], n, len(cohort))
        _explain_one(material, cohort, n)
    labels = [s.label for case in CASES for specs in plan(section, case).values() for s in specs]
    for n in range(min(section.n_pictured, len(cohort))):
        shown = maps_of(material, cohort, n, labels)
        scales = common_scales(shown)
        for explanation in shown:
            path = str(material.run.folder.map_path(cohort.cases[n], explanation.name))
            overlay(explanation, path.removesuffix(".nii.gz") + ".png", scale=scales)
    return _agreement(material, cohort, ensemble_labels(section))


def _agreement(material: Material, cohort: Cohort, labels: Sequence[str]) -> dict[str, dict[str, Score]]:
    if len(material.members(1)) < 2:
        return {}
    values: dict[str, list[float]] = {}
    for n in range(len(cohort)):
        for e in maps_of(material, cohort, n, labels):
            if e.agreement is None or not bool((e.relevance.tensor < 0).any()):
                continue
            size = e.relevance.tensor.abs().nan_to_num()
            whole = float(size.sum())
            if whole > 0:
                share = float((size * e.agreement.tensor.nan_to_num()).sum()) / whole
                values.setdefault(e.name, []).append(share)
    group = {}
    for label, found in values.items():
        group[f"sign_agreement_{label}"] = mean_score(found, list(cohort.patients)[: len(found)], within=(0, 1))
    return {"ensemble": group} if group else {}
