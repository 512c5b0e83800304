"""The study in its five acts."""

from collections.abc import Mapping
from typing import ClassVar

from regard.studies.bmd.about import ITEMS
from regard.studies.bmd.config import SIZES, BMDConfig
from regard.studies.bmd.decoy import decoy_scores, train_decoys
from regard.studies.bmd.explain import ensemble_labels, explain_cases, explained
from regard.studies.bmd.material import Material, material_of
from regard.studies.bmd.page import write_page
from regard.studies.bmd.phantoms import phantom_cohort
from regard.studies.bmd.score import score_all
from regard.studies.bmd.structures import structure_scores
from regard.studies.bmd.weigh import weigh_maps
from regard.studies.config import StudyConfig
from regard.studies.run import Scores, StudyRun
from regard.studies.study import AbstractStudy, Item

__all__ = ["BMDStudy"]


class BMDStudy(AbstractStudy[Material]):
    """Bone mineral density from one CT slice through L1, and where the number comes from."""

    name = "bmd"
    title = "bone mineral density from CT, and where the number comes from"
    paper = (
        "Kang JW, Park C, Lee DE, Yoo JH, Kim M. Prediction of bone mineral density in CT using deep learning with "
        "explainability. Frontiers in Physiology 2023. 10.3389/fphys.2022.1061911"
    )
    sizes: ClassVar[Mapping[str, StudyConfig]] = SIZES
    shares: ClassVar[Mapping[str, float]] = {"data": 0.25, "train": 0.55, "score": 0.03, "explain": 0.07, "weigh": 0.1}
    acts: ClassVar[Mapping[str, str]] = {
        "data": "slices through L1 of torso phantoms with their areal density, or the user's own",
        "train": "the segmentation network, an ensemble for each of the three cases, and networks with a decoy",
        "score": "correlation, errors, T-score classes and intervals, beside floors and a ceiling; outlines",
        "explain": "class activation maps at the published layer and an earlier one, gradients, occlusion; ensembles",
        "weigh": "maps against what the networks truly depend on; the decoy's dose-response; stability at T = -1",
    }
    items: ClassVar[tuple[Item, ...]] = ITEMS

    def gather(self, run: StudyRun) -> Material:
        return material_of(run, self._config(run))

    @staticmethod
    def _config(run: StudyRun) -> BMDConfig:
        assert isinstance(run.config, BMDConfig)
        return run.config

    def data(self, run: StudyRun) -> Scores:
        self.material(run)
        config = self._config(run)
        if run.data is None:
            for dose in config.data.doses:
                for part, n in (("train", config.data.n_train), ("test", config.data.n_test)):
                    phantom_cohort(run, config, part, n, dose=dose)
        return {}

    def train(self, run: StudyRun) -> Scores:
        material = self.material(run)
        material.trains("segmentation network", 0)
        material.segmentation()
        for case in (1, 2, 3):
            material.members(case)
        if material.phantoms:
            material.second_members()
            train_decoys(material)
        return {}

    def score(self, run: StudyRun) -> Scores:
        return score_all(self.material(run))

    def explain(self, run: StudyRun) -> Scores:
        material = self.material(run)
        found = explain_cases(material)
        return {**found, **structure_scores(material, explained(material), ensemble_labels(self._config(run).explain))}

    def weigh(self, run: StudyRun) -> Scores:
        material = self.material(run)
        found = weigh_maps(material)
        return {**found, **decoy_scores(material)} if material.phantoms else found

    def report(self, run: StudyRun, scores: Scores) -> None:
        write_page(self, run, scores)
