"""Notebooks of the docs: scripts with cells (``# %%``), run here and written as pages and as notebooks for Jupyter.

    python docs/executed.py          # every docs/notebooks/*.py, anew; a minute

The script is the source: it opens as a notebook in editors that know such cells, and runs as it is with ``python``.
Beside it are written ``NAME.md`` with what each cell showed, its pictures, and ``NAME.ipynb``. No kernel is needed.
"""

import ast
import base64
import contextlib
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parent / "notebooks"
_MARK = re.compile(r"^# %%(.*)$", re.MULTILINE)


@dataclass
class Cell:
    """A cell, and what it showed.

    Parameters
    ----------
    text
        Markdown, or Python.
    is_code
        Which.
    printed
        What it printed.
    shown
        Its last expression by MIME type; empty where there is none.
    figures
        PNG of each figure that it drew.
    """

    text: str
    is_code: bool
    printed: str = ""
    shown: dict[str, str] = field(default_factory=dict)
    figures: list[bytes] = field(default_factory=list)


def cells(source: str) -> list[Cell]:
    """The cells of a script; what stands before the first mark is left out."""
    marks = list(_MARK.finditer(source))
    ends = [m.start() for m in marks[1:]] + [len(source)]
    made = []
    for mark, end in zip(marks, ends, strict=True):
        text = source[mark.end() : end].strip("\n")
        if "[markdown]" in mark[1]:
            made.append(Cell("\n".join(line.removeprefix("#").removeprefix(" ") for line in text.split("\n")), False))
        elif text:
            made.append(Cell(text, True))
    return made


def run(notebook: Sequence[Cell], name: str) -> dict[str, Any]:
    """Run the code cells one after the other in the working directory, keep what each shows, and give back the names.

    As in Jupyter the last expression of a cell is shown, unless it is None, and so is every open figure, which is then
    closed.
    """
    from matplotlib import pyplot as plt

    plt.close("all")  # what stood open before is no cell's
    names: dict[str, Any] = {"__name__": "notebook"}
    for number, cell in enumerate(notebook):
        if not cell.is_code:
            continue
        tree = ast.parse(cell.text, f"{name}, cell {number}")
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(tree, f"{name}, cell {number}", "exec"), names)
            value = None
            if last is not None:
                value = eval(compile(ast.Expression(last.value), f"{name}, cell {number}", "eval"), names)
        cell.printed = printed.getvalue()
        if value is not None:
            cell.shown = _shown(value)
        for figure in map(plt.figure, plt.get_fignums()):
            drawn = io.BytesIO()
            figure.savefig(drawn, dpi=80, bbox_inches="tight", metadata={"Software": None})
            cell.figures.append(drawn.getvalue())
        plt.close("all")
    return names


def _shown(value: Any) -> dict[str, str]:
    html = getattr(value, "_repr_html_", None)
    found = html() if html is not None else None
    return {"text/plain": repr(value)} | ({"text/html": found} if found else {})


def page(notebook: Sequence[Cell], name: str) -> str:
    """The notebook as a page of the docs, with its pictures as ``NAME-1.png`` and on."""
    parts, n_figures = [], 0
    for cell in notebook:
        if not cell.is_code:
            parts.append(cell.text)
            continue
        parts.append(f"```{{code-block}} python\n{cell.text}\n```")
        if cell.printed:
            parts.append(f"```{{code-block}} text\n{cell.printed.rstrip()}\n```")
        if "text/html" in cell.shown:
            parts.append(f"````{{raw}} html\n{cell.shown['text/html']}\n````")
        elif cell.shown:
            parts.append(f"```{{code-block}} text\n{cell.shown['text/plain']}\n```")
        for _ in cell.figures:
            n_figures += 1
            parts.append(f"![what the cell drew]({name}-{n_figures}.png)")
    parts.append(f"This page was run when the site was built: {{download}}`{name}.py`, {{download}}`{name}.ipynb`.")
    return "\n\n".join(parts) + "\n"


def ipynb(notebook: Sequence[Cell]) -> dict[str, Any]:
    """The notebook with its outputs in Jupyter's format, version 4.5."""
    made, count = [], 0
    for number, cell in enumerate(notebook):
        one: dict[str, Any] = {"id": f"cell-{number}", "metadata": {}, "source": cell.text.splitlines(keepends=True)}
        if cell.is_code:
            count += 1
            one |= {"cell_type": "code", "execution_count": count, "outputs": list(_outputs(cell, count))}
        else:
            one |= {"cell_type": "markdown"}
        made.append(one)
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def _outputs(cell: Cell, count: int) -> Iterator[dict[str, Any]]:
    if cell.printed:
        yield {"output_type": "stream", "name": "stdout", "text": cell.printed.splitlines(keepends=True)}
    if cell.shown:
        data = {kind: text.splitlines(keepends=True) for kind, text in cell.shown.items()}
        yield {"output_type": "execute_result", "execution_count": count, "data": data, "metadata": {}}
    for figure in cell.figures:
        data_url = base64.b64encode(figure).decode()
        yield {"output_type": "display_data", "data": {"image/png": data_url}, "metadata": {}}


def write(source: Path) -> None:
    """Run one notebook in a folder of its own, and write its page, pictures and Jupyter file beside it."""
    name, text = source.stem, source.read_text(encoding="utf-8")
    notebook, here = cells(text), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            run(notebook, source.name)
        finally:
            os.chdir(here)
    for old in source.parent.glob(f"{name}-*.png"):
        old.unlink()
    for n, figure in enumerate((f for cell in notebook for f in cell.figures), 1):
        source.with_name(f"{name}-{n}.png").write_bytes(figure)
    source.with_suffix(".ipynb").write_text(json.dumps(ipynb(notebook), indent=1) + "\n", encoding="utf-8")
    source.with_suffix(".md").write_text(f"{page(notebook, name)}\n{_stamp(text)}\n", encoding="utf-8")


def _stamp(text: str) -> str:
    return f"<!-- of the source {hashlib.sha256(text.encode()).hexdigest()[:16]} -->"


def write_all(*, anew: bool = True) -> None:
    """Write every notebook; without ``anew`` only those whose source has changed since its page was written."""
    for source in sorted(NOTEBOOKS.glob("*.py")):
        written = source.with_suffix(".md")
        if anew or not written.exists() or _stamp(source.read_text(encoding="utf-8")) not in written.read_text():
            write(source)


if __name__ == "__main__":
    write_all()
