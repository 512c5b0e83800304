"""What the choice of the reference changes in a finished run of the brain age study.

python docs/study_brain_age.py --run RUN [--subjects 12] [--references 8]

Spearman's correlation over regions, as the study has it, of maps of the explained network by integrated gradients with
what was planted: with several training subjects whom it reads as the mean, their mean map, the mean image of all, and
the mean map of all SFCN, each with its own reference. 95 % intervals over subjects.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from regard.cohort.atlas import read_atlas
from regard.cohort.regions import region_figures
from regard.explainers.gradient.integrated_gradients import IntegratedGradients
from regard.io import RunFolder
from regard.models import Model
from regard.studies.brain_age.cohort import prepared
from regard.studies.brain_age.config import SIZES
from regard.studies.brain_age.explain import ATLAS, label_regions
from regard.studies.brain_age.material import Material, material_of
from regard.studies.brain_age.regions import agreement, planted
from regard.studies.run import StudyRun

METHOD = "integrated-gradients"


class Measure:
    """Agreement of maps of some explained subjects with what was planted."""

    def __init__(self, material: Material, source: Path, n: int) -> None:
        self.material, self.n = material, n
        grid = material.explained.grid
        self.atlas = read_atlas(source / "cases" / ATLAS, grid, table=source / "cases/atlas.tsv")
        self.inside = label_regions(material.explained.affine, grid.shape).numpy() > 0
        self.truth = planted(material)

    def say(self, words: str, maps: Sequence[np.ndarray]) -> None:
        """Print a row: a map (i, j, k) of each subject."""
        names = list(self.atlas.names.values())
        rows = {}
        for n, values in enumerate(maps):
            figures = region_figures(np.where(self.inside, values, np.nan), self.atlas.place, len(names))
            rows[n] = {"regions": {METHOD: figures.plain()}}
        truth = {name: row["density"] for name, row in self.truth.items()}
        patients = self.material.explained.patients[: self.n]
        score = agreement(SimpleNamespace(rows=rows), METHOD, names, truth, patients)  # type: ignore[arg-type]
        print(f"| {words} | {score.value:.2f} ({score.low:.2f} to {score.high:.2f}) |", flush=True)


def maps_of(model: Model, images: Tensor, reference: Tensor) -> list[np.ndarray]:
    """Maps (i, j, k) of images (case, 1, i, j, k), each compared with one reference."""
    method = IntegratedGradients(model.network, n_steps=24)
    return [method.attribute(x[None], reference=reference[None])[0].sum(0).numpy() for x in images]


def main() -> None:
    """Read the command and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--size", default="reference")
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--references", type=int, default=8)
    options = parser.parse_args()
    config = SIZES[options.size]
    with tempfile.TemporaryDirectory() as scratch, RunFolder(Path(scratch) / "run", "study", {}) as folder:
        material = material_of(StudyRun(config, folder, source=options.run), config)
        measure = Measure(material, options.run, options.subjects)
        images = prepared(material.explained.images[: options.subjects])
        learn = prepared(material.learn.images)
        print(f"| {options.subjects} subjects | Spearman with what was planted |\n| --- | --- |")
        away = np.abs(material.predictions(material.learn, "sfcn", 0) - _mean(material, 0))
        several = []
        for row in away.argsort()[: options.references].tolist():
            several.append(maps_of(material.network("sfcn", 0), images, learn[row]))
            measure.say(f"subject {len(several)} who is read as the mean", several[-1])
        measure.say("mean map of these", list(np.mean(several, axis=0)))
        image = learn.mean(0)
        with torch.no_grad():
            read = float(material.network("sfcn", 0).network(image[None])[0, 0])  # type: ignore[operator, index]
        measure.say(f"the mean image, read as {read:.0f} years", maps_of(material.network("sfcn", 0), images, image))
        members = []
        for k in range(config.train.n_members):
            own = np.abs(material.predictions(material.learn, "sfcn", k) - _mean(material, k))
            members.append(maps_of(material.network("sfcn", k), images, learn[int(own.argmin())]))
        measure.say("mean map of all SFCN", list(np.mean(members, axis=0)))


def _mean(material: Material, member: int) -> float:
    return float(material.predictions(material.learn, "sfcn", member).mean())


if __name__ == "__main__":
    main()
