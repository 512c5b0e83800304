"""``regard retrain``, and ``regard cohort --retrained`` with what it leaves."""

import csv
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from command_line import Regard, failures, state


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, dialect="excel-tab"))


@pytest.fixture
def table(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    """Nine pictures with labels."""
    lines = ["case\timage\tlabel\tsex"]
    for n in range(9):
        picture(f"pictures/{n}.png", seed=n)
        lines.append(f"c{n:02d}\tpictures/{n}.png\t{n / 10}\t{'FM'[n % 2]}")
    path = tmp_path / "table.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    labels = np.zeros((16, 16, 1), np.uint8)
    labels[:8, :8], labels[8:, :8], labels[:8, 8:], labels[8:, 8:] = 1, 2, 3, 4
    path = tmp_path / "atlas.nii.gz"
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([-1.0, -1, 1, 1])), path)
    return path


@pytest.fixture
def networks(regard: Regard, model: Path, table: Path, tmp_path: Path) -> Path:
    out = tmp_path / "networks"
    assert regard("retrain", model, table, "--epochs", "1", "-o", out, "-q").code == 0
    return out


def test_a_network_is_ranked_among_its_retrained_ones(
    regard: Regard, networks: Path, table: Path, atlas: Path, tmp_path: Path
) -> None:
    own, out = networks / "true-labels", tmp_path / "out"
    assert len(list(networks.glob("shuffled-*/card.yaml"))) == 19 and state(networks) == "done"
    command = (
        "cohort",
        own,
        table,
        "-m",
        "gradient",
        "--atlas",
        atlas,
        "--by",
        "sex",
        "--retrained",
        networks,
        "-o",
        out,
    )
    said = regard(*command)
    assert said.code == 0, said
    found = _rows(out / "regions.tsv")
    assert {r["group"] for r in found} == {"*", "sex = F", "sex = M"}
    assert {r["contrast"] for r in found} == {"networks that know nothing of the labels"}
    assert all(r["test"] == "rank among 38 networks that know nothing of the labels" for r in found)
    # The rank of one among 39.
    assert all(round(float(r["p_maxT"]) * 39, 6) % 1 == 0 and float(r["p_maxT"]) > 0 for r in found)
    assert "The network is the unit" in (out / "report.html").read_text()
    assert regard(*command).code == 0, "the same goes on"
    # Another network among them is another configuration.
    (networks / "shuffled-019" / "weights.safetensors").write_bytes(
        (networks / "shuffled-018" / "weights.safetensors").read_bytes()
    )
    assert regard(*command).code == 2
    one_less = [o for n in range(1, 19) for o in ("--retrained", networks / f"shuffled-{n:03d}")]
    assert regard(*command[:-4], *one_less, "-o", tmp_path / "few").refused("18 retrained networks", "at least 19")
    both = regard(*command[:-2], "--null", "surrogate", "-o", tmp_path / "both")
    assert both.refused("--null surrogate", "one of them")
    assert regard("cohort", own, table, "-m", "gradient", "--retrained", networks, "-o", tmp_path / "n").refused(
        "--atlas"
    )


def test_a_bad_case_is_a_row_and_what_cannot_be_trained_is_said(
    regard: Regard, write_model: Callable[..., Path], model: Path, table: Path, tmp_path: Path
) -> None:
    (tmp_path / "pictures" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    out = tmp_path / "some"
    said = regard("retrain", model, table, "--epochs", "1", "--networks", "1", "-o", out)
    assert said.code == 3, said
    assert [r["case"] for r in failures(out)] == ["c03"]
    assert "8 of 9" in said.out
    bare = tmp_path / "bare.tsv"
    bare.write_text("case\timage\n" + "".join(f"c{n}\tpictures/{n}.png\n" for n in range(8)))
    assert regard("retrain", model, bare, "-o", tmp_path / "no").refused("0 cases", "at least 8")
