"""Running a study in a run folder: acts in order, each in pieces that are kept, nothing lost when a process dies."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from regard.core.errors import CardError, FileError, FolderError, InputError
from regard.io import RunFolder
from regard.io.atomic import atomic, write_json
from regard.io.records import read_run
from regard.io.schema import read_json
from regard.studies import ACTS
from regard.studies.config import StudyConfig
from regard.studies.scoring.bootstrap import Score

__all__ = ["Scores", "Stage", "StudyRun", "acts_of", "check_source", "run_study", "sources", "write_scores"]

logger = logging.getLogger(__name__)

Scores: TypeAlias = Mapping[str, Mapping[str, Score]]
"""Group, then name."""

Stage: TypeAlias = Callable[[str, str, int, int], None]
"""Called with the act, what comes next, and how many of its pieces of how many are done."""

_KEPT = "checkpoints"


def _silent(act: str, label: str, done: int, total: int) -> None:
    pass


class StudyRun:
    """An open run of a study: where its pieces are kept, and what it was told.

    Parameters
    ----------
    config
        The resolved configuration.
    folder
        The run folder, open.
    seed
        Of every draw.
    device
        Where networks run.
    data
        The user's table or folder; None: phantoms.
    source
        Folder of an earlier run whose pieces are used for the acts that are not run here.
    bases
        Folders of runs of other studies, whose networks or scores this one takes.
    stage
        Told of progress.
    """

    acts: tuple[str, ...] = ()
    """Acts that are run here: none of their pieces is taken from the source run, which may have other settings."""

    def __init__(
        self,
        config: StudyConfig,
        folder: RunFolder,
        *,
        seed: int = 0,
        device: str = "cpu",
        data: Path | None = None,
        source: Path | None = None,
        bases: Sequence[Path] = (),
        stage: Stage = _silent,
    ) -> None:
        self.config, self.folder, self.seed, self.device = config, folder, seed, device
        self.data, self.source, self.bases = data, source, tuple(bases)
        self.act = ACTS[0]
        self._stage = stage

    @property
    def base(self) -> Path | None:
        """The one run of another study that this one builds on; None without one."""
        return self.bases[0] if self.bases else None

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    def stage(self, label: str, done: int, total: int) -> None:
        """Tell what comes next in this act, and how many of its pieces are done."""
        self._stage(self.act, label, done, total)

    def find(self, name: str) -> Path | None:
        """A file of this run by its name relative to the folder, or of the source run; None where there is none."""
        for folder in (self.path, None if self._own(name) else self.source):
            if folder is not None and (folder / name).exists():
                return folder / name
        return None

    def _own(self, name: str) -> bool:
        first, _, rest = name.partition("/")
        act = "train" if first == "models" else rest.partition("/")[0]
        return act in self.acts

    def tensors(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The piece called ``name``: read, or made and kept.

        It is read back also when it was just made, so that a run is the same whether it was cut off or not.

        Parameters
        ----------
        name
            Unique in the study, such as ``"data/test-003"``.
        make
            Makes its tensors by name.
        """
        return self._piece(f"{_KEPT}/{name}.safetensors", load_file, lambda path: _save(path, make()))

    def record(self, name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """As `tensors`, for plain values; NaN comes back as None."""

        def write(path: Path) -> None:
            write_json(path, "piece", dict(make()))

        found = self._piece(f"{_KEPT}/{name}.json", lambda path: read_json(path, "piece"), write)
        return {k: v for k, v in found.items() if k != "schema"}

    def _piece(self, name: str, read: Callable[[Path], Any], write: Callable[[Path], None]) -> Any:
        path = self.find(name)
        if path is not None:
            try:
                return read(path)
            except (FileError, CardError, SafetensorError, OSError):
                logger.warning("%s cannot be read and is made again", name)
        write(self.path / name)
        return read(self.path / name)


def _save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    with atomic(path) as temporary:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary)


def acts_of(text: str | None) -> tuple[str, ...]:
    """Read acts separated by commas; all of them for None.

    Raises
    ------
    InputError
        If there is no such act.
    """
    if text is None:
        return ACTS
    wanted = [t.strip() for t in text.split(",") if t.strip()]
    for name in wanted:
        if name not in ACTS:
            raise InputError(f"the act '{name}'", f"some of {', '.join(ACTS)}")
    return tuple(a for a in ACTS if a in wanted)


