"""One self-contained HTML page of a run: it opens from a file, without network and without WebGL."""

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from regard.core.errors import InputError
from regard.core.explanation import Explanation
from regard.core.plain_text import without_controls
from regard.core.volume import Volume
from regard.io.atomic import write_text
from regard.report import words
from regard.report.colours import GROUND, common_scales, look
from regard.report.embed import Scene, fit

__all__ = [
    "MAX_BYTES",
    "Chapter",
    "ReportCase",
    "content_hash",
    "environment",
    "page_parts",
    "page_script",
    "script_json",
    "static",
    "write_report",
]

MAX_BYTES = 15_000_000
"""Largest report."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Chapter:
    """A part of a report in words, with a picture and a table, shown before the cases.

    Parameters
    ----------
    title
        Its heading.
    text
        Paragraphs.
    picture
        A PNG file, embedded; None for none.
    rows
        A table: one dict per row, columns in the order of first appearance.
    """

    title: str
    text: Sequence[str] = ()
    picture: Path | None = None
    rows: Sequence[Row] = ()


@dataclass(frozen=True, eq=False)
class ReportCase:
    """One case of a report.

    Parameters
    ----------
    case
        Case id.
    explanations
        Its maps; those of one input share a viewer.
    truth
        Binary volume whose outline can be shown over the maps.
    outlines
        Further binary volumes to outline, by what they are: the target's region, regions of an atlas, a lesion, a box.
    output
        The network's output image, shown beside the input.
    rows
        A table of the case: one dict per row, columns in the order of first appearance.
    """

    case: str
    explanations: Sequence[Explanation]
    truth: Volume | None = None
    output: Volume | None = None
    rows: Sequence[Row] = ()
    outlines: Mapping[str, Volume] = field(default_factory=dict)


def write_report(
    path: str | Path,
    title: str,
    cases: Sequence[ReportCase],
    *,
    meta: Row,
    evidence: Sequence[Row] | None = None,
    verdicts: Mapping[str, Row] | None = None,
    scores: Sequence[Row] | None = None,
    chapters: Sequence[Chapter] = (),
    max_bytes: int = MAX_BYTES,
    compact: bool = False,
) -> Path:
    """Write the report of a run.

    Parameters
    ----------
    path
        The file, ``report.html``.
    title
        Its heading.
    cases
        What to show.
    meta
        Facts about the run, shown in the order given (model, target, seed, versions ...).
    evidence
        Rows of ``evidence.tsv``; None before the run has been weighed.
    verdicts
        ``verdicts`` of ``evidence.json``: map name to ``{"verdict", "reasons", "scope"}``.
    scores
        Rows shown at the top, such as each method's score against a known truth.
    chapters
        Parts in words, shown before the cases.
    max_bytes
        Largest file; images are embedded in coarser blocks where they do not fit, and the page says so.
    compact
        Show the cases alone, as in a notebook's cell.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InputError
        If the words alone take more than ``max_bytes``.
    FileError
        If the disk is full, or the place cannot be written to.
    """
    path = Path(path)
    scenes, views = _scenes(cases)
    shared = [w for w in views[0]["warnings"] if all(w in v["warnings"] for v in views)] if len(views) > 1 else []
    for view in views:
        view["warnings"] = [w for w in view["warnings"] if w not in shared]
    page = {
        "title": title,
        "meta": _pairs(meta),
        "views": views,
        "warnings": shared,
        "summary": _summary(cases),
        "evidence": _table(evidence or ()),
        "weighed": evidence is not None,
        "verdicts": verdicts or {},
        "scores": _table(scores or ()),
        "chapters": [_chapter(c) for c in chapters],
        "words": words,
        "readings": words.readings(e for case in cases for e in case.explanations),
        "compact": compact,
    }
    frame = len(_render(page, []).encode())
    budget = max_bytes - frame
    if budget < 0:
        raise InputError(
            f"a report of {len(cases)} cases whose words take {frame} bytes",
            f"at most {max_bytes} bytes",
            "report fewer cases",
        )
    text = _render(page, fit(scenes, budget - 1000 - 500 * len(scenes)))
    write_text(path, without_controls(text))
    return path


@cache
def environment() -> jinja2.Environment:
    """Templates that escape every value they are given."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("regard.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["number"] = words.number
    return found


def static(name: str) -> str:
    """Text of a style sheet or script that comes with the package."""
    return (resources.files("regard.report") / "static" / name).read_text(encoding="utf-8")


