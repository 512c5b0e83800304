"""The notebooks of the docs run from top to bottom, and what they show is written as it was shown."""

import base64
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import matplotlib
import pytest

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.py"))


@pytest.fixture(scope="module")
def executed() -> ModuleType:
    matplotlib.use("Agg")
    spec = importlib.util.spec_from_file_location("executed", DOCS / "executed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["executed"] = module
    spec.loader.exec_module(module)
    return module


SMALL = '''"""Left out."""

# %% [markdown]
# # Title
#
# Words.

# %%
import matplotlib.pyplot as plt
a = 2
print("a is", a)

# %%
class Shown:
    def _repr_html_(self):
        return "<b>bold</b>"

plt.figure()
plt.plot([0, 1]);
Shown()

# %%
a + 1
'''


def test_cells_show_what_jupyter_would(executed: ModuleType) -> None:
    notebook = executed.cells(SMALL)
    assert [c.is_code for c in notebook] == [False, True, True, True]
    assert notebook[0].text == "# Title\n\nWords."
    names = executed.run(notebook, "small.py")
    assert names["a"] == 2
    assert (notebook[1].printed, notebook[1].shown, notebook[1].figures) == ("a is 2\n", {}, [])
    assert notebook[2].shown["text/html"] == "<b>bold</b>"
    assert [f[:8] for f in notebook[2].figures] == [b"\x89PNG\r\n\x1a\n"]
    assert notebook[3].shown == {"text/plain": "3"}
    assert notebook[3].figures == []


def test_a_failing_cell_is_an_error_that_names_it(executed: ModuleType) -> None:
    notebook = executed.cells("# %%\nx = 1\n\n# %%\nx / 0\n")
    with pytest.raises(ZeroDivisionError) as raised:
        executed.run(notebook, "small.py")
    assert "small.py, cell 1" in [entry.frame.code.raw.co_filename for entry in raised.traceback]


def test_the_page_and_the_jupyter_file_hold_every_output(executed: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "small.py"
    source.write_text(SMALL)
    executed.write(source)
    page = (tmp_path / "small.md").read_text()
    assert page.index("# Title") < page.index("a is 2") < page.index("<b>bold</b>") < page.index("small-1.png")
    assert (tmp_path / "small-1.png").exists()
    written = json.loads((tmp_path / "small.ipynb").read_text())
    assert (written["nbformat"], [c["cell_type"] for c in written["cells"]]) == (4, ["markdown"] + 3 * ["code"])
    kinds = [[o["output_type"] for o in c.get("outputs", [])] for c in written["cells"]]
    assert kinds == [[], ["stream"], ["execute_result", "display_data"], ["execute_result"]]
    picture = base64.b64decode(written["cells"][2]["outputs"][1]["data"]["image/png"])
    assert picture == (tmp_path / "small-1.png").read_bytes()


def test_a_page_is_made_anew_when_its_source_changes(
    executed: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executed, "NOTEBOOKS", tmp_path)
    source, page = tmp_path / "one.py", tmp_path / "one.md"
    source.write_text("# %%\nprint('first')\n")
    executed.write_all(anew=False)
    assert "first" in page.read_text()
    kept = page.read_text().replace("first", "kept")
    page.write_text(kept)
    executed.write_all(anew=False)
    assert page.read_text() == kept
    source.write_text("# %%\nprint('second')\n")
    executed.write_all(anew=False)
    assert "second" in page.read_text()


def test_there_is_a_notebook_for_each_kind_of_network() -> None:
    assert [p.stem for p in NOTEBOOKS] == ["classify", "measure", "restore"]


@pytest.mark.slow
@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_from_top_to_bottom(
    executed: ModuleType, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = executed.cells(source.read_text(encoding="utf-8"))
    executed.run(notebook, source.name)
    shown = [c for c in notebook if c.printed or c.shown or c.figures]
    assert len(shown) >= len([c for c in notebook if c.is_code]) - 2
    assert "nan" not in "".join(c.printed for c in notebook).split()
