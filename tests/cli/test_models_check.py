"""A card in a minute: written from what lies in a folder, then tried on a scan."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from monai.networks.nets import DenseNet

from regard.cli import main
from regard.models.card import read_card
from regard.models.draft import draft_card

CODE = """
import torch
from monai.networks.nets import DenseNet


def helper():
    return 1


def build():
    sizes = dict(init_features=4, growth_rate=2, block_config=(1, 1))
    return DenseNet(spatial_dims={n}, in_channels=1, out_channels=1, **sizes)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "mine"
    place.mkdir()
    (place / "network.py").write_text(CODE.format(n=3))
    torch.manual_seed(0)
    network = DenseNet(3, 1, 1, init_features=4, growth_rate=2, block_config=(1, 1))
    torch.save(network.state_dict(), place / "weights.pt")
    return place


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).random((24, 26, 20), dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-2.0, 2, 3, 1])), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def test_a_card_is_written_and_reads_back(folder: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["models", "check", str(folder)]) == 0
    assert "was written" in capsys.readouterr().out
    card = read_card(folder / "card.yaml")
    assert card.factory == "network.py:build"
    assert card.weights == "weights.pt"
    assert card.inputs[0].orientation == "RAS"


def test_code_of_two_axes_gets_rows_and_columns(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "model.py").write_text(CODE.format(n=2).replace("def build", "def get_model"))
    card = read_card(draft_card(tmp_path / "flat"))
    assert card.inputs[0].orientation == "PL"
    assert card.factory == "model.py:get_model"


def test_a_written_card_is_tried_on_a_scan(
    folder: Path, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    main(["models", "check", str(folder)])
    text = (folder / "card.yaml").read_text()
    (folder / "card.yaml").write_text(text.replace("normalise: none", "normalise: zscore"))
    capsys.readouterr()
    assert main(["models", "check", str(folder), str(scan)]) == 2
    assert "trust=True" in capsys.readouterr().err
    picture = tmp_path / "sees.png"
    assert main(["models", "check", str(folder), str(scan), "--trust", "-o", str(picture), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert picture.stat().st_size > 2000
    assert said["input shape"] == [1, 1, 24, 26, 20]
    assert said["input mean and deviation"] == pytest.approx([0, 1], abs=1e-3)
    assert said["orientation"] == "RAS"
    assert said["output shape"] == [1, 1]


def test_a_card_is_never_written_over(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "card.yaml").write_text("schema: regard.card/1\nname: [\n")
    assert main(["models", "check", str(folder)]) == 2
    assert (folder / "card.yaml").read_text().endswith("[\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "MODEL"),
        (["chek", "x"], "check MODEL"),
        (["check", "nowhere"], "nowhere"),
        (["check", "{empty}"], "without code"),
    ],
)
def test_what_is_no_model_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["models", *(a.format(empty=tmp_path / "empty") for a in arguments)]) == 2
    assert said in capsys.readouterr().err
