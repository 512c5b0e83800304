"""A page of sections: words, pictures and tables, self-contained and without scripts."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from regard.core.plain_text import without_controls
from regard.io.atomic import write_text
from regard.report.html import environment, static
from regard.report.words import RESEARCH_USE

__all__ = ["Section", "write_sections"]

_STYLE = ".picture { max-width: 100%; background: white; border-radius: 10px; } td { white-space: nowrap; }"


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Parameters
    ----------
    title, text
        Heading, and one paragraph.
    pictures
        As ``data:`` addresses.
    columns, rows
        A table; the first column holds names.
    """

    title: str
    text: str
    pictures: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def write_sections(path: Path, title: str, sections: Sequence[Section], *, meta: Mapping[str, Any]) -> Path:
    """Write a page; names in it cannot end its markup.

    Parameters
    ----------
    path
        The file.
    title
        Its heading.
    sections
        In their order.
    meta
        Facts at the top.

    Returns
    -------
    pathlib.Path
        The file.
    """
    style = static("report.css") + _STYLE
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; style-src 'sha256-{digest}'"
    text = (
        environment()
        .get_template("sections.html.j2")
        .render(
            title=title,
            sections=sections,
            meta=meta,
            research_use=RESEARCH_USE,
            style=style,
            inline=Markup,
            policy=policy,
        )
    )
    write_text(path, without_controls(text))
    return path
