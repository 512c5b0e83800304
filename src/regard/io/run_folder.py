"""A run folder: one configuration, one writer at a time, nothing lost when a process dies, resumed by running again.

``run.yaml`` says what the run is and how far it came; ``inputs.tsv`` maps case ids to files; ``failures.tsv`` has a row
for each failed case; ``maps/`` and ``figures/`` hold the results.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

from regard.core.errors import CardError, FileError, FolderError, RunStoppedError
from regard.core.memory import peak_mib
from regard.core.plain_text import without_controls
from regard.io.atomic import TEMPORARY, announce, append_tsv, plain, watch, write_tsv, write_yaml
from regard.io.configuration import differences, digest, hidden
from regard.io.contents import Contents
from regard.io.lock import LOCK, Lock
from regard.io.manifest import MANIFEST, Manifest
from regard.io.maps import map_is_whole
from regard.io.names import map_stem, without_map_ending
from regard.io.own_files import adopt, adopt_top, clear, refuse_in_the_way
from regard.io.privacy import hide_uids
from regard.io.records import FAILURES, State, in_words, read_failures, read_run
from regard.io.schema import read_json
from regard.io.tables import Case

__all__ = ["RunFolder"]

logger = logging.getLogger(__name__)

_ORDER = (
    *("verb", "argv", "model", "case_ids", "methods", "target", "reference", "seed", "device", "threads"),
    *("batch_size", "versions", "hashes", "state"),
)

_KEPT = ("preflight",)
"""Facts that a resumed run takes over from the record of the one that it goes on with."""


def _one_line(text: str) -> str:
    return without_controls(text).replace("\\", "\\\\").replace("\t", "\\t").replace("\r", "\\r").replace("\n", "\\n")


class _Log(logging.FileHandler):
    """The file ``run.log``; what identifies a patient does not reach it."""

    def __init__(self, run: "RunFolder") -> None:
        announce(run.path / "run.log")
        super().__init__(run.path / "run.log", encoding="utf-8")
        self._run = run
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.setLevel(logging.INFO)

    def format(self, record: logging.LogRecord) -> str:
        return self._run.harmless(super().format(record))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the line: on a full disk the run's own error says so."""


