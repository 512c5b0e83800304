"""``regard demo`` from end to end, in its smallest size."""

import shlex
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from command_line import Regard

from regard import load_model
from regard.demo.asked import SIZES
from regard.io import read_inputs
from regard.phantoms.density import DensityPhantom


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A demo of seconds: few and coarse phantoms."""
    phantom = DensityPhantom(shape=(24, 20, 12), spacing=(10.0, 10.0, 12.0))
    monkeypatch.setitem(SIZES, "smoke", replace(SIZES["smoke"], n_train=8, n_test=3, n_epochs=1, phantom=phantom))


def times(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".log"}


def test_a_finished_demo_prints_its_results_again(regard: Regard, tiny: None, tmp_path: Path) -> None:
    base = ("demo", "--size", "smoke", "-o", tmp_path / "demo")
    first = regard(*base)
    assert (first.code, first.err) == (0, "")
    before = times(tmp_path / "demo")
    again = regard(*base)
    assert (again.code, again.out) == (0, first.out)
    after = times(tmp_path / "demo")
    rewritten = {str(tmp_path / "demo" / n) for n in ("run.yaml", "inputs.tsv", "failures.tsv")}
    assert {k for k in after if after[k] != before.get(k)} <= rewritten
    assert regard(*base, "--json").json["regressor"]["n"] == 3
    assert regard(*base, "--seed", 1).refused("seed is 1 and was 0")
    assert regard(*base, "--seed", 1, "--overwrite").code == 0


def test_an_interrupted_demo_begins_again(
    regard: Regard, tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import regard.demo.asked as verb

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    base = ("demo", "--size", "smoke", "-o", tmp_path / "demo")
    with monkeypatch.context() as now:
        now.setattr(verb, "write_report", stopped)
        assert regard(*base).refused("interrupted", code=130)
    assert yaml.safe_load((tmp_path / "demo/run.yaml").read_text())["state"] == "interrupted"
    assert not (tmp_path / "demo/demo.json").exists()
    assert regard(*base).code == 0
    assert yaml.safe_load((tmp_path / "demo/run.yaml").read_text())["state"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize("size", ["smoke"])
def test_the_demo_and_what_it_says_to_do_next(regard: Regard, tmp_path: Path, size: str) -> None:
    out = tmp_path / "my demo"
    found = regard("demo", "--size", size, "-o", out, "--json").json
    facts = found["regressor"]
    assert (facts["n"], facts["unit"]) == (10, "mg/cm3")
    assert 0 < facts["mae"] < 2 * facts["mae_of_the_mean"]
    assert -1 <= facts["pearson_r"] <= 1
    assert {r["map"] for r in found["maps"]} >= {"grad-ram", "grad-ramp", "occlusion", "random-cam", "by chance"}
    for row in found["maps"]:
        assert all(0 <= float(row[m].split()[0]) <= 1 for m in ("average precision", "relevance mass"))
    assert len(found["truth"]) == 5

    assert 10_000 < (out / "report.html").stat().st_size < 15_000_000
    run = yaml.safe_load((out / "run.yaml").read_text())
    assert (run["schema"], run["verb"], run["state"], run["seed"]) == ("regard.run/1", "demo", "done", 0)
    assert run["case_ids"] == [c.case for c in read_inputs(out)]
    model = load_model(out / "models" / "phantom-density")
    assert (model.card.name, model.card.output.units) == ("phantom-density", ("mg/cm3",))

    following, then = regard("demo", "--size", size, "-o", out).out.splitlines()[-2:]
    assert then.startswith("then: regard weigh ")
    command = shlex.split(following.removeprefix("next: "))
    assert command[:2] == ["regard", "explain"]
    method = command.index("-m") + 1
    command[method] += ":n_samples=20"
    said = regard(*command[1:])
    assert said.code == 0, said.err
    (written,) = [p for p in Path(command[-1]).glob("maps/*_relevance.nii.gz") if "_space-network_" not in p.name]
    scan = nibabel.load(command[3])
    assert nibabel.load(written).shape == scan.shape
    assert np.allclose(nibabel.load(written).affine, scan.affine)
