"""Native decoders in a process of their own: a file that ends its decoder, or keeps it busy for ever, is one error.

One process is kept and asked again; it is started for the first compressed file, and anew after one that ended it.
"""

import atexit
import json
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, TypeAlias

from regard.core.errors import FileError
from regard.io.guard import require_file
from regard.io.limits import limited

__all__ = ["MEMORY", "SECONDS", "Decoded", "decode"]

logger = logging.getLogger(__name__)

SECONDS = 30.0
"""Time that a file may take [s], and one more for each 2^20 bytes of it."""

MEMORY = 6 * 2**30
"""Address space of the process [byte]."""

Kind: TypeAlias = Literal["dicom", "tiff"]
_SCRIPT = Path(__file__).with_name("decode.py")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Decoded(NamedTuple):
    """What a decoder gave: what it says of the pixels, and their bytes."""

    said: Mapping[str, Any]
    content: bytes


class _EndedError(Exception):
    """The process ended, or was ended, without an answer."""


class _Decoder:
    """A running process, which answers one file after the other."""

    def __init__(self, *, limits: bool) -> None:
        self.limits, self.pid = limits, os.getpid()
        place = os.pathsep.join(dict.fromkeys(p for p in sys.path if p and os.path.isdir(p)))
        self._process = subprocess.Popen(
            # -P: the folder of the script holds modules that must not hide others of the same name.
            [sys.executable, "-P", str(_SCRIPT), str(MEMORY if limits else 0)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": place},
        )
        self._questions: IO[bytes] = self._process.stdin  # type: ignore[assignment]
        self._answers: IO[bytes] = self._process.stdout  # type: ignore[assignment]

    @property
    def is_alive(self) -> bool:
        return self.pid == os.getpid() and self._process.poll() is None

    def ask(self, kind: Kind, path: Path, seconds: float | None) -> Decoded:
        """The answer for one file.

        Raises
        ------
        _EndedError
            If there is none in time; the process is then gone.
        """
        found: queue.SimpleQueue[Decoded | None] = queue.SimpleQueue()
        thread = threading.Thread(target=lambda: found.put(self._answer(kind, path)), daemon=True)
        thread.start()
        try:
            answer = found.get(timeout=seconds)
        except queue.Empty:
            self.stop()
            raise _EndedError(f"gave no answer within {seconds:.0f} s") from None
        except BaseException:  # interrupted: what it would still answer belongs to no one
            self.stop()
            raise
        if answer is None:
            self.stop()
            raise _EndedError("ended at it")
        return answer

    def _answer(self, kind: Kind, path: Path) -> Decoded | None:
        try:
            line = json.dumps({"decoder": kind, "path": os.path.abspath(path)})
            self._questions.write(line.encode() + b"\n")
            self._questions.flush()
            said = json.loads(self._answers.readline())
            content = self._answers.read(said["bytes"])
        except (OSError, ValueError):
            return None
        return Decoded(said, content) if len(content) == said["bytes"] else None

    def stop(self) -> None:
        """End the process."""
        if self.pid != os.getpid():  # a copy of a fork: the process is the parent's
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._questions, self._answers):
            with suppress(OSError):
                stream.close()


class _Shared:
    """The one decoder of this process, and the lock of who asks it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: _Decoder | None = None

    def get(self) -> _Decoder:
        limits = limited()
        if self.running is not None and (self.running.limits != limits or not self.running.is_alive):
            self.running.stop()
            self.running = None
        if self.running is None:
            self.running = _Decoder(limits=limits)
        return self.running

    def stop(self) -> None:
        if self.running is not None:
            self.running.stop()
            self.running = None

    def forget(self) -> None:
        self.lock, self.running = threading.Lock(), None


_SHARED = _Shared()
atexit.register(_SHARED.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SHARED.forget)


def decode(path: Path, kind: Kind) -> Decoded:
    """Decode a compressed file in the process of decoders.

    Parameters
    ----------
    path
        The file.
    kind
        ``"dicom"`` or ``"tiff"``.

    Raises
    ------
    FileError
        If its decoder refuses it, ends, takes more than `SECONDS` or more than `MEMORY`.
    """
    size = require_file(path)
    seconds = SECONDS + size / 2**20 if limited() else None
    with _SHARED.lock:
        decoder = _SHARED.get()
        try:
            found = decoder.ask(kind, path, seconds)
        except _EndedError as error:
            got = f"'{path}', whose decoder {error}"
            raise FileError(got, "whole compressed pixels", "export it again, without compression") from error
    name = found.said.get("error")
    if name == "MemoryError":
        got = f"'{path}', whose decoder needs more than {MEMORY / 2**30:.0f} GiB"
        raise FileError(
            got, "a smaller image", "export it without compression, or give --no-limits (limits=False in Python)"
        )
    if name is not None:
        logger.debug("%s: the decoder says %s: %s", path.name, name, found.said.get("text"))
        got = f"'{path}' has pixels that are missing, truncated or corrupt (its decoder says {name})"
        raise FileError(got, "whole compressed pixels", "export it again")
    return found
