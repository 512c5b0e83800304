"""The study in its five acts."""

from collections.abc import Mapping
from typing import ClassVar

from regard.studies.brain_age.about import ITEMS
from regard.studies.brain_age.config import SIZES, BrainAgeConfig
from regard.studies.brain_age.explain import explain_all
from regard.studies.brain_age.material import Material, material_of
from regard.studies.brain_age.page import write_page
from regard.studies.brain_age.patches import train_patches
from regard.studies.brain_age.score import score_all
from regard.studies.brain_age.unoise import train_unoise
from regard.studies.brain_age.unoise_scores import unoise_explained, unoise_weighed
from regard.studies.brain_age.weigh import weigh_all
from regard.studies.config import StudyConfig
from regard.studies.run import Scores, StudyRun
from regard.studies.study import AbstractStudy, Item

__all__ = ["BrainAgeStudy"]


class BrainAgeStudy(AbstractStudy[Material]):
    """Age from a T1 volume of the brain, and which places it comes from, over a cohort."""

    name = "brain-age"
    title = "brain age from MRI, voxel by voxel and over a cohort"
    paper = (
        "Bintsi KM, Baltatzis V, Hammers A, Rueckert D. Voxel-level Importance Maps for Interpretable Brain Age "
        "Estimation. iMIMIC workshop at MICCAI 2021. arXiv 2108.05388"
    )
    sizes: ClassVar[Mapping[str, StudyConfig]] = SIZES
    shares: ClassVar[Mapping[str, float]] = {"data": 0.25, "train": 0.35, "score": 0.02, "explain": 0.13, "weigh": 0.25}
    acts: ClassVar[Mapping[str, str]] = {
        "data": "brain phantoms with known ageing, or the user's own registered scans",
        "train": "networks that read age, the noise model of the first, one of subjects in whom nothing ages, U-Noise",
        "score": "errors and correlation, uncorrected, beside floors and a ceiling; the age gap and its correction",
        "explain": "noise maps, learned and image by image, and other methods, over a cohort; outlines under noise",
        "weigh": "maps against what the network depends on; regions against what was planted; nothing planted",
    }
    items: ClassVar[tuple[Item, ...]] = ITEMS

    def gather(self, run: StudyRun) -> Material:
        assert isinstance(run.config, BrainAgeConfig)
        return material_of(run, run.config)

    def data(self, run: StudyRun) -> Scores:
        self.material(run)
        return {}

    def train(self, run: StudyRun) -> Scores:
        material = self.material(run)
        n = len(material.kinds) + 3
        for k, (kind, member) in enumerate(material.kinds):
            run.stage(f"{kind}, member {member + 1}", k, n)
            material.network(kind, member)
        run.stage("noise model", n - 3, n)
        material.learned  # noqa: B018
        run.stage("nothing planted, patches", n - 2, n)
        material.nothing()
        train_patches(material)
        run.stage("U-Noise", n - 1, n)
        train_unoise(material)
        return {}

    def score(self, run: StudyRun) -> Scores:
        return score_all(self.material(run))

    def explain(self, run: StudyRun) -> Scores:
        return explain_all(self.material(run)) | unoise_explained(self.material(run))

    def weigh(self, run: StudyRun) -> Scores:
        return weigh_all(self.material(run)) | unoise_weighed(self.material(run))

    def report(self, run: StudyRun, scores: Scores) -> None:
        write_page(self, run, scores)
