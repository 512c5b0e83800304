"""The study in its five acts."""

from collections.abc import Mapping
from typing import ClassVar

from regard.studies.config import StudyConfig
from regard.studies.run import Scores, StudyRun
from regard.studies.study import AbstractStudy, Item
from regard.studies.tuberculosis.about import ITEMS
from regard.studies.tuberculosis.config import SIZES, TuberculosisConfig
from regard.studies.tuberculosis.decoy import decoy_scores, train_decoys
from regard.studies.tuberculosis.explain import explain_cases
from regard.studies.tuberculosis.material import Material, material_of
from regard.studies.tuberculosis.page import write_page
from regard.studies.tuberculosis.score import score_all
from regard.studies.tuberculosis.weigh import weigh_maps

__all__ = ["TuberculosisStudy"]


class TuberculosisStudy(AbstractStudy[Material]):
    """Tuberculosis in chest radiographs with and without bones, and where it is seen."""

    name = "tuberculosis"
    title = "tuberculosis in chest radiographs with and without ribs, and where it is seen"
    paper = (
        "Rajaraman S, Zamzmi G, Folio L, Alderson P, Antani S. Chest X-Ray Bone Suppression for Improving "
        "Classification of Tuberculosis-Consistent Findings. Diagnostics 2021, 11(5), 840. 10.3390/diagnostics11050840"
    )
    sizes: ClassVar[Mapping[str, StudyConfig]] = SIZES
    shares: ClassVar[Mapping[str, float]] = {"data": 0.35, "train": 0.4, "score": 0.02, "explain": 0.05, "weigh": 0.18}
    acts: ClassVar[Mapping[str, str]] = {
        "data": "radiographs of chest phantoms with findings of tuberculosis, or the user's own",
        "train": "normal or abnormal first, then each fold, on plain and on suppressed images; networks with a letter",
        "score": "areas, accuracy and the like per arm; arms paired within folds; floors; separation of the features",
        "explain": "CRM, other class activation maps, LIME, gradients; through the suppressor; boxes on the findings",
        "weigh": "maps against what the networks truly depend on and against the findings; the letter's dose-response",
    }
    items: ClassVar[tuple[Item, ...]] = ITEMS
    builds_on: ClassVar[frozenset[str]] = frozenset({"bone-suppression"})

    def gather(self, run: StudyRun) -> Material:
        assert isinstance(run.config, TuberculosisConfig)
        return material_of(run, run.config)

    def data(self, run: StudyRun) -> Scores:
        material = self.material(run)
        return {"data": material.counts()}

    def train(self, run: StudyRun) -> Scores:
        material = self.material(run)
        n_folds, arms = material.config.train.n_folds, material.arms
        total = len(arms) * (n_folds + 1)
        for k, arm in enumerate(arms):
            run.stage(f"normal or abnormal, {arm}", k * (n_folds + 1), total)
            material.pretrained(arm)
            for fold in range(n_folds):
                run.stage(f"fold {fold + 1}, {arm}", k * (n_folds + 1) + fold + 1, total)
                material.member(arm, fold)
        if material.phantoms:
            train_decoys(material)
        return {}

    def score(self, run: StudyRun) -> Scores:
        return score_all(self.material(run))

    def explain(self, run: StudyRun) -> Scores:
        return explain_cases(self.material(run))

    def weigh(self, run: StudyRun) -> Scores:
        material = self.material(run)
        found = weigh_maps(material)
        return {**found, **decoy_scores(material)} if material.phantoms else found

    def report(self, run: StudyRun, scores: Scores) -> None:
        write_page(self, run, scores)
