"""What ``regard bench`` does."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from regard.bench.page import leaderboard_rows, network_rows, shortcut_rows
from regard.bench.plan import SIZE_NAMES, SIZES, BenchPlan
from regard.bench.run import run_bench
from regard.bench.scans.images import CONTRAST, read_scans
from regard.bench.scans.plan import plan_of
from regard.bench.table import learned
from regard.cli.options import set_up
from regard.cli.progress import shown
from regard.cli.request import card_sha256
from regard.cohort.cases import find_cohort
from regard.core.errors import InputError
from regard.io import Case, RunFolder
from regard.models.load import load_model
from regard.models.model import Model
from regard.models.provenance import versions

__all__ = ["listed", "run"]

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


def run(
    output: Path,
    *,
    methods: Sequence[str],
    measures: Sequence[str],
    phantoms: Sequence[str],
    images: Path | None,
    network: str | None,
    contrast: float | None,
    trust: bool,
    size: str,
    seed: int,
    device: str,
    threads: int | None,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run the benchmark and return the exit code; parameters as the options of ``regard bench``."""
    if size not in SIZES:
        raise InputError(f"the size '{size}'", f"one of {', '.join(SIZE_NAMES)}")
    where = set_up(device=device, threads=threads, verbose=verbose, quiet=quiet)
    chosen: dict[str, Any] = {"methods": listed(methods), "measures": listed(measures), "phantoms": listed(phantoms)}
    if images is None and (network is not None or contrast is not None):
        raise InputError(
            f"--{'network' if network is not None else 'contrast'} without scans of your own",
            "--images TABLE beside it",
            "give your scans, or leave it out",
        )
    cases: list[Case] = []
    model = None if network is None else load_model(network, trust=trust)
    strength = CONTRAST if contrast is None else contrast
    if images is None:
        plan = replace(SIZES[size], seed=seed, **{k: v for k, v in chosen.items() if v})
    else:
        with shown(quiet=quiet) as progress:
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
        "threads": threads,
        "batch_size": "auto",
    }
    with (
        RunFolder(
            output, "bench", config, argv=sys.argv[1:], cases=cases, versions=versions(), overwrite=overwrite
        ) as folder,
        shown(quiet=quiet) as progress,
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
    if as_json:
        typer.echo(json.dumps({"folder": str(output), "maps": best, "shortcuts": shortcuts, "networks": networks}))
        return 0
    _tell(plan, best, shortcuts, output)
    return 0


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


def _print(rows: Sequence[dict[str, str]], columns: Sequence[str]) -> None:
    widths = [max(len(c), *(len(r[c]) for r in rows)) for c in columns]
    typer.echo("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())
    for row in rows:
        typer.echo("  ".join(row[c].ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())


def _tell(plan: BenchPlan, best: Sequence[dict[str, str]], shortcuts: Sequence[dict[str, str]], output: Path) -> None:
    typer.echo(
        f"{plan.about}\nsize {plan.size}: {plan.n_networks} network(s) of each kind of image, {plan.n_explained} "
        "patients; against what each network depends on (95 %)"
    )
    columns = [c for c in best[0] if not c.endswith("@data")]
    _print(best, columns)
    if shortcuts:
        typer.echo("\nshare of cases whose map gives the decoy away, at 5 % false alarms")
        _print(shortcuts, list(shortcuts[0]))
    typer.echo(f"\ntable: {output / 'bench.tsv'}; picture: {output / 'figures' / 'leaderboard.png'}")
    typer.echo(f"report: {output / 'report.html'}")
