"""Mutated files for every reader, each read in a process with a limit of time and of memory.

``python tests/fuzz/fuzz_driver.py --files 20000`` (``make fuzz``) prints what became of them, and keeps those that
were answered by anything but a reading or an error of Regard's own, with the seed that makes them again.
"""

import argparse
import json
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_mutations import mutate
from fuzz_seeds import KINDS, Seed, write_seeds

__all__ = ["GOOD", "Result", "Seeded", "run"]

SECONDS = 10.0
OUTCOMES = ("read", "refused", "bare", "hang", "memory", "ended")
GOOD = frozenset({"read", "refused"})


class _Worker:
    """A process that reads files; started again after one that ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        place = os.pathsep.join(p for p in sys.path if p)
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("fuzz_worker.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PYTHONPATH": place, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip
        self._ask(process, "option", Path(os.devnull), 120.0)  # the time of starting is not that of a file
        return process

    @staticmethod
    def _ask(process: subprocess.Popen[str], kind: str, path: Path, seconds: float) -> dict[str, Any]:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps({"kind": kind, "path": str(path)}) + "\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], seconds)[0]:
                return {"outcome": "hang", "error": f"no answer in {seconds:.0f} s"}
            return dict(json.loads(process.stdout.readline()))
        except (OSError, ValueError):
            return {"outcome": "ended", "error": f"the process ended with {process.wait()}"}

    def ask(self, kind: str, path: Path) -> dict[str, Any]:
        said = self._once(kind, path)
        # On a machine that others use a process may stand still: what hangs does so twice.
        return self._once(kind, path) if said["outcome"] == "hang" else said

    def _once(self, kind: str, path: Path) -> dict[str, Any]:
        if self._process is None:
            self._process = self._start()
        said = self._ask(self._process, kind, path, SECONDS)
        if said["outcome"] in ("hang", "ended", "memory"):
            self.stop()
        return said

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass
class Result:
    """What became of the files, and those that were not answered as they should be."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    bad: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0

    def table(self) -> str:
        """Counts by kind and outcome, as Markdown."""
        lines = ["| reader | files | " + " | ".join(OUTCOMES) + " |", "| --- |" + " --- |" * (len(OUTCOMES) + 1)]
        kinds = [k for k in KINDS if any(key[0] == k for key in self.counts)]
        for kind in [*kinds, "all"]:
            row = [sum(n for (k, o), n in self.counts.items() if o == one and kind in (k, "all")) for one in OUTCOMES]
            lines.append(f"| {kind.replace('_', ' ')} | {sum(row)} | " + " | ".join(map(str, row)) + " |")
        return "\n".join(lines)


class Seeded:
    """Whole files in a folder, and the process that reads what is made of them.

    Parameters
    ----------
    folder
        Where they are written.
    """

    def __init__(self, folder: Path) -> None:
        self.seeds = write_seeds(folder / "seeds")
        self._work, self.worker = folder / "work", _Worker()

    def read(self, seed: Seed, key: str) -> dict[str, Any]:
        """How one mutated file is answered, where it lies beside the other files of its folder."""
        there = self._work / seed.kind
        if not there.exists():
            shutil.copytree(seed.whole, there)
        inside = seed.path.is_relative_to(seed.whole)
        path = there / (seed.path.relative_to(seed.whole) if inside else seed.path.name)
        whole = seed.path.read_bytes()
        path.write_bytes(mutate(whole, key))
        try:
            return self.worker.ask(seed.kind, path)
        finally:
            path.write_bytes(whole) if inside else path.unlink(missing_ok=True)


def run(n_files: int, *, seed: int, seeded: Seeded, kinds: Sequence[str] = KINDS, kept: Path | None = None) -> Result:
    """Read ``n_files`` mutated files, as many of each kind.

    Parameters
    ----------
    n_files
        Number of files.
    seed
        Of all draws.
    seeded
        What is mutated.
    kinds
        Readers that are tried.
    kept
        Where files that were answered badly are kept.
    """
    result = Result()
    for n in range(n_files):
        kind = kinds[n % len(kinds)]
        key = f"{seed}-{kind}-{n}"
        source = random.Random(key).choice(seeded.seeds[kind])
        said = seeded.read(source, key)
        result.counts[kind, said["outcome"]] += 1
        result.slowest = max(result.slowest, said.get("seconds", 0.0))
        if said["outcome"] not in GOOD:
            result.bad.append({"kind": kind, "key": key, "seed_file": source.path.name, **said})
            if kept is not None:
                kept.mkdir(parents=True, exist_ok=True)
                (kept / f"{key}-{source.path.name}").write_bytes(mutate(source.path.read_bytes(), key))
    seeded.worker.stop()
    return result


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--kept", type=Path, default=Path("fuzz-found"))
    asked = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        result = run(asked.files, seed=asked.seed, seeded=Seeded(Path(folder)), kinds=asked.kinds, kept=asked.kept)
    sys.stdout.write(result.table() + "\n\n")
    for one in result.bad:
        sys.stdout.write(json.dumps(one) + "\n")
    sys.stdout.write(f"slowest file {result.slowest:.2f} s; all in {time.monotonic() - start:.0f} s\n")
    return 1 if result.bad else 0


if __name__ == "__main__":
    sys.exit(main())
