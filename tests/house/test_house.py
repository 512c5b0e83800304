"""The habits of the house, held by tests."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from regard.core import errors

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "regard"
FILES = sorted(SOURCE.rglob("*.py"))


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_one_idea_a_file(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_the_number_of_axes_is_asked_in_one_place(path: Path) -> None:
    """Methods are n-dimensional; only the file for it, and those that read shapes from outside, count axes."""
    if path.parts[-2] == "explainers" or "explainers" in path.parts:
        assert not re.search(r"\bndim\s*(==|!=)|\.dim\(\)\s*==", path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_error_says_what_was_got(path: Path) -> None:
    """A raised error of ours carries a value, or its text is one whole sentence of three parts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
            continue
        name = getattr(node.exc.func, "id", getattr(node.exc.func, "attr", ""))
        ours = name.endswith("Error") and hasattr(errors, name)
        if not ours:
            continue
        text = ast.unparse(node.exc)
        arguments = len(node.exc.args) + len(node.exc.keywords)
        assert "{" in text or arguments >= 2, f"{path.name}:{node.lineno}: {text}"


SCRIPTS = sorted(
    p for folder in ("docs", "docs/images", "benchmarks", "examples") for p in (ROOT / folder).glob("*.py")
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_scripts_import_what_there_is(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "regard":
            module = importlib.import_module(str(node.module))
            for name in node.names:
                assert hasattr(module, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}"), name.name


def test_public_names_are_sorted_and_exist() -> None:
    import regard

    assert regard.__all__ == sorted(regard.__all__, key=str.lower)
    for name in regard.__all__:
        assert getattr(regard, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'GradRamp'"):
        regard.GradRamp


def test_the_stub_lists_the_same_names() -> None:
    import regard

    tree = ast.parse((SOURCE / "__init__.pyi").read_text())
    stubbed = {alias.asname for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert stubbed | {"__version__"} == set(regard.__all__)


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.name != "__main__.py"], ids=lambda p: str(p.relative_to(SOURCE))
)
def test_all_lists_what_is_defined(path: Path) -> None:
    name = "regard." + ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    module = importlib.import_module(name.removesuffix(".__init__"))
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), f"{name} has no {public}"


HEAVY = "{'torch', 'monai', 'lightning', 'matplotlib', 'scipy', 'pandas', 'nibabel', 'pydicom', 'captum'}"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["methods"], ["models"], ["measures"], ["explain", "--help"], ["--version"]]
)
def test_listings_load_nothing_heavy(arguments: list[str]) -> None:
    code = f"import sys; from regard.cli import main; main({arguments}); print(sorted({HEAVY} & set(sys.modules)))"
    assert run(code).splitlines()[-1] == "[]"


def test_import_loads_nothing_heavy() -> None:
    assert run(f"import sys, regard; print(sorted({HEAVY} & set(sys.modules)))").strip() == "[]"


def test_reading_and_explaining_load_no_extra() -> None:
    extras = "{'captum', 'highdicom', 'nilearn', 'zarr', 'dask', 'onnx', 'onnxruntime', 'sklearn', 'statsmodels'}"
    code = (
        f"import sys, regard; regard.explain, regard.GradRAM, regard.read; print(sorted({extras} & set(sys.modules)))"
    )
    assert run(code).strip() == "[]"


def test_layers_point_down() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_every_skip_has_a_reason_and_nothing_prints() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"), path


def test_changelog_has_this_version() -> None:
    import regard

    assert f"## [{regard.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_readme_table_of_methods_is_the_registry() -> None:
    from regard.explainers import METHODS

    readme = (ROOT / "README.md").read_text()
    for name in METHODS:
        assert f"| `{name}` | {METHODS.entry(name)[2]} |" in readme, (
            f"README's table lacks {name} or tells another quantity"
        )
