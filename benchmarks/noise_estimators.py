"""What the two estimators of noise-map reach for how many network passes, and what a volume costs.

python benchmarks/noise_estimators.py [--long]
"""

import resource
import sys
import time

import torch

from regard.core.explainer import Query
from regard.core.inputs import Inputs
from regard.explainers.learned.noise_map import NoiseMap
from regard.explainers.learned.optimise import Noised
from regard.models.zoo.sfcn import sfcn


def network(axes: int, widths: tuple[int, ...]) -> torch.nn.Module:
    """An untrained SFCN with the batch statistics of noise."""
    torch.manual_seed(0)
    made = sfcn(axes, widths=widths, dropout=0.0)
    with torch.no_grad():
        for _ in range(3):
            made(torch.randn(4, 1, *[16] * axes))
    return made.eval()


def estimators(*, long: bool) -> None:
    """Loss over lambda that each estimator reaches, in 4000 fresh draws, on a 16 x 16 image."""
    f = network(2, (8, 16, 16))
    x = torch.rand(1, 1, 16, 16) + 0.5
    rows = {"paired 100 x 2": {}, "pathwise 100 x 4": {"estimator": "pathwise", "n_draws": 4}}
    if long:
        rows |= {
            "paired 300 x 4": {"n_steps": 300, "n_draws": 4},
            "pathwise 300 x 64": {"estimator": "pathwise", "n_steps": 300, "n_draws": 64},
            "pathwise 300 x 512": {"estimator": "pathwise", "n_steps": 300, "n_draws": 512},
        }
    for name, knobs in rows.items():
        explainer = NoiseMap(f, **knobs)
        found = explainer.compute(x)
        noise = 1 - found.relevance[0]
        changes = Noised(Query(f, Inputs.of(x)), explainer.settings).changes([noise], "fresh", 4000)
        loss = float(changes.square().mean()) / found.notes["lambda"] - float(noise.clamp_min(1e-9).log().mean())
        print(f"{name:20s} loss / lambda {loss:.3f}, mean B {float(noise.mean()):.3f}")


def volume() -> None:
    """Time and memory of one 40 x 48 x 40 volume at the default settings, one thread."""
    torch.set_num_threads(1)
    f, x = network(3, (8, 16, 32, 32)), torch.rand(1, 1, 40, 48, 40)
    for family in ("gaussian", "correlated"):
        explainer, before, wall = NoiseMap(f, family=family), time.process_time(), time.time()
        explainer.attribute(x)
        used, passed = time.process_time() - before, time.time() - wall
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{family:12s} {used:.1f} s of one core ({passed:.1f} s passed), peak {peak:.2f} GiB of the process")


if __name__ == "__main__":
    volume()
    estimators(long="--long" in sys.argv)
