"""A map in a notebook: the report's viewer in a frame of its own."""

import html
import tempfile
from pathlib import Path

from regard.core.explanation import Explanation
from regard.report.html import ReportCase, write_report

__all__ = ["as_html"]

_MAX_BYTES = 6_000_000
_HEIGHT = 720


def as_html(explanation: Explanation) -> str:
    """The report of one map as a frame that holds everything it needs.

    The frame keeps its styles and scripts apart from the notebook's; a large scan is embedded in coarser blocks, and
    the page says so.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = write_report(
            Path(folder) / "report.html",
            f"{explanation.case}: {explanation.name}",
            [ReportCase(explanation.case, [explanation])],
            meta={"target": explanation.asked, "method": explanation.name},
            max_bytes=_MAX_BYTES,
            compact=True,
        )
        page = path.read_text(encoding="utf-8")
    return (
        f'<iframe srcdoc="{html.escape(page)}" title="{html.escape(explanation.case)}" '
        f'style="width: 100%; height: {_HEIGHT}px; border: 0"></iframe>'
    )