def _marker(act: str) -> str:
    return f"{_KEPT}/act-{act}.json"


def _score(row: Mapping[str, Any]) -> Score:
    def number(value: Any) -> float:
        return float("nan") if value is None else float(value)

    return Score(
        number(row["value"]),
        number(row["low"]),
        number(row["high"]),
        float(row["level"]),
        int(row["n"]),
        int(row["n_patients"]),
        str(row["unit"]),
        str(row.get("interval", "")),
    )


def _read_scores(path: Path) -> dict[str, dict[str, Score]]:
    said = read_json(path, "act")["scores"]
    return {group: {name: _score(row) for name, row in rows.items()} for group, rows in said.items()}


def _plain(scores: Scores) -> dict[str, dict[str, dict[str, Any]]]:
    # How an interval was made is told where it was `scored`.
    told = {
        g: {n: {k: v for k, v in vars(s).items() if k != "interval" or v} for n, s in rows.items()}
        for g, rows in scores.items()
    }
    return told


def write_scores(path: Path, study: str, size: str, scores: Scores) -> None:
    """Write ``scores.json``."""
    write_json(path, "scores", {"study": study, "size": size, "scores": _plain(scores)})


def check_source(study: str, config: StudyConfig, source: Path, acts: Sequence[str]) -> None:
    """See that the acts taken over from another run were run with the same settings.

    Raises
    ------
    FolderError
        If it is another study's run, or the settings of an act that is taken over differ.
    """
    said = read_run(source)
    if said.get("verb") != "study" or said.get("study") != study:
        raise FolderError(f"'{source}', a run of {said.get('study') or said.get('verb')}", f"a run of {study}", "check")
    for act in ACTS:
        if act in acts or not (source / _marker(act)).exists():
            continue
        there, here = (said.get("config") or {}).get(act), config.section(act)
        if there != here:
            differing = [k for k in here if (there or {}).get(k) != here[k]]
            raise FolderError(
                f"'{source}' with other settings of the act {act} ({', '.join(differing[:3])})",
                "the settings of this run",
                f"run the act {act} too, or give its settings with --set",
            )


def sources(
    study: Any, config: StudyConfig, given: Sequence[Path], acts: Sequence[str]
) -> tuple[Path | None, tuple[Path, ...]]:
    """What ``--from`` is: an earlier run of the same study, or runs that this study builds on.

    Raises
    ------
    FolderError
        If one is neither, there are more than the study takes, or the settings of an act that is taken over differ.
    """
    if study.takes_runs:
        own = [run for run in given if read_run(run).get("study") == study.name]
    else:
        own = [run for run in given if read_run(run).get("study") not in study.builds_on]
    others = [run for run in given if run not in own]
    if len(own) > 1 or (len(others) > 1 and not study.takes_runs):
        got = f"--from {given[0]} and --from {given[1]}"
        raise FolderError(got, f"one run for {study.name}", "give the one that it goes on from")
    for run in own:
        check_source(study.name, config, run, acts)
    return next(iter(own), None), tuple(others)


def run_study(study: Any, run: StudyRun, acts: Sequence[str] = ACTS) -> dict[str, dict[str, Score]]:
    """Run the acts that are not done, and write ``scores.json`` and the report.

    Parameters
    ----------
    study
        An `AbstractStudy`.
    run
        Its run.
    acts
        Which acts; earlier ones must have been run in this folder, or in the source run.

    Raises
    ------
    FolderError
        If an earlier act is missing.
    """
    run.acts = tuple(acts)
    scores: dict[str, dict[str, Score]] = {}
    for act in ACTS:
        own = run.path / _marker(act)
        if act in acts and not own.exists():
            run.act = act
            run.stage(act, 0, 1)
            logger.info("act %s begins", act)
            found = getattr(study, act)(run)
            write_json(own, "act", {"act": act, "scores": _plain(found)})
        later = [a for a in acts if ACTS.index(a) > ACTS.index(act)]
        # What another run made of later acts says nothing of this one.
        done = run.find(_marker(act)) if later else own if own.exists() else None
        if done is None:
            if later:
                raise FolderError(
                    f"the act {later[0]} before {act} has been run", f"{act} done", "add it to --acts, or give --from"
                )
            continue
        for group, rows in _read_scores(done).items():
            scores.setdefault(group, {}).update(rows)
    write_scores(run.path / "scores.json", study.name, run.config.size, scores)
    study.report(run, scores)
    return scores
