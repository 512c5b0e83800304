"""Measure every row of the speed table in one run, and write it as a page.

    python benchmarks/run.py -o DIR             # an hour on two idle cores
    python benchmarks/run.py -o DIR --quick     # some minutes, small images: to see that everything runs

What a row found is kept in DIR/benchmarks.json as soon as it is there; the same command goes on after an interruption.
Ratios are of CPU time unless said otherwise, so that other work on the machine does not count.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from integrated_gradients import WORK as PATHS
from measuring import HERE, Found, alone
from page import failed, page

REPEATS = 9


def occlusion(name: str, size: int) -> Found:
    """Every method on one network, at one size."""
    return alone("occlusion.py", "--network", name, "--size", str(size), "--json").get(name) or {"failed": "no result"}


def exactness(name: str, size: int) -> Found:
    """Largest differences, as shares of the range of the effects."""
    return alone("exactness.py", "--network", name, "--size", str(size))


def cams(size: int) -> Found:
    """One pass, all maps, a peer's one map."""
    return {work: alone("cams.py", "--work", work, "--size", str(size)) for work in ("passes", "maps", "peer")}


def path(network: str, size: int, steps: int, repeats: int) -> Found:
    """Ours first: the others are compared with its map."""
    with tempfile.TemporaryDirectory() as folder:
        common = ["--network", network, "--size", str(size), "--steps", str(steps), "--map", f"{folder}/map.pt"]
        common += ["--repeats", str(repeats)]
        return {work: alone("integrated_gradients.py", "--work", work, *common) for work in PATHS}


def deletion(network: str, cases: int) -> Found:
    """Ours, the network alone as often, Quantus."""
    common = ["--network", network, "--cases", str(cases)]
    return {work: alone("deletion.py", "--work", work, *common) for work in ("ours", "forward", "Quantus")}


def start_up() -> Found:
    """CPU seconds of processes that only start, the median of several taken in turn."""
    regard = Path(sys.executable).parent / "regard"
    commands = {"regard --help": [str(regard), "--help"], "import torch": [sys.executable, "-c", "import torch"]}
    used: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(REPEATS):
        for name, command in commands.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {name: statistics.median(values) for name, values in used.items()}


def cohort() -> Found:
    """The cohort row has a file of its own, with its own settings."""
    if not (HERE / "cohort.py").is_file():
        return {"failed": "benchmarks/cohort.py is not there"}
    return alone("cohort.py", "--json")


def rows(quick: bool) -> dict[str, Callable[[], Found]]:
    """Every measurement by name."""
    size, others = (48, 48) if quick else (96, 48)
    found: dict[str, Callable[[], Found]] = {
        "start-up": start_up,
        "cams": lambda: cams(48 if quick else 96),
        "integrated gradients, sfcn": lambda: path("sfcn", 32, 10 if quick else 50, 3),
        "integrated gradients, deep": lambda: path("deep", 24, 10 if quick else 50, 1),
        "integrated gradients, resnet10": lambda: path("resnet10", 64, 10 if quick else 50, 1),
        "integrated gradients, unet": lambda: path("unet", 64, 10 if quick else 50, 1),
        "deletion, small": lambda: deletion("small", 2 if quick else 8),
        "deletion, resnet18": lambda: deletion("resnet18", 1 if quick else 4),
        "exactness, sfcn": lambda: exactness("sfcn", 48),
        "exactness, batch-norm-unet": lambda: exactness("batch-norm-unet", 48),
        "occlusion, sfcn": lambda: occlusion("sfcn", size),
    }
    for name in ("resnet18", "batch-norm-unet", "unet"):
        found[f"occlusion, {name}"] = lambda name=name: occlusion(name, others)  # type: ignore[misc]
    return {**found, "cohort": cohort}


def main() -> None:
    """Measure what is not there yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--quick", action="store_true", help="small images")
    parser.add_argument("--rows", nargs="+", help="only the rows whose names begin like this")
    options = parser.parse_args()
    if platform.system() != "Linux":
        raise SystemExit("memory is read from /proc: run this on Linux")
    options.output.mkdir(parents=True, exist_ok=True)
    store = options.output / "benchmarks.json"
    results: dict[str, Found] = json.loads(store.read_text()) if store.is_file() else {}
    for name, measure in rows(options.quick).items():
        wanted = options.rows is None or any(name.startswith(r) for r in options.rows)
        if not wanted or (name in results and not failed(results[name])):
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        results[name] = measure()
        store.write_text(json.dumps(results, indent=1))
    text = page(results, "python benchmarks/run.py -o DIR" + (" --quick" if options.quick else ""))
    (options.output / "benchmarks.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
