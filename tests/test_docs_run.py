"""The Python blocks of README and docs run as they are printed, one after the other.

What a page calls the reader's own (a network, images, a table) stands ready here under the name that the page uses.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import nibabel
import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

import regard
from regard.models.zoo.small import small_regressor

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

ELSEWHERE = {
    "study-bmd.md": "needs the run of a study at reference size",
    "how-to/explain-a-cohort.md": "one block starts a cluster and waits for Enter; the cohort's tests run the others",
    "how-to/use-with-captum-and-quantus.md": "needs Quantus, which has an environment of its own",
    "phantom-torso.md": "renders a whole torso at full size, for minutes; the phantom's tests render small ones",
}
"""Pages whose blocks cannot run here, and why."""

_FEW_STEPS = "IntegratedGradients(whole, n_steps=4)"

SETTINGS = {
    "how-to/noise-maps.md": {"n_epochs=50": "n_epochs=1", "n_epochs=100": "n_epochs=1"},
    "how-to/explain-large-volumes.md": {"(96, 96, 96)": "(16, 16, 16)", "IntegratedGradients(whole)": _FEW_STEPS},
    "how-to/shuffle-the-labels.md": {"n_networks=3": "n_networks=1"},
}
"""What is made smaller than it is printed, so that the tests end."""


def blocks(page: str) -> list[str]:
    place = ROOT / page if page == "README.md" else DOCS / page
    return re.findall(r"^```python\n(.*?)^```", place.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def pages() -> list[str]:
    found = ["README.md", *(str(p.relative_to(DOCS)) for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts)]
    return [p for p in found if blocks(p)]


class WithLayer4(nn.Module):
    """A small regressor of two axes with a layer of this name."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer4 = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU())
        self.head = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer4(x).mean((-2, -1)))  # type: ignore[no-any-return]


class WithNumbers(nn.Module):
    """An image and two numbers to one number."""

    def forward(self, image: torch.Tensor, clinical: torch.Tensor) -> torch.Tensor:
        return image.flatten(1).mean(1, keepdim=True) * clinical[:, :1] + clinical[:, 1:]


def readme(folder: Path) -> dict[str, Any]:
    _brain_age(folder)
    return {"network": WithLayer4(), "x": torch.rand(1, 1, 20, 20)}


def _brain_age(folder: Path) -> None:
    """A scan and a model of the names that the first pages use."""
    values = np.random.default_rng(0).random((20, 22, 18), dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2, 2, 1])), folder / "sub-01_T1w.nii.gz")
    _model(folder / "models" / "brain-age", 3, "years")


def _model(folder: Path, n_axes: int, unit: str) -> None:
    from safetensors.torch import save_file

    from regard.models.card import InputSpec, ModelCard, OutputSpec, write_card

    folder.mkdir(parents=True)
    torch.manual_seed(0)
    save_file(small_regressor(spatial_dims=n_axes).state_dict(), folder / "weights.safetensors")
    orientation = "RAS" if n_axes == 3 else "PL"
    card = ModelCard(
        name=folder.name, zoo="small-regressor", kwargs={"spatial_dims": n_axes}, weights="weights.safetensors",
        inputs=(InputSpec(orientation=orientation),), output=OutputSpec(kind="regression", units=(unit,)),
    )  # fmt: skip
    write_card(card, folder / "card.yaml")


def first_explanation(folder: Path) -> dict[str, Any]:
    _model(folder / "regard-demo" / "models" / "phantom-density", 3, "mg/cm3")
    (folder / "regard-demo" / "scans").mkdir()
    scan = folder / "regard-demo" / "scans" / "phantom-160.nii.gz"
    values = np.random.default_rng(0).random((16, 16, 16), dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), scan)
    return {"network": WithLayer4(), "x": torch.rand(1, 1, 20, 20)}


