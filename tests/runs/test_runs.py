"""Runs from Python: the same folders as the verbs make, typed results, and nothing left behind."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from regard import runs
from regard.cli import main
from regard.core.errors import FolderError, InputError
from regard.models.zoo.small import small_regressor


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny network in a folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    card = {
        "schema": "regard.card/1", "name": "tiny", "zoo": "small-regressor", "kwargs": {"widths": [2, 3]},
        "weights": "weights.safetensors",
        "inputs": [{"name": "image", "orientation": "PL", "shape": [16, 16], "unit": "grey level"}],
        "output": {"kind": "regression", "names": ["bmd"], "units": ["g/cm2"]},
    }  # fmt: skip
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    torch.manual_seed(3)
    network = small_regressor(widths=[2, 3])
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "weights.safetensors")
    return folder


@pytest.fixture
def scan(tmp_path: Path) -> Callable[[str], Path]:
    """Write a slice."""

    def write(name: str) -> Path:
        values = np.random.default_rng(len(name)).normal(size=(16, 16, 1)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / name)
        return tmp_path / name

    return write


def files_of(folder: Path) -> dict[str, bytes]:
    """What a run wrote that must not depend on how it was asked."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted((folder / "maps").iterdir())}


def test_python_and_the_verb_write_the_same(model: Path, scan: Callable, tmp_path: Path) -> None:
    image = scan("a.nii")
    words = ["explain", model, image, "-m", "gradient", "-m", "occlusion:window=4,stride=4", "-o", tmp_path / "verb"]
    assert main([str(w) for w in words]) == 0
    result = runs.explain(
        runs.ExplainRequest(
            model=model, paths=image, methods=["gradient", "occlusion:window=4,stride=4"], output=tmp_path / "python"
        )
    )
    assert files_of(tmp_path / "verb") == files_of(tmp_path / "python")
    assert result.exit_code == 0
    assert result.report == tmp_path / "python" / "report.html"
    assert [r["map"] for r in result.maps] == ["gradient", "occlusion"]
    assert list(result.table()["case"]) == ["a", "a"]
    assert f"report: {result.report}" in str(result)


def test_the_command_in_the_record_makes_the_same_run(model: Path, scan: Callable, tmp_path: Path) -> None:
    runs.explain(runs.ExplainRequest(model=model, paths=scan("a.nii"), methods="gradient", output=tmp_path / "run"))
    words = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["argv"]
    assert words[0] == "explain"
    assert main(words) == 0, "the folder is resumed, not refused"


def test_weigh_gives_the_verdicts_and_the_rows(model: Path, scan: Callable, tmp_path: Path) -> None:
    run = tmp_path / "run"
    runs.explain(runs.ExplainRequest(model=model, paths=scan("a.nii"), methods="gradient", output=run))
    result = runs.weigh(runs.WeighRequest(folder=run, quick=True, n_null=9))
    assert set(result.verdicts) == {"gradient"}
    assert str(result).startswith(f"gradient: {result.verdicts['gradient']['verdict']}")
    assert set(result.table()["method"]) == {"gradient"}
    assert runs.weigh(runs.WeighRequest(folder=run, quick=True, n_null=9)) == result, "a finished one is read again"


def test_a_failure_of_one_case_is_in_the_result(model: Path, scan: Callable, tmp_path: Path) -> None:
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"no image")
    result = runs.explain(
        runs.ExplainRequest(model=model, paths=[scan("a.nii"), broken], methods="gradient", output=tmp_path / "run")
    )
    assert (result.failed, result.exit_code) == (("broken",), 3)


def test_what_is_wrong_for_every_case_is_raised(model: Path, scan: Callable, tmp_path: Path) -> None:
    given: dict[str, Any] = {"model": model, "paths": scan("a.nii"), "output": tmp_path / "run"}
    with pytest.raises(InputError, match="gradent"):
        runs.explain(runs.ExplainRequest(methods="gradent", **given))
    runs.explain(runs.ExplainRequest(methods="gradient", **given))
    with pytest.raises(FolderError):
        runs.explain(runs.ExplainRequest(methods="smoothgrad", **given))


def test_threads_are_given_back(model: Path, scan: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import regard.runs.explaining as explaining

    during, real, before = [], explaining.explain_case, torch.get_num_threads()

    def watched(*given: Any, **more: Any) -> Any:
        during.append(torch.get_num_threads())
        return real(*given, **more)

    monkeypatch.setattr(explaining, "explain_case", watched)
    image, output = scan("a.nii"), tmp_path / "run"
    runs.explain(runs.ExplainRequest(model=model, paths=image, methods="gradient", output=output, threads=before + 1))
    assert during == [before + 1]
    assert torch.get_num_threads() == before


def test_cohort_and_invariances_give_typed_results(model: Path, scan: Callable, tmp_path: Path) -> None:
    table = tmp_path / "cases.tsv"
    table.write_text("case\timage\n" + "".join(f"c{n}\t{scan('s' * n + '.nii')}\n" for n in (1, 2, 3)))
    found = runs.cohort(
        runs.CohortRequest(model=model, table=table, methods="gradient", output=tmp_path / "cohort", maps="none")
    )
    assert (found.n_done, found.n_cases, found.failed) == (3, 3, ())
    assert "cases: 3 of 3" in str(found)
    request = runs.InvariancesRequest(
        model=model, paths=scan("x.nii"), output=tmp_path / "same", n=2, steps=2, controls=0, noise=0.1
    )
    samples = runs.invariances(request)
    assert len(samples.table()) == sum(len(one.rows) for one in samples.cases) > 0
    assert samples.report is not None


def test_names_are_what_the_stub_says_and_loaded_late() -> None:
    import subprocess

    code = "import sys, regard.runs as r; r.ExplainRequest; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    stub = (Path(runs.__file__).parent / "__init__.pyi").read_text()
    assert sorted(line.split()[-1] for line in stub.splitlines() if line.startswith("from")) == sorted(runs.__all__)
