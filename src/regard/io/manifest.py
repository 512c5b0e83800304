"""The list of what a run wrote into its folder, kept as it writes: what `--overwrite` removes, and nothing else."""

import os
from collections.abc import Iterator
from pathlib import Path

from regard.core.errors import FileError, FolderError

__all__ = ["MANIFEST", "Manifest"]

MANIFEST = "files.txt"
"""Name of the list in a run folder: a path relative to the folder in each line, ending in ``/`` for a whole folder."""


class Manifest:
    """What a run wrote into its folder.

    Parameters
    ----------
    folder
        The run folder; it must exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))
        self.path = self.folder / MANIFEST
        self.exists = self.path.is_file() and not self.path.is_symlink()
        """Whether there was a list when this was opened; folders of Regard 0.1 have none."""
        self._names = set(self._read()) if self.exists else set()

    def _read(self) -> Iterator[str]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"'{self.path}' cannot be read", "the list of what the run wrote", "delete it") from error
        for line in text.splitlines():
            # A line that was cut off by a crash, or leads out of the folder, names nothing of ours.
            if line and not os.path.isabs(line) and ".." not in line.split("/"):
                yield line

    def __contains__(self, name: str) -> bool:
        """Whether a path relative to the folder was written by the run, alone or in a folder that was."""
        if name in self._names:
            return True
        parts = name.split("/")
        return any("/".join(parts[:n]) + "/" in self._names for n in range(1, len(parts)))

    def relative(self, path: Path) -> str | None:
        """The path relative to the folder, or None where it lies elsewhere."""
        absolute = os.path.abspath(path)
        inside = absolute.startswith(str(self.folder) + os.sep)
        return Path(absolute).relative_to(self.folder).as_posix() if inside else None

    def claim(self, path: Path, *, whole: bool = False) -> None:
        """Put a path on the list before it is written; one that lies outside the folder is nobody's business here.

        Parameters
        ----------
        path
            What will be written.
        whole
            Whether it is a folder with all that it will hold.

        Raises
        ------
        FolderError
            If it lies behind a link, or is a file that the run did not write.
        """
        name = self.relative(path)
        if name is None or (name + "/" if whole else name) in self._names:
            return
        self.refuse_links(name)
        if not whole and name not in self and os.path.lexists(path):
            raise FolderError(
                f"'{path}', which this run did not write, is where it has to write",
                "a file of its own there, or none",
                "move it away, or choose another folder with -o",
            )
        self.take(name + "/" if whole else name)

    def take(self, entry: str) -> None:
        """Put an entry on the list, as it stands there.

        Raises
        ------
        FileError
            If the list cannot be written to.
        """
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(entry + "\n")
        except OSError as error:
            got = f"cannot write to '{self.path}' ({error.strerror or type(error).__name__})"
            raise FileError(got, "a writable folder with room", "free some") from error
        self._names.add(entry)

    def refuse_links(self, name: str) -> None:
        """Refuse a path of the folder that lies behind a link: what is written there would land elsewhere.

        Raises
        ------
        FolderError
            If any part of it is a link.
        """
        place = self.folder
        for part in name.split("/"):
            place = place / part
            if place.is_symlink():
                got = f"'{place}', which is a link to '{os.readlink(place)}'"
                raise FolderError(got, "files and folders of the run itself", "remove the link, or choose another -o")

    def forget(self) -> None:
        """Empty the list, when what it names has been removed."""
        self._names = set()
        self.path.unlink(missing_ok=True)
        self.exists = False