def bring_a_model(folder: Path) -> dict[str, Any]:
    one = regard.Model(WithLayer4(), _card())
    return {
        "suppressor": regard.Model(nn.Conv2d(1, 1, 3, padding=1), _card()), "classifier": one, "first": one,
        "second": one, "third": one, "predict": lambda x: x.mean((1, 2, 3))[:, None], "card": _card(),
    }  # fmt: skip


def _card() -> Any:
    return regard.ModelCard(name="m", inputs=[{"orientation": "PL"}], output={"kind": "regression"})  # type: ignore[list-item,arg-type]


def check_a_network(folder: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3))
    return {"network": network, "x": torch.rand(1, 1, 16, 16)}


def choose_a_reference(folder: Path) -> dict[str, Any]:
    clinical = torch.tensor([[60.0, 1.0], [70.0, 0.0]])
    return {
        "network": WithNumbers(), "x": torch.rand(1, 1, 16, 16), "age_and_sex": clinical[:1],
        "clinical_of_the_cohort": clinical,
    }  # fmt: skip


def large_volumes(folder: Path) -> dict[str, Any]:
    region = torch.zeros(24, 24, 24)
    region[8:16, 8:16, 8:16] = 1
    network = nn.Conv3d(1, 1, 3, padding=1)
    return {"network": network, "x": torch.rand(1, 1, 24, 24, 24), "region": region}


def noise_maps(folder: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    segmenter = UNet(2, 1, 1, (4, 8), (2,))
    masks = torch.zeros(2, 1, 64, 64)
    masks[:, :, 20:40, 20:40] = 1
    return {
        "network": small_regressor(spatial_dims=2), "x": torch.rand(1, 1, 64, 64), "images": torch.rand(2, 1, 64, 64),
        "segmenter": segmenter, "masks": masks,
    }  # fmt: skip


def shuffle_the_labels(folder: Path) -> dict[str, Any]:
    def train(images: torch.Tensor, labels: Any, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        made = WithLayer4()
        nn.init.normal_(made.layer4[0].weight)  # type: ignore[arg-type]
        return made.eval()

    return {
        "train": train, "images": torch.rand(8, 1, 20, 20), "labels": np.arange(8.0), "network": WithLayer4().eval(),
        "x": torch.rand(1, 1, 20, 20), "target": regard.Output(0),
    }  # fmt: skip


def read_a_report(folder: Path) -> dict[str, Any]:
    scan = regard.Volume.from_array(torch.rand(1, 20, 20))
    return {"explanation": regard.explain(WithLayer4().eval(), scan, method="gradient")}


READY: dict[str, Callable[[Path], dict[str, Any]]] = {
    "README.md": readme,
    "index.md": readme,
    "first-explanation.md": first_explanation,
    "how-to/use-from-python.md": first_explanation,
    "how-to/bring-a-model.md": bring_a_model,
    "how-to/check-a-network.md": check_a_network,
    "how-to/choose-a-reference.md": choose_a_reference,
    "how-to/explain-large-volumes.md": large_volumes,
    "how-to/noise-maps.md": noise_maps,
    "how-to/read-a-report.md": read_a_report,
    "how-to/shuffle-the-labels.md": shuffle_the_labels,
}


@pytest.mark.parametrize("page", [p for p in pages() if p not in ELSEWHERE])
def test_blocks_run_as_printed(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    names = READY[page](tmp_path) if page in READY else {}
    printed = blocks(page)
    text = "\n".join(printed)
    for was, now in SETTINGS.get(page, {}).items():
        assert was in text
        text = text.replace(was, now)
    exec(compile(text, page, "exec"), {"__name__": "page", **names})
    said = capsys.readouterr().out.splitlines()
    told = [t.strip() for block in printed for t in re.findall(r"print\(.*?\)  # (\{.*)", block)]
    assert told == [line for line in said if line.startswith("{")]


def test_no_page_is_left_out_without_a_reason() -> None:
    assert set(ELSEWHERE) | set(READY) <= set(pages())
