"""The benchmark as it is asked for: phantoms or scans of one's own, a folder, tables and words."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regard.bench.page import leaderboard_rows, network_rows, shortcut_rows
from regard.bench.plan import SIZE_NAMES, SIZES, BenchPlan
from regard.bench.request import BenchRequest
from regard.bench.run import run_bench
from regard.bench.scans.images import CONTRAST, read_scans
from regard.bench.scans.plan import plan_of
from regard.bench.table import learned
from regard.cohort.cases import find_cohort
from regard.core.errors import InputError
from regard.io import Case, RunFolder
from regard.models.load import load_model
from regard.models.model import Model
from regard.models.provenance import versions
from regard.runs.computing import computing
from regard.runs.progress import shown
from regard.runs.question import card_sha256
from regard.runs.result import RunResult, columns_of_text

__all__ = ["BenchResult", "bench", "listed"]

logger = logging.getLogger(__name__)


def listed(texts: Sequence[str]) -> tuple[str, ...]:
    """Read names separated by commas; ``occlusion:window=6,stride=2,rise`` are two, as a knob has no name before it."""
    names: list[str] = []
    for text in texts:
        for n, part in enumerate(p.strip() for p in text.split(",")):
            if n and "=" in part and ":" not in part and ":" in names[-1]:
                names[-1] += f",{part}"
            elif part:
                names.append(part)
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, kw_only=True)
class BenchResult(RunResult):
    """What `bench` gives back.

    Parameters
    ----------
    about
        What was compared, in words.
    maps, shortcuts, networks
        Rows of the tables, as text: the leaderboard, who gives a decoy away, and what the networks learned.
    """

    about: str = ""
    maps: tuple[dict[str, str], ...] = ()
    shortcuts: tuple[dict[str, str], ...] = ()
    networks: tuple[dict[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values."""
        tables = {"maps": self.maps, "shortcuts": self.shortcuts, "networks": self.networks}
        return {"folder": str(self.folder), **{k: list(v) for k, v in tables.items()}}

    def table(self) -> Any:
        """Every row of ``bench.tsv``.

        Returns
        -------
        pandas.DataFrame
            A row for each method, measure, phantom and network.
        """
        import pandas as pd

        return pd.read_csv(self.folder / "bench.tsv", sep="\t")

    def __str__(self) -> str:
        lines = [self.about, columns_of_text(self.maps, [c for c in self.maps[0] if not c.endswith("@data")])]
        if self.shortcuts:
            lines += ["", "share of cases whose map gives the decoy away, at 5 % false alarms"]
            lines.append(columns_of_text(self.shortcuts))
        picture = self.folder / "figures" / "leaderboard.png"
        lines += ["", f"table: {self.folder / 'bench.tsv'}; picture: {picture}"]
        return "\n".join([*lines, *self._last_lines()])


def bench(request: BenchRequest) -> BenchResult:
    """Compare methods on images whose truth is known, as ``regard bench`` does.

    Parameters
    ----------
    request
        What is asked; its fields are the options of the verb.

    Raises
    ------
    InputError
        If what is asked cannot be done.
    """
    with computing(request) as device:
        return _compare(request, device)


def _compare(request: BenchRequest, where: str) -> BenchResult:
    size, images, network, contrast = request.size, request.images, request.network, request.contrast
    output, seed = request.output, request.seed
    if size not in SIZES:
        raise InputError(f"the size '{size}'", f"one of {', '.join(SIZE_NAMES)}")
    chosen: dict[str, Any] = {k: listed(getattr(request, k)) for k in ("methods", "measures", "phantoms")}
    if images is None and (network is not None or contrast is not None):
        raise InputError(
            f"--{'network' if network is not None else 'contrast'} without scans of your own",
            "--images TABLE beside it",
            "give your scans, or leave it out",
        )
    cases: list[Case] = []
    model = None if network is None else load_model(network, trust=request.trust)
    strength = CONTRAST if contrast is None else contrast
    if images is None:
        plan = replace(SIZES[size], seed=seed, **{k: v for k, v in chosen.items() if v})
    else:
        with shown(quiet=request.quiet) as progress:
            plan, cases = _on_scans(
                images, model, contrast=strength, size=size, seed=seed, chosen=chosen,
                stage=progress.stage,
            )  # fmt: skip
    config: dict[str, Any] = {
        "model": "small-regressor, monai-unet" if network is None else network,
        "case_ids": [c.case for c in cases],
        "target": None,
        "reference": None,
        **plan.recorded,
        **({} if images is None else {"contrast": strength}),
        **({} if model is None else {"contents": {"card": card_sha256(model)}}),
        "device": where,
        "threads": request.threads,
        "batch_size": "auto",
    }
    with (
        RunFolder(
            output,
            "bench",
            config,
            argv=request.words("bench"),
            cases=cases,
            versions=versions(),
            overwrite=request.overwrite,
        ) as folder,
        shown(quiet=request.quiet) as progress,
    ):
        for case in cases:
            folder.check_inputs(case)
            folder.record_inputs(case)
        cells, rows = run_bench(plan, folder.path, device=where, stage=progress.stage)
    strange = [p for p in plan.phantoms if not learned([c for c in cells if c.phantom == p])]
    if strange:
        logger.warning(
            "the networks have not learned %s, which %s left out of the mean over kinds of images",
            ", ".join(strange), "are" if len(strange) > 1 else "is",
        )  # fmt: skip
    best, shortcuts, networks = leaderboard_rows(plan, rows), shortcut_rows(plan, rows), network_rows(plan, cells)
    about = (
        f"{plan.about}\nsize {plan.size}: {plan.n_networks} network(s) of each kind of image, {plan.n_explained} "
        "patients; against what each network depends on (95 %)"
    )
    return BenchResult(
        folder=output, report=output / "report.html", about=about, maps=tuple(best), shortcuts=tuple(shortcuts),
        networks=tuple(networks),
    )  # fmt: skip


def _on_scans(
    images: Path, model: Model | None, *, contrast: float, size: str, seed: int,
    chosen: dict[str, tuple[str, ...]], stage: Callable[[str, int, int], None],
) -> tuple[BenchPlan, list[Case]]:  # fmt: skip
    """The plan of a user's scans, and the cases that were read."""
    if not contrast > 0:
        raise InputError(f"a contrast of {contrast:g}", "above 0", "give --contrast 3")
    cases = find_cohort(images)
    scans = read_scans(cases, model, contrast=contrast, seed=seed, stage=stage)
    for case, why in scans.left_out.items():
        logger.warning("%s is left out: %s", case, why)
    plan = plan_of(
        size, scans, model, seed=seed, methods=chosen["methods"], measures=chosen["measures"], tasks=chosen["phantoms"]
    )
    return plan, [c for c in cases if c.case not in scans.left_out]