def page_script() -> str:
    """The script of a page with viewers: colours, values, viewer, tables, and what starts them."""
    return "".join(static(f"{name}.js") for name in ("colours", "values", "tables", "pictures", "viewer", "report"))


def page_parts() -> dict[str, Any]:
    """Style, script, colours and policy of a page with viewers, by the names that templates use."""
    style, script = static("report.css"), page_script()
    return {
        "style": style,
        "script": script,
        "looks": script_json({"signed": look(True), "unsigned": look(False), "ground": GROUND}),
        "script_json": script_json,
        "policy": "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {content_hash(style)}; script-src {content_hash(script)}",
        "inline": Markup,
    }


def _render(page: Row, scenes: Sequence[Row | None]) -> str:
    return environment().get_template("report.html.j2").render(**page, scenes=scenes, **page_parts())


def content_hash(text: str) -> str:
    """How a content security policy names a style sheet or script that stands in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def script_json(value: Any) -> Markup:
    """JSON that no name inside it can end: markup characters are written as escapes."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _scenes(cases: Sequence[ReportCase]) -> tuple[list[Scene], list[dict[str, Any]]]:
    """Scenes to embed, and per case the words about it with the numbers of its scenes."""
    scenes: list[Scene] = []
    views = []
    for case in cases:
        scales = common_scales(case.explanations)
        outlines = {**case.outlines, **({} if case.truth is None else {"truth": case.truth})}
        groups: list[list[Explanation]] = []
        for explanation in case.explanations:
            for group in groups:
                if group[0].input == explanation.input and group[0].scan.grid.matches(explanation.scan.grid):
                    group.append(explanation)
                    break
            else:
                groups.append([explanation])
        parts: list[dict[str, Any]] = []
        for group in groups:
            if group[0].scan.signal is not None:
                drawn = [(e.name, _png(e, scales)) for e in group]
                parts.append({"scene": None, "input": group[0].input, "maps": group, "pictures": drawn})
                continue
            parts.append({"scene": len(scenes), "input": group[0].input, "maps": group, "pictures": []})
            scenes.append(Scene(group, scales, outlines, case.output if not parts[1:] else None))
        warnings = list(dict.fromkeys(w for e in case.explanations for w in e.warnings))
        views.append({"case": case, "parts": parts, "warnings": warnings, "rows": _table(case.rows)})
    return scenes, views


def _png(explanation: Explanation, scales: Mapping[Any, float]) -> str:
    """The picture of a signal and its map, as an address that holds it."""
    from regard.report.figures import draw  # matplotlib, once there is something to draw

    out = io.BytesIO()
    draw(explanation, scale=scales).savefig(out, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _summary(cases: Sequence[ReportCase]) -> dict[str, Any]:
    """The run as a table, cases by maps."""
    names = list(dict.fromkeys(_column(e) for case in cases for e in case.explanations))
    rows = []
    for number, case in enumerate(cases):
        cells = {_column(e): e for e in case.explanations}
        outputs = list(dict.fromkeys((e.asked, words.prediction(e)) for e in case.explanations))
        rows.append({"number": number, "case": case.case, "outputs": outputs, "cells": [cells.get(n) for n in names]})
    return {"names": names, "rows": rows}


def _chapter(chapter: Chapter) -> dict[str, Any]:
    picture = None
    if chapter.picture is not None:
        picture = f"data:image/png;base64,{base64.b64encode(chapter.picture.read_bytes()).decode()}"
    return {"title": chapter.title, "text": chapter.text, "picture": picture, "table": _table(chapter.rows)}


def _column(explanation: Explanation) -> str:
    return f"{explanation.name} ({explanation.input})" if explanation.input else explanation.name


def _table(rows: Sequence[Row]) -> dict[str, Any]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    figures = [any(isinstance(row.get(c), (int, float)) for row in rows) for c in columns]
    return {"columns": columns, "figures": figures, "rows": [[row.get(c) for c in columns] for row in rows]}


def _pairs(meta: Row) -> list[tuple[str, str]]:
    pairs = []
    for key, value in meta.items():
        if isinstance(value, Mapping):
            text = ", ".join(f"{k} {words.number(v)}" for k, v in value.items())
        elif isinstance(value, (list, tuple)):
            text = ", ".join(words.number(v) for v in value)
        else:
            text = words.number(value)
        pairs.append((str(key).replace("_", " "), text))
    return pairs
