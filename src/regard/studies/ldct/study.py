"""The study in its five acts."""

from collections.abc import Mapping
from typing import ClassVar

from regard.studies.config import StudyConfig
from regard.studies.ldct.about import ITEMS
from regard.studies.ldct.config import SIZES, LDCTConfig
from regard.studies.ldct.explain import explain_cases
from regard.studies.ldct.material import Material, material_of
from regard.studies.ldct.null_space import null_space_cases
from regard.studies.ldct.page import write_page
from regard.studies.ldct.score import score_all
from regard.studies.ldct.weigh import weigh_cases
from regard.studies.run import Scores, StudyRun
from regard.studies.study import AbstractStudy, Item

__all__ = ["LDCTStudy"]


class LDCTStudy(AbstractStudy[Material]):
    """Low-dose CT denoisers, and other scans that they turn into the same picture."""

    name = "ldct"
    title = "low-dose CT denoisers, and what they do not see"
    paper = (
        "Eulig E, Jaeger F, Maier J, Ommer B, Kachelriess M. Reconstructing and analyzing the invariances of low-dose "
        "CT image denoising networks. Medical Physics 2025; 52(1):188-200. 10.1002/mp.17413"
    )
    sizes: ClassVar[Mapping[str, StudyConfig]] = SIZES
    shares: ClassVar[Mapping[str, float]] = {"data": 0.25, "train": 0.3, "score": 0.1, "explain": 0.3, "weigh": 0.05}
    acts: ClassVar[Mapping[str, str]] = {
        "data": "torso phantoms scanned at two doses, livers with and without a lesion again and again, or your scans",
        "train": "the denoisers",
        "score": "errors, likeness, noise power and a model observer, beside the input and non-local means",
        "explain": "other scans that give the same output: searched, drawn from a sampler, and the null space",
        "weigh": "noise or anatomy: excess over the controls, directions, masks, lesions that vanish unseen",
    }
    items: ClassVar[tuple[Item, ...]] = ITEMS

    def gather(self, run: StudyRun) -> Material:
        assert isinstance(run.config, LDCTConfig)
        return material_of(run, run.config)

    def data(self, run: StudyRun) -> Scores:
        material = self.material(run)
        run.stage("repeated scans", len(material.livers), len(material.livers) + len(material.scenes))
        return {}

    def train(self, run: StudyRun) -> Scores:
        material = self.material(run)
        names = material.config.train.networks
        for n, name in enumerate(names):
            run.stage(name, n, len(names))
            material.model(name)
        material.sampler()
        return {}

    def score(self, run: StudyRun) -> Scores:
        return score_all(self.material(run))

    def explain(self, run: StudyRun) -> Scores:
        material = self.material(run)
        return {**explain_cases(material), **null_space_cases(material)}

    def weigh(self, run: StudyRun) -> Scores:
        return weigh_cases(self.material(run))

    def report(self, run: StudyRun, scores: Scores) -> None:
        write_page(self.material(run), self, scores)
