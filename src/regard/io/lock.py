"""One run at a time in a folder: a lock file that says who holds it, and outlives nobody on this machine."""

import json
import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from regard.core.errors import FileError, FolderError

__all__ = ["LOCK", "Lock", "holder"]

LOCK = ".regard.lock"
"""Name of the lock file in a run folder."""


def _born(pid: int) -> str | None:
    """When a process started, in the system's own ticks; tells a process from a later one of the same number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def _alive(pid: int, born: str | None) -> bool:
    if os.name == "nt":
        return True  # there, asking would end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    now = _born(pid)
    return born is None or now is None or now == born


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text())
        return {"pid": int(content["pid"]), "host": str(content["host"]), "born": content.get("born")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return {"pid": -1, "host": "unknown", "born": None}


def holder(folder: Path) -> dict[str, Any] | None:
    """Process that holds a folder's lock (pid, host), or None when it is free or its holder is dead.

    A holder on another machine cannot be asked and counts as alive.
    """
    content = _read(folder / LOCK)
    if content is None:
        return None
    if content["host"] == socket.gethostname() and not _alive(content["pid"], content["born"]):
        return None
    return content


class Lock:
    """The lock of a folder; taken when made, given back by `release`.

    Parameters
    ----------
    folder
        The folder; it must exist.

    Raises
    ------
    FolderError
        If another process holds it.
    FileError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._content = json.dumps(
            {"pid": os.getpid(), "host": socket.gethostname(), "born": _born(os.getpid()), "key": secrets.token_hex(8)}
        )
        if not self._take() and not (self._discard_stale(folder) and self._take()):
            held = holder(folder) or {"pid": "another", "host": "this machine"}
            raise FolderError(
                f"the run folder '{folder}' is in use by process {held['pid']} on {held['host']}",
                "a folder that no other run writes to",
                f"wait for it, choose another with -o, or delete {self.path} if that process is gone",
            )

    def _take(self) -> bool:
        """Write the lock beside its place and link it in: it appears whole, and only if there is none."""
        own = self.path.with_name(f"{LOCK}-{secrets.token_hex(6)}")
        try:
            own.write_text(self._content)
            try:
                os.link(own, self.path)
            except FileExistsError:
                return False
            except OSError:  # a file system without links
                descriptor = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                with os.fdopen(descriptor, "w") as stream:
                    stream.write(self._content)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            got = f"cannot write to '{self.path.parent}' ({error.strerror or type(error).__name__})"
            raise FileError(got, "a writable folder", "choose another with -o") from error
        finally:
            with suppress(OSError):
                own.unlink()

    def _discard_stale(self, folder: Path) -> bool:
        """Remove the lock of a dead process; False when its holder lives."""
        if holder(folder) is not None:
            return False
        aside = self.path.with_name(f"{LOCK}-{secrets.token_hex(6)}")
        with suppress(FileNotFoundError):
            os.replace(self.path, aside)
            moved = _read(aside)
            # Between looking and moving somebody else may have taken the lock: then it goes back.
            if moved is not None and moved["host"] == socket.gethostname() and not _alive(moved["pid"], moved["born"]):
                aside.unlink()
                return True
            with suppress(FileExistsError):
                os.link(aside, self.path)
            aside.unlink()
            return False
        return True

    def release(self) -> None:
        """Give the lock back, if it is still this one."""
        with suppress(OSError):
            if self.path.read_text() == self._content:
                self.path.unlink()
