"""The study in its five acts."""

from collections.abc import Mapping
from typing import ClassVar

from regard.studies.bone_suppression.config import SIZES, BoneSuppressionConfig
from regard.studies.bone_suppression.explain import explain_cases
from regard.studies.bone_suppression.material import Material, material_of
from regard.studies.bone_suppression.page import write_page
from regard.studies.bone_suppression.score import score_all
from regard.studies.bone_suppression.weigh import weigh_regions
from regard.studies.config import StudyConfig
from regard.studies.items import Item, read_items
from regard.studies.run import Scores, StudyRun
from regard.studies.study import AbstractStudy

__all__ = ["BoneSuppressionStudy"]


class BoneSuppressionStudy(AbstractStudy[Material]):
    """Chest radiographs without their bones, and what else is taken away."""

    name = "bone-suppression"
    title = "bone suppression in chest radiographs, and what it takes away besides"
    paper = (
        "Rajaraman S, Zamzmi G, Folio L, Alderson P, Antani S. Chest X-ray bone suppression for improving "
        "classification of tuberculosis-consistent findings. Diagnostics 2021, 11(5), 840. 10.3390/diagnostics11050840"
    )
    sizes: ClassVar[Mapping[str, StudyConfig]] = SIZES
    shares: ClassVar[Mapping[str, float]] = {"data": 0.4, "train": 0.35, "score": 0.05, "explain": 0.08, "weigh": 0.12}
    acts: ClassVar[Mapping[str, str]] = {
        "data": "radiographs of simulated chests with and without bone, or the user's own pairs in JSRT's layout",
        "train": "the paper's networks with its loss, on varied squares of the radiographs",
        "score": "errors, likeness, bone taken away and findings kept, beside suppressors without a network",
        "explain": "which input made a region of the output; what was taken away that is not bone",
        "weigh": "the maps against what the region depends on when the chest is rendered again",
    }
    items: ClassVar[tuple[Item, ...]] = read_items("regard.studies.bone_suppression")

    def gather(self, run: StudyRun) -> Material:
        assert isinstance(run.config, BoneSuppressionConfig)
        return material_of(run, run.config)

    def train(self, run: StudyRun) -> Scores:
        material = self.material(run)
        names = material.config.train.networks
        for n, name in enumerate(names):
            run.stage(name, n, len(names))
            material.model(name)
        return {}

    def score(self, run: StudyRun) -> Scores:
        return score_all(self.material(run))

    def explain(self, run: StudyRun) -> Scores:
        return explain_cases(self.material(run))

    def weigh(self, run: StudyRun) -> Scores:
        return weigh_regions(self.material(run))

    def report(self, run: StudyRun, scores: Scores) -> None:
        write_page(self, run, scores)