class RunFolder:
    """An open run folder; use it as a context manager.

    Leaving the context sets the state: ``interrupted`` after Ctrl-C, ``failed`` after another exception, else
    ``some_failed`` or ``done``. The lock is always given back.

    Parameters
    ----------
    path
        The folder; absent or empty: the run starts. With the same configuration: it resumes.
    verb
        The verb of the command line.
    config
        The resolved configuration, in plain values: what must agree for a run to resume.
    argv
        The command line, recorded but not compared.
    cases
        The cases, for ``inputs.tsv``.
    versions, hashes
        Recorded but not compared.
    private
        Leave out ``inputs.tsv`` and every path.
    overwrite
        Start afresh: remove what an earlier run made, and nothing else.
    record
        ``"run"``; or another word for a verb that works inside a finished run folder (``"weigh"``).

    Raises
    ------
    FolderError
        If the folder is locked, holds a run with another configuration, or files that Regard did not make.
    FileError
        If it cannot be written to.
    """

    def __init__(
        self,
        path: str | Path,
        verb: str,
        config: Mapping[str, Any],
        *,
        argv: Sequence[str] = (),
        cases: Sequence[Case] = (),
        versions: Mapping[str, str] | None = None,
        hashes: Mapping[str, Any] | None = None,
        private: bool = False,
        overwrite: bool = False,
        record: str = "run",
    ) -> None:
        self.path, self.private, self.record = Path(path), private, record
        self._files = {str(p): c.case for c in cases for p in c.inputs.values()}
        self._log: _Log | None = None
        self._whole: dict[Path, tuple[int, int]] = {}
        self._prepare_folder()
        self._lock = Lock(self.path)
        self._open = ExitStack()
        self._open.callback(self._lock.release)
        try:
            self._begin(verb, plain(config), list(argv), cases, versions, hashes, overwrite)
        except BaseException:
            self._open.close()
            raise

    def _prepare_folder(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise FolderError(f"'{self.path}' is a file", "a folder for the results", "choose another with -o")
        if self.record != "run" and not (self.path / "run.yaml").exists():
            raise FolderError(f"no run.yaml in '{self.path}'", "a finished run folder", "run `regard explain` first")
        if self.record == "run" and self.path.is_dir() and not (self.path / "run.yaml").exists():
            others = [p.name for p in self.path.iterdir() if not p.name.startswith((LOCK, TEMPORARY))]
            # A run that was killed at its very start left its list alone.
            if others and others != [MANIFEST]:
                raise FolderError(
                    f"'{self.path}' holds '{sorted(others)[0]}' and the like, and no run.yaml",
                    "an absent or empty folder, or one of an earlier run",
                    "choose another with -o",
                )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            got = f"cannot make the folder '{self.path}' ({error.strerror or type(error).__name__})"
            raise FileError(got, "a writable place", "choose another with -o") from error

    def _begin(
        self,
        verb: str,
        config: dict[str, Any],
        argv: list[str],
        cases: Sequence[Case],
        versions: Mapping[str, str] | None,
        hashes: Mapping[str, Any] | None,
        overwrite: bool,
    ) -> None:
        for leftover in self.path.rglob(f"{TEMPORARY}*.tmp"):
            leftover.unlink(missing_ok=True)
        shown = hidden(config) if self.private else config
        # Of what is shown: a checksum of a path that is hidden could be guessed.
        sha256 = digest({"verb": verb, **shown})
        manifest = Manifest(self.path)
        if not manifest.exists:
            adopt(self.path, manifest)
        refuse_in_the_way(self.path, manifest)
        before = read_run(self.path, self.record) if self._record_path.exists() else None
        if before is not None and (overwrite or self._left_nothing(before, sha256)):
            if self.record == "run":
                clear(self.path, manifest)
            before = None
        self._open.enter_context(watch(lambda path, whole: manifest.claim(path, whole=whole)))
        self._manifest = manifest
        self._contents = Contents(self.path)
        if before is not None:
            self._check_same(before, {"verb": verb, **shown}, sha256)
            if versions is not None and before.get("versions") not in (None, dict(versions)):
                logger.warning("resuming a run that other package versions began; run.yaml keeps the new ones")
        self.resumed = before is not None
        self._failures = read_failures(self.path)
        said = {
            "verb": verb,
            "argv": hidden(argv) if self.private else argv,
            **shown,
            "versions": dict(versions or {}),
            "hashes": {**dict(hashes or {}), "configuration_sha256": sha256},
            "private": self.private,
        }
        kept = {k: before[k] for k in _KEPT if k in before} if before is not None else {}
        self._said = {**{k: said.pop(k) for k in _ORDER if k in said}, **said, **kept}
        self._set_state("running")
        for folder in (self.maps, self.figures):
            folder.mkdir(exist_ok=True)
        if not self.private and cases:
            rows = [(c.case, name, os.path.abspath(p)) for c in cases for name, p in c.inputs.items()]
            write_tsv(self.path / "inputs.tsv", ("case", "input", "path"), rows)
        self._write_failures()

    def check_inputs(self, case: Case) -> None:
        """Refuse a case whose image is another one than its results were made of; one without a record passes.

        Raises
        ------
        FolderError
            Naming the case and the input.
        """
        self._contents.check(case)

    def record_inputs(self, case: Case) -> None:
        """Note what is in the images of a case, before its first result is saved."""
        self._contents.record(case)

    def _left_nothing(self, before: Mapping[str, Any], sha256: str) -> bool:
        """Whether a run of another configuration failed before its first map: then the command was just corrected."""
        other = (before.get("hashes") or {}).get("configuration_sha256") != sha256
        failed = self.record == "run" and before.get("state") == "failed"
        return other and failed and not (self.maps.is_dir() and any(self.maps.iterdir()))

    def _check_same(self, before: Mapping[str, Any], now: Mapping[str, Any], sha256: str) -> None:
        """Refuse a run of another configuration, and say which key differs."""
        if (before.get("hashes") or {}).get("configuration_sha256") == sha256:
            return
        what = "; ".join(differences(before, plain(now))[:3])
        raise FolderError(
            f"'{self.path}' holds a run with another configuration: {what or 'its files differ'}",
            "the same configuration, to resume",
            "choose another folder with -o, or --overwrite",
        )

    @property
    def _record_path(self) -> Path:
        return self.path / f"{self.record}.yaml"

    @property
    def maps(self) -> Path:
        """Folder of the maps."""
        return self.path / "maps"

    @property
    def figures(self) -> Path:
        """Folder of the figures."""
        return self.path / "figures"

    @property
    def failures(self) -> list[dict[str, str]]:
        """Rows of ``failures.tsv``, by column."""
        return [dict(row) for row in self._failures]

    def map_path(self, case: str, label: str, input: str | None = None) -> Path:
        """Where the map of a case belongs; that of a signal is a table, and this is its path once it is there."""
        stem = map_stem(case, label, input)
        table = self.maps / f"{stem}.tsv"
        return table if table.exists() else self.maps / f"{stem}.nii.gz"

    def is_done(self, case: str, label: str, input: str | None = None) -> bool:
        """Whether the map of a case is there whole: its sidecar is written last, with the checksums of its files.

        A map that was damaged, or written over by another, is not done: it is made again, and told.
        """
        path = self.map_path(case, label, input)
        beside = path.with_name(without_map_ending(path.name) + ".json")
        try:
            states = path.stat(), beside.stat()
            said = read_json(beside, "explanation")
        except (FileError, CardError, OSError):
            return False
        if said.get("case") != case:
            return False
        seen = (states[0].st_mtime_ns, states[1].st_mtime_ns)
        if self._whole.get(path) == seen:
            return True
        if not map_is_whole(path, said):
            logger.warning("%s: the map '%s' is not as it was saved; it is made again", case, path.name)
            return False
        self._whole[path] = seen
        return True

    def harmless(self, text: str) -> str:
        """``text`` without identifiers of DICOM; with ``private``, files are named by their case ids."""
        if self.private:
            for path in sorted(self._files, key=len, reverse=True):
                for form in (os.path.abspath(path), path, Path(path).name):
                    text = text.replace(form, f"<{self._files[path]}>")
        return hide_uids(text)

    def add_failure(self, case: str, stage: str, error: BaseException) -> None:
        """Write one row of ``failures.tsv``; it replaces an older one of the same case and stage.

        Only sentences of Regard's own are written; of any other exception its type and the place, as its text may quote
        a header.

        Parameters
        ----------
        case
            Case id.
        stage
            What was being done: ``"read"``, ``"explain"``, ``"save"``, ``"weigh"``.
        error
            What went wrong.
        """
        self.add_failure_in_words(case, stage, *in_words(error))

    def add_failure_in_words(self, case: str, stage: str, error_type: str, message: str) -> None:
        """Write one row of ``failures.tsv`` as another process told it; parameters as its columns."""
        replaced = self._forget(case, stage)
        row = (case, stage, error_type, _one_line(self.harmless(message)))
        self._failures.append(dict(zip(FAILURES, row, strict=True)))
        if replaced or not (self.path / "failures.tsv").is_file():
            self._write_failures()
        else:
            # Of thousands of cases each may fail: the table is not written anew for each.
            append_tsv(self.path / "failures.tsv", [row])

    def succeeded(self, case: str, stage: str | None = None) -> None:
        """Remove the rows of a case that failed earlier and is now done (all stages, or one)."""
        if self._forget(case, stage):
            self._write_failures()

    def _forget(self, case: str, stage: str | None) -> bool:
        n = len(self._failures)
        self._failures = [r for r in self._failures if r["case"] != case or stage not in (None, r["stage"])]
        return len(self._failures) != n

    def _write_failures(self) -> None:
        write_tsv(self.path / "failures.tsv", FAILURES, [[r[c] for c in FAILURES] for r in self._failures])

    def noted(self, key: str) -> Any:
        """What the run's record says under ``key``; None if nothing."""
        return self._said.get(key)

    def note(self, **facts: Any) -> None:
        """Add facts to the run's record, such as ``hashes`` that are known later; mappings are merged."""
        for key, value in facts.items():
            old = self._said.get(key)
            merged = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
            self._said[key] = hidden(merged) if self.private else merged
        self._set_state(self.state)

    def _set_state(self, state: State) -> None:
        self.state: State = state
        ordered = {**{k: v for k, v in self._said.items() if k in _ORDER}, "state": state}
        write_yaml(self._record_path, self.record, {**ordered, **self._said, "state": state})

    def finish(self, state: State | None = None) -> State:
        """Set how the run ended, by default ``done`` or ``some_failed``, and return it."""
        state = state or ("some_failed" if self._failures else "done")
        if state not in get_args(State):
            raise CardError(f"the state '{state}'", f"one of {', '.join(get_args(State))}")
        self._set_state(state)
        logger.info("most memory held: %.0f MiB", peak_mib())
        return state

    def close(self) -> None:
        """Stop logging and give the lock back."""
        try:
            if self._log is not None:
                logging.getLogger("regard").removeHandler(self._log)
                with suppress(OSError):  # the last lines, on a full disk
                    self._log.close()
                self._log = None
            with suppress(FileError):  # on a full disk
                adopt_top(self.path, self._manifest)
        finally:
            self._open.close()

    def __enter__(self) -> "RunFolder":
        try:
            self._log = _Log(self)
        except BaseException:
            self._open.close()
            raise
        logging.getLogger("regard").addHandler(self._log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        try:
            if error is not None:
                stopped = isinstance(error, (KeyboardInterrupt, RunStoppedError))
                logger.info("the run stopped: %s", type(error).__name__)  # whoever catches the error tells it
                try:
                    self.finish("interrupted" if stopped else "failed")
                except FileError as second:  # a full disk must not hide what went wrong first
                    logger.info("%s", second)
            elif self.state == "running":
                self.finish()
        finally:
            self.close()
        return False
