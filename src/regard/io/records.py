"""What a run folder says of itself: how far it came, which cases failed, where the images are."""

import csv
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from regard.core.errors import CardError, FileError, RegardError
from regard.io.lock import holder
from regard.io.schema import read_yaml
from regard.io.tables import Case

__all__ = ["FAILURES", "State", "in_words", "read_failures", "read_inputs", "read_run", "run_state"]

State: TypeAlias = Literal["running", "done", "some_failed", "interrupted", "failed"]
"""How far a run came."""

FAILURES = ("case", "stage", "error_type", "message")
"""Columns of ``failures.tsv``."""


def in_words(error: BaseException) -> tuple[str, str]:
    """Type and sentence of an exception as ``failures.tsv`` has them.

    Only sentences of Regard's own are told; of any other exception its type and the place, as its text may quote a
    header.
    """
    if isinstance(error, RegardError):
        return type(error).__name__, str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__, f"an unexpected {type(error).__name__}{where}; run again with -v"


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, dialect="excel-tab")
            if list(reader.fieldnames or ()) != list(columns):
                raise CardError(f"'{path}' with the columns {reader.fieldnames}", f"{list(columns)}", "delete the file")
            return [{c: row[c] or "" for c in columns} for row in reader]
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"'{path}' cannot be read", "a table with tabs", "delete it and run again") from error


def read_run(folder: str | Path, record: str = "run") -> dict[str, Any]:
    """What ``run.yaml`` (or ``<record>.yaml``) of a folder says; its state is `run_state`'s.

    Raises
    ------
    FileError
        If there is none, or it is corrupt.
    CardError
        If its schema is missing or newer.
    """
    folder = Path(folder)
    if not (folder / f"{record}.yaml").exists():
        raise FileError(f"no {record}.yaml in '{folder}'", "the folder of a run", "check the path")
    said = read_yaml(folder / f"{record}.yaml", record)
    if said.get("state") == "running" and holder(folder) is None:
        said["state"] = "interrupted"
    return said


def run_state(folder: str | Path, record: str = "run") -> State:
    """State of a run; ``running`` without a live lock counts as ``interrupted``."""
    state: State = read_run(folder, record)["state"]
    return state


def read_failures(folder: str | Path) -> list[dict[str, str]]:
    """Rows of ``failures.tsv``, by column."""
    return _rows(Path(folder) / "failures.tsv", FAILURES)


def read_inputs(folder: str | Path) -> list[Case]:
    """The cases of a run and their files, from ``inputs.tsv``, with the parts of them that were chosen.

    Raises
    ------
    FileError
        If there is none, as after a run with ``--private``.
    """
    path = Path(folder) / "inputs.tsv"
    if not path.exists():
        raise FileError(f"no inputs.tsv in '{folder}'", "a run without --private", "explain the cases again without it")
    found: dict[str, dict[str, Path]] = {}
    for row in _rows(path, ("case", "input", "path")):
        found.setdefault(row["case"], {})[row["input"]] = Path(row["path"])
    record = read_run(folder) if (Path(folder) / "run.yaml").exists() else {}
    chosen = {c: {k: str(v) for k, v in parts.items()} for c, parts in (record.get("chosen") or {}).items()}
    return [Case(case, inputs, chosen.get(case, {})) for case, inputs in found.items()]
