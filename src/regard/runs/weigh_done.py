"""The cases of ``regard weigh`` that are done, to go on from."""

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from regard.core.errors import CardError, FileError
from regard.evidence.comparison import WeighedMap
from regard.evidence.files import weighed_map
from regard.io.atomic import write_json
from regard.io.names import safe_name
from regard.io.schema import read_json

__all__ = ["Done"]


class Done:
    """Cases that have been weighed, on disk until the run is finished.

    Parameters
    ----------
    folder
        The run folder.
    digest
        Of the configuration: what another one left is not used.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder, self._digest = folder / "checkpoints", digest

    def _path(self, case: str) -> Path:
        return self._folder / f"weighed-{safe_name(case)}.json"

    def save(self, case: str, maps: Sequence[WeighedMap]) -> None:
        """Keep what was measured of a case."""
        content = {"configuration_sha256": self._digest, "maps": [dataclasses.asdict(m) for m in maps]}
        write_json(self._path(case), "weighed", content)

    def load(self, case: str) -> list[WeighedMap] | None:
        """What was measured of a case, or None."""
        try:
            said = read_json(self._path(case), "weighed")
        except (FileError, CardError):
            return None
        if said.get("configuration_sha256") != self._digest:
            return None
        return [weighed_map(m) for m in said["maps"]]

    def clear(self) -> None:
        """Remove all of it."""
        for path in self._folder.glob("weighed-*.json"):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # it holds something else
            self._folder.rmdir()
