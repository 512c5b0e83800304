"""Weighing one case with three maps: CPU time of full and quick, by network; and, for another checkout, the ratio."""

import argparse
import inspect
import json
import os
import subprocess
import sys
import time
from typing import Any

import torch
from measuring import HERE, measured, one_thread
from torch import Tensor, nn

NETWORKS = ("mobilenet", "resnet10", "sfcn")
METHODS = ("gradient", "integrated-gradients", "grad-cam++")


def build(name: str, size: int | None) -> tuple[nn.Module, Tensor]:
    """A regressor and one smooth image; a 2D network of inverted residuals, a 3D ResNet-10, an SFCN."""
    from regard.core.spatial import blur

    draw = torch.Generator().manual_seed(1)
    if name == "mobilenet":
        from monai.networks.nets import EfficientNetBN

        network: nn.Module = EfficientNetBN(
            "efficientnet-b0", pretrained=False, spatial_dims=2, in_channels=1, num_classes=1
        )
        shape: tuple[int, ...] = (size or 224,) * 2
    elif name == "resnet10":
        from monai.networks.nets import resnet10

        network = resnet10(spatial_dims=3, n_input_channels=1, num_classes=1, conv1_t_stride=2)
        shape = (size or 64,) * 3
    else:
        from regard.models.zoo import ZOO

        network, shape = ZOO.load("sfcn")(spatial_dims=3), (size or 96,) * 3
    x = blur(torch.randn(1, 1, *shape, generator=draw), 2.0)
    return network.eval().requires_grad_(False), x / x.std()


def weigh(network: nn.Module, x: Tensor, *, quick: bool, n_null: int) -> dict[str, Any]:
    """Verdict and p of each method, as the command of one case weighs it."""
    from regard.core.target import Output
    from regard.evidence.again import taken_away
    from regard.evidence.comparison import DRAWN
    from regard.evidence.measure import Exhibit
    from regard.evidence.weigh import Plan, all_verdicts, comparisons, weigh_case
    from regard.explainers.spec import MethodSpec

    target, exhibits = Output(0), {}
    for name in METHODS:
        spec = MethodSpec(name, {"n_steps": 16} if name == "integrated-gradients" else {})

        def explain(other: Any, inputs: Tensor, spec: Any = spec) -> Tensor:
            found: Tensor = spec.build(other).attribute(inputs, target, case="c").sum(1, keepdim=True)
            return found

        explainer = spec.build(network)
        away = taken_away(explainer, x, target, seed=0, case="c")
        exhibits[name] = Exhibit(
            network, x, target, explain(network, x), *explainer.meaning, case="c", explain=explain,
            reference=away["reference"], parts=away["parts"],
        )  # fmt: skip
    alone = {"curtail": True} if "curtail" in inspect.signature(Plan.of).parameters else {}
    plan = Plan.of((), truth=False, quick=quick, n_null=n_null, **alone)
    told: list[tuple[float, float]] = []
    begun = time.perf_counter()
    timed = {}
    if "forecast" in inspect.signature(weigh_case).parameters:
        timed["forecast"] = lambda f: told.append((f.this, time.perf_counter()))
    weighed = weigh_case(exhibits, plan, target="number", **timed)
    ended = time.perf_counter()
    rows = comparisons(weighed, by_case=False)
    forecast = {"forecast": told[0][0], "took": ended - told[0][1]} if told else {"took": ended - begun}
    draws = {m.method: len(next(iter(m.figures.values())).controls.get(DRAWN, ())) for m in weighed}
    chance = {f"{r.method}/{r.measure}": r.p for r in rows if r.control == DRAWN}
    return {"verdicts": {k: v.verdict for k, v in all_verdicts(rows).items()}, "p": chance, "draws": draws, **forecast}


def main() -> None:
    """Measure here, or here and with the package of another checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=NETWORKS, default="resnet10")
    parser.add_argument("--size", type=int, help="voxels a side; 224 in 2D, 64 for the ResNet, 96 for the SFCN")
    parser.add_argument("--n-null", type=int, default=99)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--against", metavar="SRC", help="the src folder of another checkout, run first")
    options = parser.parse_args()
    before = None
    if options.against:
        command = [sys.executable, str(HERE / "weighing.py"), "--network", options.network]
        command += ["--n-null", str(options.n_null), *(["--quick"] if options.quick else [])]
        command += ["--size", str(options.size)] if options.size else []
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": options.against}, capture_output=True, text=True, check=True
        )
        before = json.loads(done.stdout.strip().splitlines()[-1])
    one_thread()
    network, x = build(options.network, options.size)
    found, used = measured(lambda: weigh(network, x, quick=options.quick, n_null=options.n_null))
    result: dict[str, Any] = {**used, **found}
    if before is not None:
        result |= {"before": before, "ratio": before["cpu"] / used["cpu"]}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
