"""Paths that a file names: they stay inside its folder."""

from pathlib import Path, PurePosixPath, PureWindowsPath

from regard.core.errors import FileError
from regard.io.guard import exists

__all__ = ["inside"]


def inside(folder: Path, name: str, what: str) -> Path:
    """Path of the file ``name`` that a card or bundle in ``folder`` speaks of.

    Parameters
    ----------
    folder
        The card's folder.
    name
        Relative path.
    what
        What it is, for the message.

    Raises
    ------
    FileError
        If it climbs out of the folder (absolute, ``..`` or a link that leaves), or is not a file.
    """
    climbs = (
        not name.strip()
        or "\0" in name
        or PurePosixPath(name).is_absolute()
        or bool(PureWindowsPath(name).drive or PureWindowsPath(name).root)
        or ".." in PurePosixPath(name.replace("\\", "/")).parts
    )
    path = folder / name if not climbs else folder
    if not climbs and not exists(path):
        raise FileError(f"no {what} '{name}' in {folder}", "a file", "check its name")
    if climbs or not path.resolve().is_relative_to(folder.resolve()):
        raise FileError(f"{what} '{name}', which leaves the folder {folder.name}", "a file inside it", "move it there")
    if not path.is_file():
        raise FileError(f"no {what} '{name}' in {folder}", "a file", "check its name")
    return path
