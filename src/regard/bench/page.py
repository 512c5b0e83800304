"""The page of a benchmark: what was compared, its pictures and its tables."""

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from regard.bench.cell import Cell
from regard.bench.leaderboard import ranking
from regard.bench.plan import CONTROLS, BenchPlan
from regard.bench.statistics import resampled
from regard.bench.table import ALL, DETECTION, EFFECT, MODEL, QUALITIES, Row, dose_of, learned
from regard.core.plain_text import without_controls
from regard.io.atomic import write_text
from regard.report.html import environment, static
from regard.report.words import RESEARCH_USE

__all__ = ["leaderboard_rows", "network_rows", "shortcut_rows", "write_page"]

_STYLE = ".picture { max-width: 100%; background: white; border-radius: 10px; } td { white-space: nowrap; }"


@dataclass
class _Section:
    title: str
    text: str
    picture: str | None = None
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)


def _said(row: Row | None) -> str:
    if row is None or math.isnan(row.value):
        return "undefined"
    bounds = "" if math.isnan(row.low) else f" ({row.low:.2f} to {row.high:.2f})"
    return f"{row.value:.2f}{bounds}"


def leaderboard_rows(plan: BenchPlan, rows: Sequence[Row]) -> list[dict[str, str]]:
    """The leaderboard as words: a row per method from best to worst, then controls; a column per measure.

    Over all phantoms without a decoy, or the only one.
    """
    by = {(r.method, r.measure, r.phantom): r for r in rows if r.network == ALL}
    place = ALL if any(r.phantom == ALL for r in rows) else plan.phantoms[0]
    measures = list(dict.fromkeys(r.measure for r in rows if r.measure not in (DETECTION, EFFECT)))
    return [
        {"map": m, "kind": "control" if m in CONTROLS else "method"}
        | {measure: _said(by.get((m, measure, place))) for measure in measures}
        for m in ranking(plan, rows, plan.measures[0])
    ]


def shortcut_rows(plan: BenchPlan, rows: Sequence[Row]) -> list[dict[str, str]]:
    """Detection rate of the decoy by dose for each method, under its true effect on the output."""
    by = {(r.method, r.measure, r.phantom): r for r in rows if r.network == ALL}
    doses = sorted((p for p in plan.phantoms if dose_of(p) is not None), key=lambda p: dose_of(p) or 0.0)
    if not doses:
        return []
    effect = by[MODEL, EFFECT, doses[0]]
    said = [{"map": f"true effect [{effect.unit}]"} | {d: _said(by[MODEL, EFFECT, d]) for d in doses}]
    for method in ranking(plan, rows, plan.measures[0]):
        if (method, DETECTION, doses[0]) in by:
            said.append({"map": method} | {d: _said(by[method, DETECTION, d]) for d in doses})
    return said


def network_rows(plan: BenchPlan, cells: Sequence[Cell]) -> list[dict[str, str]]:
    """How well the networks do, beside predictors that need none; mean over the networks of a phantom."""
    said = []
    for phantom in plan.phantoms:
        group = [c for c in cells if c.phantom == phantom]
        mean = {key: sum(c.fit[key] for c in group) / len(group) for key in group[0].fit}
        unit = "wrong" if group[0].kind == "classification" else group[0].error_unit
        (quality,) = (f"{QUALITIES[key]} {value:.2f}" for key, value in mean.items() if key in QUALITIES)
        own = next(value for key, value in mean.items() if key not in QUALITIES and not key.startswith("floor_"))
        floors = [f"{key.split('_')[1]} {value:.3g}" for key, value in mean.items() if key.startswith("floor_")]
        said.append(
            {
                "phantom": phantom,
                "gives": {"regression": "a number", "classification": "a class", "image": "an image"}[group[0].kind],
                "merit": quality if learned(group) else f"{quality}: not learned",
                "error of the network": f"{own:.3g} {unit}",
                "of trivial predictors": ", ".join(floors),
                "networks": str(len(group)),
                "test images": str(group[0].n_test),
            }
        )
    return said


def _table(rows: Sequence[dict[str, str]]) -> tuple[list[str], list[list[str]]]:
    return (list(rows[0]), [list(r.values()) for r in rows]) if rows else ([], [])


def _picture(path: Path) -> str | None:
    if not path.exists():
        return None
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def write_page(plan: BenchPlan, cells: Sequence[Cell], rows: Sequence[Row], folder: Path) -> None:
    """Write ``report.html`` of a benchmark into its folder, with the pictures of ``figures/`` inside."""
    share = "; ".join(
        f"{key} {value}" for key, value in (("networks", plan.n_networks), ("patients", plan.n_explained))
    )
    sections = [
        _Section(
            "Leaderboard",
            "How well each method's map agrees with model truth: the places of the factors that the output of this "
            "very network depends on, found by rendering each patient again. Measures that end in @data are against "
            f"where the label is written instead. Of each kind of image: {share}. In brackets: 95 %, "
            f"{resampled(plan.n_networks)}.",
            _picture(folder / "figures" / "leaderboard.png"),
            *_table(leaderboard_rows(plan, rows)),
        )
    ]
    shortcuts = shortcut_rows(plan, rows)
    if shortcuts:
        sections.append(
            _Section(
                "Is a shortcut seen?",
                "Share of cases whose relevance in the decoy is beyond what at most 5 % of cases at dose 0 have, "
                "beside what the decoy truly does to the output. A method should see what has an effect, and nothing "
                "else.",
                _picture(folder / "figures" / "shortcuts.png"),
                *_table(shortcuts),
            )
        )
    sections.append(
        _Section(
            "The networks",
            "Errors on test images, mean over the networks of a kind: of a number the mean absolute error, of a "
            "class the share that is wrong, of an image the root mean square error. Trivial predictors: the mean label "
            "or image; a ridge on the intensities' histogram; the image as it came. R2 of an image is that of its mean "
            "over the structure, which is what is explained. Kinds of images that the networks have not learned (R2 "
            "below 0.3, AUC below 0.7) are left out of the leaderboard: a map of such a network says little.",
            None,
            *_table(network_rows(plan, cells)),
        )
    )
    sections.append(
        _Section(
            "The images",
            "Some test subjects of each kind, with their labels; orange: where the label is written. The same kind of "
            "structure elsewhere does not count.",
            _picture(folder / "figures" / "images.png"),
        )
    )
    style = static("report.css") + _STYLE
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = environment().get_template("bench.html.j2").render(
        title="Regard bench: which map shows what a network uses?",
        research_use=RESEARCH_USE,
        meta={
            "what this is": plan.about,
            "size": plan.size,
            "images": " x ".join(map(str, plan.shape)),
            "kinds of images": len(plan.phantoms),
            "networks of each": plan.n_networks,
            "trained on": f"{plan.n_train} images each, {plan.n_epochs} epochs",
            "explained": f"{plan.n_explained} patients, the same for all networks of a kind",
            "seed": plan.seed,
        },
        sections=sections,
        style=style,
        inline=Markup,
        policy=f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'",
    )  # fmt: skip
    write_text(folder / "report.html", without_controls(text))
