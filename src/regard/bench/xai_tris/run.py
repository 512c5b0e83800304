"""``python -m regard.bench.xai_tris FOLDER``: methods on the XAI-TRIS scenarios, by its measures and by ours.

Each network is a file in the folder, so that the command goes on where it stopped; at the end it writes the tables of
what is there, in Markdown, to standard output.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regard.bench.matched import blurred
from regard.bench.measuring import about_maps_silenced
from regard.bench.xai_tris.measures import earth_movers_agreement, precision_of_largest
from regard.bench.xai_tris.networks import ARCHITECTURES, accuracy, margin, train
from regard.bench.xai_tris.tables import tables
from regard.core import randomness
from regard.core.errors import RegardError
from regard.evidence import controls
from regard.evidence.localisation import average_precision
from regard.explainers.spec import MethodSpec, parse_methods
from regard.io.atomic import write_json
from regard.io.schema import read_json
from regard.phantoms.tetromino import BACKGROUNDS, SCENARIOS, Tetrominoes, TetrominoSet

__all__ = ["METHODS_TRIED", "Job", "jobs", "main", "work"]

METHODS_TRIED = (
    "gradient", "smoothgrad", "input-x-gradient", "integrated-gradients@integrated-gradients",
    "integrated-gradients@integrated-gradients-from-zero", "guided-backpropagation", "deeplift", "lrp", "shapley",
    "kernel-shap", "lime", "rise", "occlusion",
    "occlusion:window=1,stride=1@occlusion-of-one-pixel", "hires-cam", "grad-cam",
)  # fmt: skip
"""Each with its defaults, integrated gradients from zero and occlusion of one pixel beside."""

_FROM_ZERO = "integrated-gradients-from-zero"
_KIND = "xai-tris-cell"
_SPLIT = (0.8, 0.9)


@dataclass(frozen=True)
class Job:
    """One network to be trained and explained."""

    scenario: Any
    background: Any
    architecture: str
    side: int
    network: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.side}_{self.scenario}_{self.background}_{self.architecture}_{self.network}"


def jobs(side: int, n_networks: int) -> Iterator[Job]:
    """Every network; the linear one where the classes can be told apart by it, on the paper's backgrounds."""
    for network in range(n_networks):
        for scenario in SCENARIOS:
            for background in BACKGROUNDS:
                for architecture in ARCHITECTURES:
                    ours = background == "tissues" and architecture != "connected"
                    if ours or (architecture == "logistic" and scenario != "linear"):
                        continue
                    yield Job(scenario, background, architecture, side, network)


def _part(data: TetrominoSet, low: float, high: float) -> TetrominoSet:
    n = len(data.images)
    rows = slice(int(low * n), int(high * n))
    return TetrominoSet(data.images[rows], data.labels[rows], data.places[rows])


def _maps(network: nn.Module, x: Tensor, spec: MethodSpec, seed: int, case: str) -> Tensor:
    reference = 0.0 if spec.label == _FROM_ZERO else None
    made: Tensor = spec.build(network).attribute(x, margin, reference=reference, seed=seed, case=case)
    return made.sum(1, keepdim=True)


def _figures(relevance: Tensor, places: Tensor) -> dict[str, list[float]]:
    """By measure, at each blur; the distance only as the map is, and of images of few pixels."""
    maps = [m[0, 0] for m in blurred(relevance)]
    truth = places.numpy()
    small = truth.size <= 64
    return {
        "precision": [precision_of_largest(m.numpy(), truth) for m in maps],
        "average-precision": [average_precision(m, places) for m in maps],
        "earth-mover": [earth_movers_agreement(maps[0].numpy(), truth) if small else float("nan")],
    }


def run_job(job: Job, *, seed: int, n_images: int, n_shown: int, device: str = "cpu") -> dict[str, Any]:
    """Train a network and measure the maps of some test images; of those that it gets wrong there are none."""
    # Networks of a scenario share its images, and differ in their weights and in the order that they learn in.
    data = Tetrominoes(job.scenario, job.background, job.side).draw(n_images, seed=seed)
    test = _part(data, _SPLIT[1], 1.0)
    network = train(
        job.architecture, _part(data, 0, _SPLIT[0]), _part(data, *_SPLIT), seed=seed + 1 + job.network, device=device
    )
    right = network(test.images[:n_shown]).argmax(1) == test.labels[:n_shown]
    values: dict[str, list[dict[str, list[float]] | None]] = {}
    for n in range(n_shown):
        x, case = test.images[n : n + 1], f"{job.name}/{n}"
        shown = {
            **_of_methods(network, x, seed, case),
            "edges": controls.edges(x),
            "image": controls.image(x),
            "chance": randomness.uniform(tuple(x.shape), seed, case, "chance"),
        }
        for label, relevance in shown.items():
            values.setdefault(label, []).append(_figures(relevance, test.places[n]) if bool(right[n]) else None)
    return {**vars(job), "accuracy": accuracy(network, test), "values": values}


def _of_methods(network: nn.Module, x: Tensor, seed: int, case: str) -> dict[str, Tensor]:
    made = {}
    for spec in parse_methods(METHODS_TRIED):
        try:
            made[spec.label] = _maps(network, x, spec, seed, case)
        except RegardError:
            continue  # one that the network cannot have, such as a layer with places where there is none
    return made


def work(folder: Path, asked: Sequence[Job], *, seed: int, n_images: int, n_shown: int, until: float) -> None:
    """Do the jobs that the folder lacks, until a time of `time.monotonic`."""
    for job in asked:
        path = folder / f"{job.name}.json"
        if path.exists() or time.monotonic() > until:
            continue
        with about_maps_silenced():
            write_json(path, _KIND, run_job(job, seed=seed, n_images=n_images, n_shown=n_shown))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m regard.bench.xai_tris", description=__doc__)
    parser.add_argument("folder", type=Path, help="where finished networks are kept; what is there is not done again")
    parser.add_argument("--side", type=int, default=8, choices=(8, 64), help="pixels a side")
    parser.add_argument("--networks", type=int, default=5, help="of each scenario, background and architecture")
    parser.add_argument("--images", type=int, default=10_000, help="of each scenario: 80 %% learn, 10 %% choose")
    parser.add_argument("--shown", type=int, default=24, help="test images that are explained")
    parser.add_argument("--architecture", choices=tuple(ARCHITECTURES), action="append", help="only these; repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=240.0, help="begin no network after this time")
    parser.add_argument("--tables", action="store_true", help="run nothing")
    asked = parser.parse_args(arguments)
    wanted = [j for j in jobs(asked.side, asked.networks) if j.architecture in (asked.architecture or ARCHITECTURES)]
    if not asked.tables:
        asked.folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        until = time.monotonic() + 60 * asked.minutes
        work(asked.folder, wanted, seed=asked.seed, n_images=asked.images, n_shown=asked.shown, until=until)
    cells = [read_json(p, _KIND) for j in wanted if (p := asked.folder / f"{j.name}.json").exists()]
    sys.stdout.write(tables(cells))
