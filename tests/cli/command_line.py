"""What a command line returned, printed and wrote."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

MAPS = "maps/*_relevance.*"


@dataclass(frozen=True)
class Said:
    """What a command returned and printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, *words: str, code: int = 2) -> bool:
        """Whether it is one line on standard error that has all words, nothing on standard output, and this code."""
        assert self.code == code, self
        assert self.out == ""
        assert self.err.startswith("regard: ")
        assert self.err.count("\n") == 1, self.err
        assert "; " in self.err
        for word in words:
            assert word in self.err, f"{word!r} not in {self.err!r}"
        return True


Regard: TypeAlias = Callable[..., Said]


def failures(folder: Path) -> list[dict[str, str]]:
    """Rows of ``failures.tsv``."""
    with (folder / "failures.tsv").open(newline="") as stream:
        return list(csv.DictReader(stream, dialect="excel-tab"))


def state(folder: Path) -> str:
    """How far a run came, as its record says."""
    return str(yaml.safe_load((folder / "run.yaml").read_text())["state"])


def written(folder: Path) -> dict[str, int]:
    """When each map was written, its sidecar and its picture."""
    on_scan = sorted(p for p in folder.glob(MAPS) if "_space-network_" not in p.name)
    return {p.name: p.stat().st_mtime_ns for p in on_scan}
