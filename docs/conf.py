"""Sphinx configuration."""

from regard import __version__

project = "Regard"
author = "The Regard developers"
copyright = "2026, The Regard developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode", "numpydoc"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Regard"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
suppress_warnings = ["myst.xref_missing"]


def write_methods() -> None:
    """Write the page of methods from the registry, so that it cannot disagree with the code."""
    from pathlib import Path

    from regard.explainers import METHODS
    from regard.explainers.describe import describe

    lines = [
        "# Methods",
        "",
        "Written from the registry when this site is built. Every method keeps every law of `regard.testing` but those",
        "named under *does not promise*.",
        "",
    ]
    for name in METHODS:
        facts = describe(name)
        lines += [f"## `{name}`", "", f"{facts['what it does'][0].upper()}{facts['what it does'][1:]}.", ""]
        lines += ["| | |", "| --- | --- |"]
        for key in ("quantity", "sign", "published form", "needs", "reference"):
            lines.append(f"| {key} | {facts[key]} |")
        knobs = ", ".join(f"`{k}` ({v.removeprefix('default ')})" for k, v in facts["knobs"].items())
        lines += [f"| knobs | {knobs} |", f"| class | `{facts['python']}` |", ""]
        if facts["does not promise"]:
            lines += ["Does not promise:", ""]
            lines += [f"- *{promise}*: {reason}" for promise, reason in facts["does not promise"].items()] + [""]
    page = Path(__file__).parent / "methods.md"
    text = "\n".join(lines) + "\n"
    if not page.exists() or page.read_text() != text:
        page.write_text(text)


def write_notebooks() -> None:
    """Run the notebooks whose source has changed, and write their pages (`docs/executed.py`)."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent))
    from executed import write_all

    write_all(anew=False)


write_methods()
write_notebooks()
