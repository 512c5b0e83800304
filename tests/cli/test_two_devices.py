"""Every verb sends its images where its network is, seen without an accelerator."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Regard

from regard.explainers import METHODS
from regard.explainers.spec import parse_methods
from regard.testing.two_devices import ACCELERATOR, Devices, two_devices

THERE = ("--device", str(ACCELERATOR), "-q")


@pytest.fixture
def devices() -> Iterator[Devices]:
    with two_devices() as found:
        yield found
        assert found.n_there > 50


@pytest.fixture
def table(tmp_path: Path, picture: Callable[..., Path]) -> Path:
    lines = ["case\timage\tpatient\tlabel\tsex"]
    for n in range(6):
        picture(f"s{n}.png", seed=n)
        lines.append(f"c{n}\ts{n}.png\tp{n}\t{n / 10}\t{'FM'[n % 2]}")
    path = tmp_path / "table.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


OTHERS = {"noise-map", "attention-rollout", "gradient-rollout", "lrp", "expected-gradients", "shapley-exact"}
GENERAL = sorted({spec.label for spec in (parse_methods([n])[0] for n in METHODS) if spec.name not in OTHERS})
"""A name for each method that takes a small convolutional network as it is."""


def test_explain_with_every_method_of_a_network_without_attention(
    regard: Regard, model: Path, picture: Callable[..., Path], tmp_path: Path, devices: Devices
) -> None:
    knobs = {
        "rise": ":n_masks=20",
        "lime": ":n_samples=20",
        "shapley": ":n_samples=2",
        "kernel-shap": ":n_parts=6,n_samples=60",
    }
    asked = [part for name in GENERAL for part in ("-m", name + knobs.get(name, ""))]
    said = regard("explain", model, picture(), *asked, "-o", tmp_path / "run", *THERE)
    assert said.code in (0, 3), said.err
    assert "DevicesApart" not in (tmp_path / "run" / "failures.tsv").read_text()
    assert "DevicesApart" not in said.err


def test_explain_a_volume_with_a_mask_and_a_reference(
    regard: Regard, model_3d: Path, nifti: Callable[..., Path], tmp_path: Path, devices: Devices
) -> None:
    values = np.random.default_rng(0).normal(size=(20, 18, 6))
    scan, other = nifti(values=values), nifti("other.nii.gz", values=values[::-1])
    mask = nifti("mask.nii.gz", values=(np.indices(values.shape)[0] > 8).astype(float))
    for more in (("--mask", mask), ("--reference", other)):
        said = regard(
            "explain", model_3d, scan, "-m", "integrated-gradients:n_steps=4", "-m", "occlusion:window=8", *more,
            "-o", tmp_path / more[0].strip("-"), *THERE,
        )  # fmt: skip
        assert said.code == 0, said.err


def test_weigh_and_cohort(regard: Regard, model: Path, table: Path, tmp_path: Path, devices: Devices) -> None:
    methods = ("-m", "gradient", "-m", "grad-ram", "-m", "occlusion:window=4")
    said = regard("explain", model, table, *methods, "-o", tmp_path / "run", *THERE)
    assert said.code == 0, said.err
    said = regard("weigh", tmp_path / "run", "--n-null", 9, *THERE)
    assert said.code == 0, said.err
    said = regard("cohort", model, table, *methods, "-o", tmp_path / "cohort", *THERE)
    assert said.code == 0, said.err
    assert regard("doctor", model, tmp_path / "s0.png", *THERE).code == 0
