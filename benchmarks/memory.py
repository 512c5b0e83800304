"""Memory of explaining one large volume, in sizes of the image, beside a bare pass: each in a process of its own."""

import argparse
import json
from typing import Any

import torch
from measuring import alone, measured, one_thread
from torch import Tensor, nn

WORK = ("forward", "forward and backward", "integrated-gradients", "smoothgrad", "occlusion", "rise")


def build(size: int) -> tuple[nn.Module, Tensor]:
    """A network that soon makes its image small, and an image of ``size`` voxels a side."""
    network = nn.Sequential(
        nn.Conv3d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv3d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(16, 1),
    )  # fmt: skip
    return network.eval().requires_grad_(False), torch.randn(1, 1, size, size, size)


def passes(network: nn.Module, x: Tensor, *, backward: bool) -> Any:
    """Two bare passes, as any loop makes them."""
    for _ in range(2):
        if not backward:
            with torch.no_grad():
                network(x)
            continue
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(network(leaf).sum(), leaf)
    return None


def one(work: str, size: int) -> None:
    """Do one piece of work and print what it used."""
    from regard.core.target import Output
    from regard.explainers.spec import MethodSpec

    one_thread()
    network, x = build(size)
    network(x[..., :32, :32, :32])
    if work in WORK[:2]:
        _, used = measured(lambda: passes(network, x, backward=work != "forward"))
    else:
        knobs = {
            "integrated-gradients": {"n_steps": 3}, "smoothgrad": {"n_samples": 3}, "rise": {"n_masks": 4},
            "occlusion": {"window": size // 4, "stride": size // 4},
        }  # fmt: skip
        explainer = MethodSpec(work, knobs[work]).build(network)
        _, used = measured(lambda: explainer.attribute(x, Output(0), case="c"))
    print(json.dumps({"images": used["memory"] / (x.numel() * 4 / 2**20), **used}))


def main() -> None:
    """All pieces of work, or the one that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="voxels a side")
    parser.add_argument("--work", choices=WORK)
    options = parser.parse_args()
    if options.work:
        one(options.work, options.size)
        return
    for work in WORK:
        found = alone("memory.py", "--size", str(options.size), "--work", work)
        print(f"{work}: {found.get('failed') or format(found['images'], '.1f') + ' image sizes'}", flush=True)


if __name__ == "__main__":
    main()
