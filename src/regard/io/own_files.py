"""Which files of a run folder are Regard's own: `--overwrite` removes those and no others."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from regard.core.errors import FileError, FolderError
from regard.io.lock import LOCK

__all__ = ["clear", "foreign_files"]

_TOP = {
    *("run.yaml", "weigh.yaml", "inputs.tsv", "report.html", "scores.json", "evidence.tsv", "evidence.json"),
    *("subjects.tsv", "predictions.tsv"),
    *("failures.tsv", "run.log", "regions.tsv", "bench.tsv", "samples.tsv", "demo.json"),
}
_FOLDERS = {
    "maps": r"[^/]+_(relevance|se|spread|agreement|output)\.(nii\.gz|json|png|dcm)",
    "figures": r"[^/]+\.(png|svg|json|html)",
    "population": r"[^/]+\.(nii\.gz|json|png)",
    "samples": r"[^/]+_sample-\d+\.(nii\.gz|json|png)",
    "scans": r"[^/]+\.nii\.gz",
    "truth": r"[^/]+\.nii\.gz",
    "models": r"[^/]+/(card\.yaml|[^/]+\.(safetensors|json|ckpt))",
    "checkpoints": r".+\.(json|safetensors|ckpt|npz)",
    "maps.zarr": r".+",
}


def _is_own(name: str) -> bool:
    if name in _TOP or name.startswith(LOCK):
        return True
    top, _, rest = name.partition("/")
    return bool(rest) and top in _FOLDERS and re.fullmatch(_FOLDERS[top], rest) is not None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix(), path


def foreign_files(folder: Path) -> list[str]:
    """Files in a run folder that Regard does not make, links among them; paths relative to it."""
    return [name for name, path in _files(folder) if path.is_symlink() or not _is_own(name)]


def clear(folder: Path) -> None:
    """Remove what an earlier run made, and keep the lock.

    Raises
    ------
    FolderError
        If the folder holds anything else; then nothing is removed.
    """
    strange = foreign_files(folder)
    if strange:
        raise FolderError(
            f"'{folder}' holds {len(strange)} files that Regard did not make, such as '{strange[0]}'",
            "only the files of an earlier run, to overwrite them",
            "move them away, or choose another folder with -o",
        )
    try:
        for name, path in _files(folder):
            if not name.startswith(LOCK):
                path.unlink()
        for path in sorted(folder.rglob("*"), reverse=True):
            with suppress(OSError):
                path.rmdir()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise FileError(f"cannot remove files of '{folder}' ({why})", "a writable folder", "choose another") from error
