"""Occlusion of 3D networks: ours, our plain loop, captum and MONAI, on the same windows, in one run.

Every method runs in a process of its own, which starts with the same weights and the same image. Ours is run to its
end. The others are stopped after ``--windows`` windows (three batches at least), and their time per window is taken
from the second call on. Effects are compared window by window: f(x) - f(x with the window at 0).
"""

import argparse
import contextlib
import json
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor, nn

NETWORKS = {
    "sfcn": "SFCN, six blocks as published",
    "resnet18": "ResNet-18 of MONAI, batch norm",
    "batch-norm-unet": "U-Net of MONAI with batch norm, mean of its output",
    "unet": "U-Net as MONAI builds it (instance norm), mean of its output",
}
CAPTUM_BATCHES = (1, 2, 4, 8)
METHODS = ("incremental", "plain", *[f"captum, {n} at once" for n in CAPTUM_BATCHES], "MONAI")


class Enough(Exception):  # noqa: N818
    """As many windows as were asked for."""


class MeanOutput(nn.Module):
    """A network's output averaged to one number (batch, 1)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x).flatten(1).mean(1, keepdim=True)  # type: ignore[no-any-return]


class Watched(nn.Module):
    """A network that keeps what it gave for each hidden image, notes the time, and stops after enough of them."""

    def __init__(self, network: nn.Module, x: Tensor, enough: int) -> None:
        super().__init__()
        self.network, self.x, self.enough = network, x, enough
        self.effects: dict[int, float] = {}
        self.marks: list[tuple[int, float, float]] = []
        self.seen = 0
        self.looking = 0.0
        self.value = float(network(x).double())

    def forward(self, x: Tensor) -> Tensor:
        self.marks.append((self.seen, time.perf_counter() - self.looking, time.process_time() - self.looking))
        if self.seen >= self.enough:
            raise Enough
        output = self.network(x)
        start = time.perf_counter()
        for hidden, out in zip(x, output.double().flatten().tolist(), strict=True):
            changed = (hidden != self.x[0]).flatten()
            if bool(changed.any()):
                self.effects[int(changed.nonzero()[0])] = self.value - out
                self.seen += 1
        self.looking += time.perf_counter() - start
        return output  # type: ignore[no-any-return]

    def per_window(self) -> tuple[float, float]:
        """Wall and CPU seconds for a window, from the second call with windows on."""
        running = [m for m in self.marks if m[0] > 0] or self.marks
        (n, wall, cpu), (last_n, last_wall, last_cpu) = running[0], running[-1]
        return (last_wall - wall) / max(1, last_n - n), (last_cpu - cpu) / max(1, last_n - n)


def build(name: str, size: int) -> tuple[nn.Module, Tensor]:
    """Network and image, the same in every process."""
    from monai.networks.nets import UNet, resnet18

    from regard.models.zoo.sfcn import sfcn

    torch.manual_seed(0)
    widths, strides = (16, 32, 64, 128), (2, 2, 2)
    network: nn.Module
    if name == "sfcn":
        network = sfcn()
    elif name == "resnet18":
        network = resnet18(spatial_dims=3, n_input_channels=1, num_classes=1)
    elif name == "batch-norm-unet":
        network = MeanOutput(UNet(3, 1, 1, widths, strides, num_res_units=2, norm="batch"))
    else:
        network = MeanOutput(UNet(3, 1, 1, widths, strides, num_res_units=2))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return network.eval().requires_grad_(False), torch.randn(1, 1, size, size, size)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run one method on one network in this process."""
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    network, x = build(options.network, options.size)
    window, stride, memory = (options.window,) * 3, (options.stride,) * 3, _memory()
    if options.method == "incremental":
        return {**_ours(network, x, window, stride), "memory": _memory() - memory}
    at_once = int(options.method.split()[1]) if options.method.startswith("captum") else 1
    watched = Watched(network, x, max(options.windows, 3 * at_once))
    with contextlib.suppress(Enough):
        _other(options.method, watched, x, window, stride)
    wall, cpu = watched.per_window()
    return {
        "wall": wall,
        "cpu": cpu,
        "memory": _memory() - memory,
        "windows": watched.seen,
        "effects": watched.effects,
    }


