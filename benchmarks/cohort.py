"""A cohort against a bare loop: throughput with and without maps, and peak memory by the number of cases.

Every measurement runs in a process of its own with one thread, on the same images (written once) and the same network.
The bare loop reads each image, prepares it, and runs the network forward and backward: nothing else. The cohort is what
``regard cohort -m gradient`` does with them. Ratios are of cases per second between the same number of cases; imports
and loading the network are left out of both.

    python benchmarks/cohort.py                     # throughput, SFCN on 64^3 images
    python benchmarks/cohort.py --memory            # peak memory for 200 and 2000 tiny cases
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

MODES = ("bare loop", "cohort, no maps", "cohort, maps written")


def write_inputs(folder: Path, n: int, size: int, distinct: int) -> None:
    """Images, table and network."""
    import nibabel
    import torch
    import yaml
    from safetensors.torch import save_file

    from regard.models.zoo.sfcn import sfcn
    from regard.models.zoo.small import small_regressor

    rng = np.random.default_rng(0)
    for k in range(distinct):
        values = rng.normal(100, 20, (size,) * 3).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 2.0, 1.0])), folder / f"{k}.nii.gz")
    rows = [f"case-{k:05d}\t{k % distinct}.nii.gz" for k in range(n)]
    (folder / f"table-{n}.tsv").write_text("case\timage\n" + "\n".join(rows) + "\n")
    large = size >= 32
    kwargs = {} if large else {"spatial_dims": 3, "widths": [2, 4]}
    torch.manual_seed(0)
    network = sfcn() if large else small_regressor(**kwargs)  # type: ignore[arg-type]
    card = {
        "schema": "regard.card/1",
        "name": "benchmark",
        "zoo": "sfcn" if large else "small-regressor",
        "kwargs": kwargs,
        "weights": "weights.safetensors",
        "inputs": [
            {"name": "image", "orientation": "RAS", "shape": [size] * 3, "fit": "crop-pad", "normalise": "zscore"}
        ],
        "output": {"kind": "regression", "names": ["output"], "units": ["a.u."]},
    }
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / "card.yaml").write_text(yaml.safe_dump(card))
    state = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(state, folder / "model" / "weights.safetensors")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """One mode in this process."""
    import torch

    from regard.cohort.backends import ThisProcess
    from regard.cohort.engine import run_cases
    from regard.cohort.explaining import Explaining
    from regard.cohort.part import do_case
    from regard.cohort.question import Question
    from regard.cohort.store import MapStore
    from regard.io import read, read_table
    from regard.models import load_model
    from regard.models.preparation import Preparation

    torch.set_num_threads(1)
    folder = Path(options.folder)
    cases = read_table(folder / f"table-{options.cases}.tsv")
    first = read(cases[0].inputs["image"])
    affine = tuple(float(v) for v in first.affine.ravel())
    function = Explaining(Question(str(folder / "model"), ("gradient",)), first.shape, affine, image=False)
    model = load_model(folder / "model")
    prepare = Preparation(model.card.inputs[0])
    if options.mode == MODES[0]:
        # A careful loop asks for the gradient of the image only, as the cohort does.
        model.network.requires_grad_(False)

    def bare(path: Path) -> torch.Tensor:
        x = prepare.prepare(read(path)).tensor.requires_grad_()
        model(x).sum().backward()
        assert x.grad is not None
        return x.grad

    # Whatever is loaded or compiled on first use is not what is compared.
    bare(cases[0].inputs["image"])
    do_case(function, cases[0])
    start = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        if options.mode == MODES[0]:
            for case in cases:
                bare(case.inputs["image"])
        else:
            store = None
            if options.mode == MODES[2]:
                store = MapStore(Path(out) / "maps.zarr", [c.case for c in cases], function.grid, ["gradient"])
            run_cases(function, cases, Path(out) / "checkpoints", ThisProcess(), store=store)
        wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    return {"wall": wall, "cpu": cpu, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def child(folder: str, mode: str, cases: int) -> dict[str, Any]:
    """Run this script for one mode."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--mode", mode, "--folder", folder, "--cases", str(cases)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Least wall and CPU seconds and memory of every mode, in turns, so that a busy machine treats all alike."""
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder), options.cases, options.size, min(options.cases, 8))
        found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in MODES}
        for _ in range(options.repeats):
            for mode in MODES:
                found[mode].append(child(folder, mode, options.cases))
    return {mode: {key: min(f[key] for f in runs) for key in ("wall", "cpu", "memory")} for mode, runs in found.items()}


def throughput(options: argparse.Namespace) -> None:
    """Cases per second beside the bare loop."""
    found = measured(options)
    print(f"{options.cases} images of {options.size}^3, SFCN, one thread, best of {options.repeats}")
    print(f"{'':24}{'cases/s':>10}{'CPU s/case':>12}{'of the bare loop':>18}{'by CPU time':>13}{'peak MiB':>10}")
    base = found[MODES[0]]
    for mode, best in found.items():
        print(
            f"{mode:24}{options.cases / best['wall']:10.2f}{best['cpu'] / options.cases:12.3f}"
            f"{100 * base['wall'] / best['wall']:16.0f} %{100 * base['cpu'] / best['cpu']:11.0f} %"
            f"{best['memory'] / 2**20:10.0f}"
        )


def row(options: argparse.Namespace) -> dict[str, Any]:
    """The row of the table of all benchmarks."""
    found = measured(options)
    shares = {mode: found[MODES[0]]["cpu"] / found[mode]["cpu"] for mode in MODES[1:]}
    said = (
        f"{shares[MODES[1]]:.0%} of it, {shares[MODES[2]]:.0%} with maps written (by CPU time; {options.cases} images "
        f"of {options.size}^3, SFCN, gradient)"
    )
    return {"said": said, "reached": shares[MODES[1]] >= 0.9}


def memory(options: argparse.Namespace) -> None:
    """Peak memory of the process for few and for many tiny cases."""
    counts = (200, 2000)
    with tempfile.TemporaryDirectory() as folder:
        peaks = {}
        for mode in MODES[1:]:
            for n in counts:
                write_inputs(Path(folder), n, 16, 8)
                peaks[mode, n] = child(folder, mode, n)["memory"]
    print("peak memory [MiB], images of 16^3, small regressor, one thread")
    for mode in MODES[1:]:
        few, many = (peaks[mode, n] / 2**20 for n in counts)
        print(f"{mode:24}{counts[0]} cases {few:8.1f}   {counts[1]} cases {many:8.1f}   ratio {many / few:.3f}")


def main() -> None:
    """Read the command and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--json", action="store_true", help="throughput as the row of benchmarks/run.py")
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        print(json.dumps(measure(options)))
        return
    if options.json:
        print(json.dumps(row(options)))
        return
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "zarr"))
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(versions)
    if options.memory:
        memory(options)
    else:
        throughput(options)


if __name__ == "__main__":
    main()
