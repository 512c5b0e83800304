"""MONAI bundles: the network and its meaning are taken as data; nothing that they name is run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from regard.core.errors import CardError, FileError, TrustError
from regard.models import load_model
from regard.models.bundle import bundle_network

UNET: dict[str, Any] = {
    "_target_": "UNet",
    "spatial_dims": "@dims",
    "in_channels": 1,
    "out_channels": "@sizes#out",
    "channels": [4, 8, 16],
    "strides": [2, 2],
    "num_res_units": 1,
    "norm": "batch",
}
METADATA: dict[str, Any] = {
    "version": "0.1.0",
    "description": "A spleen finder.",
    "license": "Apache-2.0",
    "data_source": "Task09_Spleen",
    "network_data_format": {
        "inputs": {
            "image": {
                "type": "image",
                "format": "hounsfield",
                "num_channels": 1,
                "spatial_shape": [96, 96, 96],
                "value_range": [0, 1],
                "is_patch_data": True,
            }
        },
        "outputs": {
            "pred": {
                "type": "image",
                "format": "segmentation",
                "num_channels": 2,
                "channel_def": {"0": "background", "1": "spleen"},
            }
        },
    },
}
TRANSFORMS: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
    {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
    {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
    {"_target_": "monai.transforms.ScaleIntensityRanged", "keys": "image", "a_min": -57, "a_max": 164, "b_min": 0,
     "b_max": 1, "clip": True},
    {"_target_": "EnsureTyped", "keys": "image"},
]  # fmt: skip
X = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
Write = Callable[..., Path]


def reference() -> nn.Module:
    from monai.networks.nets import UNet

    torch.manual_seed(1)
    return UNet(3, 1, 2, (4, 8, 16), (2, 2), num_res_units=1, norm="batch").eval()


@pytest.fixture
def write_bundle(tmp_path: Path) -> Write:
    def write(
        network_def: Any = UNET, *, network: nn.Module | None = None, ending: str = "json", **changes: Any
    ) -> Path:
        folder = tmp_path / "spleen"
        for part in ("configs", "models"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        content = {
            "imports": ["$import glob"],
            "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
            "dims": 3,
            "sizes": {"out": 2},
            "network_def": network_def,
            "network": "$@network_def.to(@device)",
            "preprocessing": {"_target_": "Compose", "transforms": TRANSFORMS},
            **changes,
        }
        dump = json.dumps if ending == "json" else yaml.safe_dump
        (folder / "configs" / f"inference.{ending}").write_text(dump(content))
        (folder / "configs" / "metadata.json").write_text(json.dumps(METADATA))
        if network is not None:
            torch.save(network.state_dict(), folder / "models" / "model.pt")
        return folder

    return write


@pytest.mark.parametrize("ending", ["json", "yaml", "yml"])
def test_a_bundle_is_its_network_with_a_card_of_its_metadata(write_bundle: Write, ending: str) -> None:
    network = reference()
    model = load_model(write_bundle(network=network, ending=ending))
    assert torch.equal(model(X), network(X))
    assert model.capabilities == {"gradient", "layers"}
    assert len(str(model.weights_sha256)) == 64
    card = model.card
    assert (card.name, card.licence, card.trained_on.site) == ("spleen", "Apache-2.0", "Task09_Spleen")
    spec = card.inputs[0].model_dump()
    assert spec == {
        "name": "image",
        "channels": 1,
        "orientation": "RAS",
        "spacing_mm": (1.5, 1.5, 2.0),
        "shape": None,
        "fit": "crop-pad",
        "rounding": "none",
        "unit": "HU",
        "window": (-57, 164),
        "normalise": "none",
    }
    assert card.output.kind == "segmentation"
    assert card.output.names == ("background", "spleen")
    assert card.output.grid == "input"
    assert "A spleen finder." in card.notes
    steps = "run by MONAI: EnsureChannelFirst, Orientation, Spacing, ScaleIntensityRange, EnsureType"
    assert steps in card.notes
    assert len(model.warnings) == 1
    assert model.warnings[0].startswith("not known from the bundle: how patches of 96 x 96 x 96 voxels are joined")


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ([{"_target_": "Spacingd", "pixdim": 2}], {"spacing_mm": (2.0, 2.0, 2.0)}),
        ([{"_target_": "Spacingd", "pixdim": "@voxel"}], {"spacing_mm": (1.0, 2.0, 3.0)}),
        (
            [{"_target_": "Spacingd", "pixdim": "@voxel"}, {"_target_": "Orientationd", "axcodes": "LPS"}],
            {"spacing_mm": None, "orientation": "LPS"},
        ),
        ([{"_target_": "Spacingd", "pixdim": [1, -1, 2]}], {"spacing_mm": None}),
        (
            [{"_target_": "Spacingd", "pixdim": 2}, {"_target_": "Resized", "spatial_size": [8, 8, 8]}],
            {"spacing_mm": None},
        ),
        (
            [{"_target_": "Orientationd", "axcodes": "LPS"}, {"_target_": "Flipd", "spatial_axis": 0}],
            {"orientation": None},
        ),
    ],
)
def test_a_card_says_only_what_single_steps_make_sure(
    write_bundle: Write, steps: list[dict[str, Any]], wanted: dict[str, Any]
) -> None:
    folder = write_bundle(network=reference(), preprocessing=[{**s, "keys": "image"} for s in steps], voxel=[1, 2, 3])
    spec = load_model(folder).card.inputs[0].model_dump()
    assert {k: spec[k] for k in wanted} == wanted


def test_a_bundle_without_preprocessing_says_so(write_bundle: Write) -> None:
    model = load_model(write_bundle(network=reference(), preprocessing=None))
    assert "what is done to an image first" in model.warnings[0]
    named = {"_target_": "Dataset", "transform": "@steps"}
    folder = write_bundle(network=reference(), preprocessing=None, dataset=named, steps=TRANSFORMS)
    assert "Orientation, Spacing" in load_model(folder).card.notes


def test_other_outputs_and_a_fixed_size(write_bundle: Write) -> None:
    folder = write_bundle(network=reference(), preprocessing=[])
    for entry, kind in (
        ({"type": "probabilities", "format": "classes", "channel_def": {"0": "a"}}, "classification"),
        ({"type": "image", "format": "magnitude"}, "image"),
        ({"type": "number"}, "regression"),
    ):
        data = json.loads(json.dumps(METADATA))
        data["network_data_format"]["outputs"] = {"pred": entry}
        data["network_data_format"]["inputs"]["image"]["is_patch_data"] = False
        (folder / "configs" / "metadata.json").write_text(json.dumps(data))
        card = load_model(folder).card
        assert card.output.kind == kind
        assert card.inputs[0].shape == (96, 96, 96)
    (folder / "configs" / "metadata.json").write_text("{}")
    with pytest.raises(CardError, match="network_data_format"):
        load_model(folder)


HOSTILE = [
    {"_target_": "os.system", "command": "mkdir {canary}"},
    {"_target_": "os.mkdir", "path": "{canary}"},
    {"_target_": "mkdir", "path": "{canary}"},
    {"_target_": "builtins.exec", "object": "import os; os.mkdir('{canary}')"},
    {"_target_": "monai.networks.nets.unet.torch.os.mkdir", "path": "{canary}"},
    {"_target_": "monai.networks.nets.os.mkdir", "path": "{canary}"},
    {"_target_": "monai.networks.nets.__builtins__.exec", "object": "import os; os.mkdir('{canary}')"},
    {"_target_": "monai.networks.nets...os.mkdir", "path": "{canary}"},
    {"_target_": "monai.networks.netsevil.UNet"},
    {"_target_": "monai.bundle.ConfigParser"},
    {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1},
    {"_target_": "Transchex"},
    {"_target_": ["os", "mkdir"]},
    "$__import__('os').mkdir('{canary}')",
    {**UNET, "act": "$__import__('os').mkdir('{canary}')"},
    {**UNET, "act": ["prelu", {"init": "$__import__('os').mkdir('{canary}')"}]},
    {**UNET, "act": {"_target_": "os.mkdir", "path": "{canary}"}},
    {**UNET, "act": {"_target_": "torch.nn.modules.module.torch.os.mkdir", "path": "{canary}"}},
    {**UNET, "act": {"_target_": "torch.hub.load", "repo_or_dir": "{canary}"}},
    {**UNET, "act": {"_target_": "torch.nn.functional.relu"}},
    {**UNET, "_requires_": "$__import__('os').mkdir('{canary}')"},
    {**UNET, "_mode_": "callable"},
    {**UNET, "dropout": "@evil"},
    {**UNET, "dropout": "@evil_target"},
    {"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 3, "out_channels": 2, "pretrained": "{canary}.pt"},
    {"_target_": "HoVerNet", "pretrained_url": "http://localhost:9/{canary}"},
    {"_target_": "CellSamWrapper", "checkpoint": "{canary}.pth"},
]


def filled(node: Any, canary: Path) -> Any:
    if isinstance(node, str):
        return node.replace("{canary}", str(canary))
    if isinstance(node, dict):
        return {k: filled(v, canary) for k, v in node.items()}
    return [filled(v, canary) for v in node] if isinstance(node, list) else node


@pytest.mark.parametrize("network_def", HOSTILE)
def test_a_hostile_definition_needs_trust_and_runs_nothing(write_bundle: Write, canary: Path, network_def: Any) -> None:
    evil = {
        "evil": f"$__import__('os').mkdir('{canary}')",
        "evil_target": {"_target_": "os.mkdir", "path": str(canary)},
    }
    folder = write_bundle(filled(network_def, canary), network=reference(), **evil)
    with pytest.raises(TrustError, match="give --trust"):
        load_model(folder)
    assert not canary.exists()


def test_modules_of_others_are_not_even_imported(
    write_bundle: Write, tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "borrowed_nets.py").write_text(f"import os\nos.mkdir({str(canary)!r})\nclass UNet: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for definition in ({"_target_": "borrowed_nets.UNet"}, {**UNET, "act": {"_target_": "borrowed_nets.UNet"}}):
        with pytest.raises(TrustError, match="borrowed_nets"):
            load_model(write_bundle(definition, network=reference()))
    assert not canary.exists()


def test_expressions_outside_network_and_preprocessing_are_not_even_looked_at(
    write_bundle: Write, canary: Path
) -> None:
    run = f"$__import__('os').mkdir('{canary}')"
    folder = write_bundle(network=reference(), imports=[run], initialize=[run], postprocessing=[{"_target_": run}])
    load_model(folder)
    assert not canary.exists()


def test_with_trust_monais_parser_reads_expressions(write_bundle: Write) -> None:
    network = reference()
    folder = write_bundle({**UNET, "channels": "$[4 * 2**i for i in range(3)]"}, network=network)
    with pytest.raises(TrustError, match=r"'network_def#channels' is an expression"):
        load_model(folder)
    assert torch.equal(load_model(folder, trust=True)(X), network(X))
    broken = write_bundle({**UNET, "channels": "$1 / 0"}, network=network)
    with pytest.raises(CardError, match="raised"):
        load_model(broken, trust=True)
    with pytest.raises(CardError, match="gives list"):
        bundle_network(write_bundle("$[1]"), {"network_def": "$[1]"}, trust=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network_def": {**UNET, "spatial_dims": "@nothing"}}, "refers to '@nothing'"),
        ({"network_def": {**UNET, "spatial_dims": "@a"}, "a": "@b", "b": "@a"}, "refers to itself"),
        ({"network_def": {**UNET, "channels": [4]}}, "'network_def' that raised ValueError"),
        ({"network_def": {**UNET, "colour": 3}}, "'network_def' that raised TypeError"),
        ({"network_def": 3}, "gives int"),
    ],
)
def test_a_wrong_definition_is_one_sentence(write_bundle: Write, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CardError, match=words):
        load_model(write_bundle(network=reference(), **changes))


def test_nested_modules_and_references_are_built() -> None:
    config = {
        "network_def": "@net",
        "net": {"_target_": "monai.networks.nets.UNet", **{k: v for k, v in UNET.items() if k != "_target_"}},
        "dims": 2,
        "sizes": {"out": "@sizes::one", "one": 1},
    }
    network = bundle_network(Path(), config, trust=False)
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 1, 8, 8)
    nested = {"_target_": "VoxelMorph", "spatial_dims": 2, "backbone": "@net"}
    whole = bundle_network(Path(), {**config, "network_def": nested}, trust=False)
    assert type(whole.backbone).__name__ == "UNet"
    plain = {
        **nested,
        "backbone": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1},
    }
    assert isinstance(bundle_network(Path(), {"network_def": plain}, trust=False).backbone, nn.Conv2d)


def test_nothing_is_fetched_for_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetched(*args: object, **kwargs: object) -> None:
        raise AssertionError("weights were fetched")

    monkeypatch.setattr("monai.networks.nets.efficientnet.model_zoo.load_url", fetched)
    monkeypatch.setattr("monai.networks.nets.densenet.load_state_dict_from_url", fetched)
    efficient = {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0", "spatial_dims": 2, "in_channels": 3,
                 "num_classes": 2}  # fmt: skip
    dense = {"_target_": "DenseNet121", "spatial_dims": 2, "in_channels": 3, "out_channels": 2, "pretrained": True}
    for definition in (efficient, {**efficient, "pretrained": True}, dense):
        bundle_network(Path(), {"network_def": definition}, trust=False)


def test_weights_of_a_bundle(write_bundle: Write, tmp_path: Path, payload: bytes, canary: Path) -> None:
    network = reference()
    folder = write_bundle()
    with pytest.raises(FileError, match="without models/model.pt"):
        load_model(folder)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    assert torch.equal(load_model(folder, weights=tmp_path / "w.pt")(X), network(X))
    (folder / "models" / "model.pt").symlink_to(tmp_path / "w.pt")
    with pytest.raises(FileError, match="leaves the folder"):
        load_model(folder)
    (folder / "models" / "model.pt").unlink()
    (folder / "models" / "model.pt").write_bytes(payload)
    with pytest.raises(FileError, match="safetensors"):
        load_model(folder, trust=True)
    assert not canary.exists()
    (folder / "models" / "model.pt").unlink()
    torch.jit.trace(network, X).save(folder / "models" / "model.ts")
    with pytest.raises(TrustError, match=r"model\.ts"):
        load_model(folder)
    model = load_model(folder, trust=True)
    assert torch.allclose(model(X), network(X), atol=1e-5)
    assert model.capabilities == {"gradient"}
    assert model.warnings


def test_broken_configurations(write_bundle: Write, tmp_path: Path, canary: Path) -> None:
    folder = write_bundle(network=reference())
    configuration = folder / "configs" / "inference.json"
    configuration.write_text("{")
    with pytest.raises(CardError, match="inference.json"):
        load_model(folder)
    configuration.write_text("[1]")
    with pytest.raises(CardError, match="holds list"):
        load_model(folder)
    configuration.write_text("{}")
    with pytest.raises(CardError, match="without network_def"):
        load_model(folder)
    configuration.unlink()
    with pytest.raises(FileError, match="without a configuration"):
        load_model(folder)
    (folder / "configs" / "inference.yaml").write_text(f"a: !!python/object/apply:os.mkdir ['{canary}']\n")
    with pytest.raises(CardError, match="without tags"):
        load_model(folder, trust=True)
    assert not canary.exists()
    (folder / "configs" / "inference.yaml").unlink()
    (tmp_path / "elsewhere.json").write_text("{}")
    configuration.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(FileError, match="leaves the folder"):
        load_model(folder)