def _ours(network: nn.Module, x: Tensor, window: tuple[int, ...], stride: tuple[int, ...]) -> dict[str, Any]:
    from regard.core.inputs import Inputs
    from regard.core.spatial import space, windows
    from regard.explainers.perturbation.incremental.engine import Engine
    from regard.explainers.perturbation.incremental.program import read_program
    from regard.explainers.perturbation.incremental.trace import trace
    from regard.explainers.perturbation.occlusion import Occlusion

    boxes = list(windows(space(x), window, stride))
    engine = Engine(read_program(trace(network, Inputs.of(x)), x, limit=1e6), boxes)
    counts = {"operations": engine.operations, "bound": engine.bound, "kept": engine.program.mebibytes}
    del engine
    if counts["operations"] < 1.5:
        return {**counts, "effects": {}, "windows": 0, "wall": None, "cpu": None}
    start = time.perf_counter(), time.process_time()
    relevance = Occlusion(network, window=window, stride=stride, filler=0.0).attribute(x)[0, 0]
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    effects = {}
    if window == stride:
        places = torch.arange(relevance.numel()).reshape(relevance.shape)
        effects = {int(places[box].flatten()[0]): float(relevance[box].flatten()[0]) for box in boxes}
    return {**counts, "wall": wall / len(boxes), "cpu": cpu / len(boxes), "windows": len(boxes), "effects": effects}


def _other(method: str, watched: Watched, x: Tensor, window: tuple[int, ...], stride: tuple[int, ...]) -> None:
    if method == "plain":
        from regard.explainers.perturbation.occlusion import Occlusion

        Occlusion(watched, window=window, stride=stride, filler=0.0, incremental="never").attribute(x)
    elif method == "MONAI":
        from monai.visualize import OcclusionSensitivity

        overlap = 1 - stride[0] / window[0]
        OcclusionSensitivity(watched, window, 1, False, 0.0, overlap, activate=False)(x)
    else:
        from captum.attr import Occlusion as CaptumOcclusion

        at_once = int(method.split()[1])
        CaptumOcclusion(watched).attribute(x, (1, *window), (1, *stride), 0, 0, perturbations_per_eval=at_once)


def _memory() -> float:
    """Most resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def compare(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run every method on one network, print its table and return what was found by method."""
    print(f"\n{name}: {NETWORKS[name]}; {options.size}^3, window {options.window}, stride {options.stride}", flush=True)
    results = {}
    for method in METHODS:
        command = [sys.executable, __file__, "--network", name, "--method", method]
        for knob in ("size", "window", "stride", "threads", "windows"):
            command += [f"--{knob}", str(getattr(options, knob))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{method:20s} failed: {done.stderr.strip().splitlines()[-1]}", flush=True)
            continue
        results[method] = json.loads(done.stdout.strip().splitlines()[-1])
    ours = results["incremental"]
    print(f"operations: at most {ours['operations']:.1f} times fewer as run, {ours['bound']:.1f} window by window")
    print(f"{ours['kept']:.0f} MiB of clean tensors kept")
    if ours["wall"] is None:
        print("below 1.5: incremental occlusion falls back to the plain loop")
        ours = results["plain"]
    spread = max(ours["effects"].values(), default=0.0) - min(ours["effects"].values(), default=0.0)
    heads = ("s/window", "CPU s", "ratio", "of CPU", "MiB", "windows", "off by")
    print(f"{'':20s}" + "".join(f"{head:>10s}" for head in heads) + "  of the range, windows compared")
    for method, found in results.items():
        if found["wall"] is None:
            continue
        common = [(ours["effects"][k], v) for k, v in found["effects"].items() if k in ours["effects"]]
        off = max((abs(a - b) for a, b in common), default=float("nan")) / spread if spread else float("nan")
        times = f"{found['wall']:10.4f}{found['cpu']:10.4f}"
        ratios = f"{found['wall'] / ours['wall']:10.1f}{found['cpu'] / ours['cpu']:10.1f}"
        print(f"{method:20s}{times}{ratios}{found['memory']:10.0f}{found['windows']:10d}{off:10.1e}  {len(common)}")
        found["off"] = off
    return {k: {n: v for n, v in found.items() if n != "effects"} for k, found in results.items()}


def main() -> None:
    """Read the command line; without ``--method`` run them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--window", type=int, default=12)
    parser.add_argument("--stride", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--windows", type=int, default=8, help="windows after which all but ours are stopped, at least three batches"
    )
    parser.add_argument("--network", choices=NETWORKS, action="append", help="by default all")
    parser.add_argument("--method", choices=METHODS, help="this one alone, in this process, as JSON")
    parser.add_argument("--json", action="store_true", help="all that was found as JSON in the last line too")
    options = parser.parse_args()
    if options.method is not None:
        options.network = options.network[0]
        print(json.dumps(measure(options)))
        return
    names = ("torch", "monai", "captum", "regard")
    print(f"{platform.processor() or platform.machine()}, {platform.system()}, threads {options.threads}, float32")
    print(", ".join([f"Python {platform.python_version()}", *[f"{n} {version(n)}" for n in names]]))
    found = {name: compare(name, options) for name in options.network or NETWORKS}
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
