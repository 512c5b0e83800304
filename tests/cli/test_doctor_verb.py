"""``regard doctor MODEL [CASE]``, and what a run keeps of the probes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from command_line import Regard
from safetensors.torch import save_file
from torch import nn

from regard.models.zoo.small import small_regressor

BAD = """
import torch
from torch import nn

class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 1)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)

    def forward(self, x):
        return self.head(self.norm(self.body(x)).relu().mean((2, 3)))

class Decided(Mixing):
    def __init__(self):
        super().__init__()
        self.norm = nn.Identity()

    def forward(self, x):
        return (super().forward(x) > 0).float()

def mixing():
    return Mixing()

def decided():
    return Decided()
"""


@pytest.fixture
def bad(tmp_path: Path) -> Callable[[str], Path]:
    """A card folder with code of its own."""

    def write(factory: str) -> Path:
        folder = tmp_path / factory
        folder.mkdir()
        (folder / "network.py").write_text(BAD)
        spec = {"name": "image", "orientation": "PL", "shape": [16, 16], "unit": "grey level"}
        card = {
            "schema": "regard.card/1", "name": factory, "factory": f"network.py:{factory}", "weights": "w.safetensors",
            "inputs": [spec], "output": {"kind": "regression", "names": ["a"]},
        }  # fmt: skip
        (folder / "card.yaml").write_text(yaml.safe_dump(card))
        torch.manual_seed(0)
        network = nn.ModuleDict({"body": nn.Conv2d(1, 4, 3), "head": nn.Linear(4, 1)})
        state = dict(network.state_dict())
        if factory == "mixing":
            state |= {"norm.weight": torch.ones(4), "norm.bias": torch.zeros(4)}
        save_file(state, folder / "w.safetensors")
        return folder

    return write


def test_a_good_network_passes_with_a_random_image_and_with_a_scan(
    regard: Regard, model: Path, picture: Callable
) -> None:
    said = regard("doctor", model)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "tiny, probed with a random image:"
    assert {line.split()[0] for line in lines[1:]} <= {"ok", "unclear"}
    assert len(lines) == 9
    rows = regard("doctor", model, picture(), "-m", "occlusion", "--json").json
    assert {r["case"] for r in rows} == {"scan"}
    assert {r["probe"]: r["state"] for r in rows} == dict.fromkeys(
        ("output", "response", "same twice", "cases apart", "filler auto"), "ok"
    )


def test_a_reference_that_is_the_scan_itself_is_refused(regard: Regard, model: Path, picture: Callable) -> None:
    scan = picture()
    said = regard("doctor", model, scan, "-m", "integrated-gradients", "--reference", scan)
    assert said.code == 2
    assert "refused  reference: a reference that is the input itself; expected another image" in said.out
    other = regard("doctor", model, scan, "-m", "integrated-gradients", "--reference", picture("b.png", seed=5))
    assert other.code == 0
    assert regard("doctor", model, "--reference", "value:60").refused("value:60", "FILE")


def test_a_layer_that_is_not_there_is_refused(regard: Regard, model: Path) -> None:
    said = regard("doctor", model, "--layer", "featurs", "-m", "grad-cam")
    assert said.code == 2
    assert "did you mean features" in said.out


def test_what_is_told_exits_with_0_and_what_is_refused_with_2(regard: Regard, bad: Callable) -> None:
    told, refused = bad("mixing"), bad("decided")
    assert regard("doctor", told).refused("--trust")
    said = regard("doctor", told, "--trust")
    assert said.code == 0
    assert "told     cases apart: an output that changes by" in said.out
    said = regard("doctor", refused, "--trust")
    assert said.code == 2
    assert "refused  gradient: an output of Decided that no gradient ties to the input" in said.out


def test_an_image_network_is_probed_without_a_target(regard: Regard) -> None:
    said = regard("doctor", "cnn10", "-q")
    assert said.code == 0
    assert "the output is not one number: probed with the mean of its image" in said.out


def test_a_run_keeps_what_the_probes_said_and_does_not_ask_again(
    regard: Regard, bad: Callable, picture: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = bad("mixing"), tmp_path / "run"
    base = ("explain", model, "--trust", picture("a.png"), picture("b.png", seed=2), "-m", "gradient", "-o", out)
    said = regard(*base)
    assert said.code == 0
    assert "warning: a: an output that changes by" in said.out
    kept = yaml.safe_load((out / "run.yaml").read_text())["preflight"]
    assert (kept["case"], kept["target"]) == ("a", "output:0")
    assert {p["probe"]: p["state"] for p in kept["probes"]}["cases apart"] == "told"
    assert "another case stands in the batch" in (out / "report.html").read_text()

    for path in (out / "maps").glob("b_*"):
        path.unlink()

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the network was probed again")

    monkeypatch.setattr("regard.probing.run.network_probes", asked)
    assert regard(*base).code == 0
    after = yaml.safe_load((out / "run.yaml").read_text())["preflight"]
    assert after == kept
    assert len(list((out / "maps").glob("b_desc*.nii.gz"))) == 1


def test_a_cohort_is_probed_once_and_says_so(
    regard: Regard, bad: Callable, picture: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import regard.probing.run as probing

    calls = []
    ask = probing.network_probes

    def counted(*values: object, **named: object) -> object:
        calls.append(1)
        return ask(*values, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(probing, "network_probes", counted)
    for n in range(3):
        picture(f"{n}.png", seed=n)
    (tmp_path / "cases.tsv").write_text("case\timage\n" + "".join(f"c{n}\t{n}.png\n" for n in range(3)))
    out = tmp_path / "cohort"
    said = regard("cohort", bad("mixing"), "--trust", tmp_path / "cases.tsv", "-m", "gradient", "-o", out)
    assert said.code == 0, said.err
    assert len(calls) == 1
    kept = yaml.safe_load((out / "run.yaml").read_text())["preflight"]
    assert {p["probe"]: p["state"] for p in kept["probes"]}["cases apart"] == "told"
    assert "another case stands in the batch" in said.out


def test_a_weighing_evaluates_one_by_one_where_cases_mix(
    regard: Regard, bad: Callable, picture: Callable, tmp_path: Path
) -> None:
    model, out = bad("mixing"), tmp_path / "run"
    assert regard("explain", model, "--trust", picture(), "-m", "gradient", "-o", out).code == 0
    said = regard("weigh", out, "--trust", "--quick", "--measure", "gini")
    assert said.code == 0, said.err
    assert yaml.safe_load((out / "weigh.yaml").read_text())["batch_size"] == "1"


def test_a_networks_own_random_state_is_not_used(regard: Regard, model: Path) -> None:
    torch.manual_seed(5)
    small_regressor(widths=[2, 3])
    state = torch.get_rng_state()
    regard("doctor", model)
    assert torch.equal(torch.get_rng_state(), state)
