"""What every benchmark shares: time and memory of one piece of work, the machine in words, peers that do not import."""

import ctypes
import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import torch

HERE = Path(__file__).parent
Found: TypeAlias = dict[str, Any]


def cpu_seconds() -> float:
    """CPU time of this process, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _resident(field: str) -> float:
    """A line of this process's memory table [MiB]."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {field} on this system")


def measured(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What ``work`` gives, with CPU and wall seconds, and MiB that the most resident memory rose by meanwhile."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the most resident memory counts from here
    before, wall, cpu = _resident("VmRSS"), time.perf_counter(), cpu_seconds()
    found = work()
    used = {"cpu": cpu_seconds() - cpu, "wall": time.perf_counter() - wall}
    return found, {**used, "memory": _resident("VmHWM") - before}


def alone(script: str, *arguments: str) -> dict[str, Any]:
    """Run ``script`` of this folder in a process of its own; its last line of output is JSON."""
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no word"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def one_thread() -> None:
    """One thread, and nothing drawn differently from run to run."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


def let_torchvision_import() -> str:
    """Make a torchvision that was built for another torch importable; says so, or nothing where that is not needed.

    Its compiled operators are missing then. What is compared here uses none of them.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
        for name in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        return "torchvision without its compiled operators"
    return ""


_KEPT: list[Any] = []


def machine() -> str:
    """Kind of processor, its cores, threads in use, system; no name."""
    kind = platform.processor() or platform.machine()
    cores = 0
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            kind, cores = line.partition(":")[2].strip(), cores + 1
    return f"{kind}, {cores} cores, {platform.system()}; one thread"


def versions(*names: str) -> str:
    """Versions of Python and of what is compared."""
    found = [f"Python {platform.python_version()}"]
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)
