"""A small network with its card, small images, and the command line as a function."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
import yaml
from command_line import Said
from PIL import Image
from safetensors.torch import save_file

from regard.cli import main
from regard.models.zoo.small import small_regressor

CARD: dict[str, Any] = {
    "schema": "regard.card/1",
    "name": "tiny",
    "zoo": "small-regressor",
    "kwargs": {"widths": [2, 3]},
    "weights": "weights.safetensors",
    "inputs": [{"name": "image", "orientation": "PL", "shape": [16, 16], "unit": "grey level"}],
    "output": {"kind": "regression", "names": ["bmd"], "units": ["g/cm2"]},
}


@pytest.fixture
def regard(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Run the command line in this process."""

    def run(*arguments: object) -> Said:
        words = [str(a) for a in arguments]
        monkeypatch.setattr(sys, "argv", ["regard", *words])
        capsys.readouterr()
        code = main(words)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Write a card folder; keys replace those of the card."""

    def write(folder: str = "model", **changes: Any) -> Path:
        path = tmp_path / folder
        path.mkdir()
        card = {k: v for k, v in {**CARD, **changes}.items() if v is not ...}
        (path / "card.yaml").write_text(yaml.safe_dump(card))
        torch.manual_seed(3)
        network = small_regressor(**card.get("kwargs", {}))
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path / "weights.safetensors")
        return path

    return write


@pytest.fixture
def model(write_model: Callable[..., Path]) -> Path:
    return write_model()


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """Write a grey picture."""

    def write(name: str = "scan.png", *, seed: int = 0, shape: tuple[int, int] = (16, 16)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        values = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(values).save(path, format="PNG")
        return path

    return write


@pytest.fixture
def nifti(tmp_path: Path, oblique: np.ndarray) -> Callable[..., Path]:
    """Write a volume on an oblique, flipped, anisotropic grid."""

    def write(name: str = "scan.nii.gz", *, values: np.ndarray | None = None, affine: np.ndarray | None = None) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        values = np.random.default_rng(1).normal(size=(20, 18, 6)) if values is None else values
        nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), oblique if affine is None else affine), path)
        return path

    return write


@pytest.fixture
def model_3d(write_model: Callable[..., Path]) -> Path:
    spec = {"name": "image", "orientation": "LPS", "shape": [16, 16, 8], "unit": "HU"}
    return write_model("model3d", kwargs={"widths": [2, 3], "spatial_dims": 3}, inputs=[spec])


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system of some kilobytes, where this user may mount one."""
    mounted: list[Path] = []

    def mount(kilobytes: int) -> Path:
        place = tmp_path / f"disk-{kilobytes}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True)
        except FileNotFoundError:
            pytest.skip(reason="no program to mount a file system")
        if done.returncode:
            pytest.skip(reason="only the superuser may mount a file system")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)
