"""Removing what an earlier run wrote: the files on its list (`Manifest`) and no others."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from regard.core.errors import FileError, FolderError
from regard.io.lock import LOCK
from regard.io.manifest import MANIFEST, Manifest

__all__ = ["adopt", "adopt_top", "clear", "foreign_files", "refuse_in_the_way"]

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


def _looks_own(name: str) -> bool:
    """Whether a path has a name that Regard gives: all that a folder without a list tells."""
    if name in _TOP:
        return True
    top, _, rest = name.partition("/")
    return bool(rest) and top in _FOLDERS and re.fullmatch(_FOLDERS[top], rest) is not None


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(LOCK) and name != MANIFEST and (path.is_symlink() or not path.is_dir()):
            yield name, path


def adopt(folder: Path, manifest: Manifest) -> None:
    """Put on the list what a run of Regard 0.1 wrote, which kept none: the files that have the names it gives."""
    for name, path in _files(folder):
        if not path.is_symlink() and _looks_own(name) and name not in manifest:
            manifest.take(name)


def adopt_top(folder: Path, manifest: Manifest) -> None:
    """Put on the list what stands now at places that were free when the run began (`refuse_in_the_way`)."""
    for name in sorted(_TOP):
        if name not in manifest and (folder / name).is_file() and not (folder / name).is_symlink():
            manifest.take(name)


def foreign_files(folder: Path, manifest: Manifest) -> list[str]:
    """Files in a run folder that the run did not write, links among them; paths relative to it."""
    return [name for name, path in _files(folder) if path.is_symlink() or name not in manifest]


def refuse_in_the_way(folder: Path, manifest: Manifest) -> None:
    """Refuse to begin where a file or link that is not the run's stands at a place that every run writes to.

    Raises
    ------
    FolderError
        If there is one.
    """
    for name in foreign_files(folder, manifest):
        if name in _TOP or name in _FOLDERS:
            manifest.refuse_links(name)
            got = f"'{folder / name}', which no run wrote, is where one has to write"
            raise FolderError(got, "a file of the run there, or none", "move it away, or choose another folder with -o")


def clear(folder: Path, manifest: Manifest) -> None:
    """Remove what an earlier run wrote; the lock and all other files stay.

    Raises
    ------
    FileError
        If something cannot be removed.
    """
    emptied = {folder / "maps", folder / "figures"}
    try:
        for name, path in _files(folder):
            if name in manifest and not path.is_symlink():
                path.unlink()
                emptied |= {above for above in path.parents if folder in above.parents}
        for path in sorted(emptied, reverse=True):
            with suppress(OSError):  # it holds something else
                path.rmdir()
        manifest.forget()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise FileError(f"cannot remove files of '{folder}' ({why})", "a writable folder", "choose another") from error
