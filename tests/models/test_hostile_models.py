"""Files that want to run code: a canary says whether they did."""

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from regard.core.errors import CardError, FileError, InputError, TrustError
from regard.models import load_model

X = torch.zeros(1, 1, 16, 16)
Write = Callable[..., Any]


def members(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def with_member(source: Path, name: str, content: bytes, to: Path) -> None:
    """Copy an archive with one member replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(to, "w") as new:
        for member in old.namelist():
            new.writestr(member, content if member == name else old.read(member))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "net.pt2"
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 14 * 14, 1)).eval()
    torch.export.save(torch.export.export(network, (X,)), path)
    return path


def test_the_payload_would_release_the_canary(payload: bytes, canary: Path) -> None:
    pickle.loads(payload)
    assert canary.exists()


def test_no_member_of_an_exported_program_is_opened_without_trust(
    exported: Path, tmp_path: Path, payload: bytes, canary: Path, write_card: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*args: object, **kwargs: object) -> None:
        raise AssertionError("torch opened the file")

    for place in ("torch.export.load", "torch.jit.load", "torch.load"):
        monkeypatch.setattr(place, opened)
    names = members(exported)
    assert len(names) > 5
    for n, name in enumerate(names):
        hostile = tmp_path / f"net{n}.pt2"
        with_member(exported, name, payload, hostile)
        write_card(tmp_path / f"net{n}.pt2.card.yaml")
        with pytest.raises(TrustError, match=f"code of net{n}.pt2 would run; expected --trust"):
            load_model(hostile)
    assert not canary.exists()


def test_a_hostile_program_given_as_weights_runs_nothing_even_with_trust(
    exported: Path, tmp_path: Path, payload: bytes, canary: Path, write_model: Write
) -> None:
    folder = write_model()
    for name in members(exported):
        for ending in ("pt2", "pt", "safetensors"):
            hostile = tmp_path / f"weights.{ending}"
            with_member(exported, name, payload, hostile)
            with pytest.raises(FileError, match="weights"):
                load_model(folder, weights=hostile, trust=True)
    assert not canary.exists()


@pytest.mark.parametrize("trust", [False, True])
def test_no_member_of_a_torch_weight_file_runs(
    tiny: nn.Module, tmp_path: Path, payload: bytes, canary: Path, write_model: Write, trust: bool
) -> None:
    folder = write_model(tiny)
    torch.save(tiny.state_dict(), tmp_path / "good.pt")
    for name in members(tmp_path / "good.pt"):
        with_member(tmp_path / "good.pt", name, payload, tmp_path / "bad.pt")
        try:
            model = load_model(folder, weights=tmp_path / "bad.pt", trust=trust)
        except FileError:
            continue
        # Members that hold no tensor may be replaced without any effect.
        assert not name.endswith("data.pkl")
        assert model is not None
    assert not canary.exists()


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.bin", "weights"])
def test_a_pickle_as_weights_is_refused_and_safetensors_named(
    tmp_path: Path, payload: bytes, canary: Path, write_model: Write, name: str, trust: bool
) -> None:
    (tmp_path / name).write_bytes(payload)
    with pytest.raises(FileError, match="safetensors"):
        load_model(write_model(), weights=tmp_path / name, trust=trust)
    assert not canary.exists()


def test_a_pickle_inside_a_state_dict_is_refused(
    tiny: nn.Module, tmp_path: Path, canary: Path, write_model: Write
) -> None:
    class Bad:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(canary),)

    torch.save({"state_dict": tiny.state_dict(), "extra": Bad()}, tmp_path / "w.pt")
    with pytest.raises(FileError, match="more than tensors.*save its state dict with safetensors"):
        load_model(write_model(), weights=tmp_path / "w.pt", trust=True)
    assert not canary.exists()


def test_a_whole_pickled_network_is_refused(tiny: nn.Module, tmp_path: Path, write_model: Write) -> None:
    torch.save(tiny, tmp_path / "w.pt")
    with pytest.raises(FileError, match="more than tensors"):
        load_model(write_model(), weights=tmp_path / "w.pt", trust=True)
    torch.jit.trace(tiny, X).save(tmp_path / "script.pt")
    with pytest.raises(FileError, match="a program and not weights"):
        load_model(write_model(), weights=tmp_path / "script.pt", trust=True)


def test_torchscript_is_not_opened_without_trust(
    tiny: nn.Module, tmp_path: Path, payload: bytes, canary: Path, write_card: Write
) -> None:
    torch.jit.trace(tiny, X).save(tmp_path / "good.ts")
    for name in members(tmp_path / "good.ts"):
        with_member(tmp_path / "good.ts", name, payload, tmp_path / "bad.ts")
        write_card(tmp_path / "bad.ts.card.yaml")
        with pytest.raises(TrustError):
            load_model(tmp_path / "bad.ts")
    assert not canary.exists()


CODE = "import os\nos.mkdir({!r})\ndef build():\n    return None\n"


def climbing(tmp_path: Path, folder: Path, kind: str, target: Path) -> str:
    """Write ``target``'s name in a card of ``folder`` in a way that climbs out."""
    if kind == "dots":
        return f"../{target.name}"
    if kind == "hidden dots":
        (folder / "sub").mkdir(exist_ok=True)
        return f"sub/../../{target.name}"
    if kind == "backslashes":
        return f"..\\{target.name}"
    if kind == "absolute":
        return str(target)
    if kind == "drive":
        return f"C:{target.name}"
    if kind == "link":
        (folder / target.name).symlink_to(target)
        return target.name
    (folder / "linked").symlink_to(tmp_path)
    return f"linked/{target.name}"


KINDS = ["dots", "hidden dots", "backslashes", "absolute", "drive", "link", "folder link"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trust", [False, True])
def test_a_factory_that_climbs_out_never_runs(
    tmp_path: Path, canary: Path, write_model: Write, kind: str, trust: bool
) -> None:
    (tmp_path / "evil.py").write_text(CODE.format(str(canary)))
    folder = write_model(zoo=..., kwargs={})
    card = yaml.safe_load((folder / "card.yaml").read_text())
    name = climbing(tmp_path, folder, kind, tmp_path / "evil.py")
    (folder / "card.yaml").write_text(yaml.safe_dump({**card, "factory": f"{name}:build"}))
    with pytest.raises(FileError, match="leaves the folder model"):
        load_model(folder, trust=trust)
    assert not canary.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["weights", "program"])
def test_weights_and_programs_that_climb_out_are_not_read(
    tmp_path: Path, write_model: Write, kind: str, key: str
) -> None:
    folder = write_model()
    target = tmp_path / ("w.safetensors" if key == "weights" else "p.pt2")
    target.write_bytes((folder / "weights.safetensors").read_bytes())
    card = yaml.safe_load((folder / "card.yaml").read_text())
    if key == "program":
        card = {k: v for k, v in card.items() if k not in ("zoo", "weights", "kwargs")}
    card[key] = climbing(tmp_path, folder, kind, target)
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(FileError, match="leaves the folder model"):
        load_model(folder, trust=True)


def test_a_link_inside_the_folder_is_fine(write_model: Write, tiny: nn.Module) -> None:
    folder = write_model(tiny)
    (folder / "weights.safetensors").rename(folder / "real.safetensors")
    (folder / "weights.safetensors").symlink_to("real.safetensors")
    assert torch.equal(load_model(folder)(X), tiny(X))


def test_code_does_not_run_without_trust(canary: Path, write_model: Write) -> None:
    folder = write_model(zoo=..., factory="network.py:build", kwargs={})
    (folder / "network.py").write_text(CODE.format(str(canary)))
    with pytest.raises(TrustError):
        load_model(folder)
    assert not canary.exists()


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir ['{canary}']",
        "name: !!python/object/new:os.mkdir ['{canary}']",
        "kwargs: !!python/name:os.mkdir",
        "kwargs: {{a: !!python/module:os}}",
    ],
)
def test_tags_of_yaml_are_refused(canary: Path, write_model: Write, text: str) -> None:
    folder = write_model()
    (folder / "card.yaml").write_text(f"{text.format(canary=canary)}\n")
    with pytest.raises(CardError, match="without tags"):
        load_model(folder, trust=True)
    assert not canary.exists()


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "changes",
    [
        {"kwargs": {"widths": [100_000, 100_000, 100_000]}},
        {"kwargs": {"widths": [10**30]}},
        {"kwargs": {"widths": [2] * 30_000}},
        {"kwargs": {"widths": [2, -3]}},
        {"kwargs": {"widths": "x" * 100_000}},
        {"kwargs": {"spatial_dims": 10**9}},
        {"kwargs": {"outputs": 10**12}},
        {"inputs": [{"shape": [100_000, 100_000, 100_000]}]},
        {"inputs": [{"channels": 10**12}]},
        {"inputs": [{"spacing_mm": list(range(1, 150_000))}]},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_card_of_sizes_that_no_memory_holds_is_one_sentence(changes: dict[str, Any], write_model: Write) -> None:
    with pytest.raises(InputError) as told:
        load_model(write_model(**changes))
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize(
    ("key", "value"),
    [("sizes", {"size": 10**9}), ("sizes", {"widths": [10**9]}), ("sizes", {"size": True}), ("sizes", None),
     ("scales", [0, 1]), ("scales", [0, 1, 0, "x"]), ("scales", [0, 1, 0, float("inf")])],
)  # fmt: skip
def test_a_sampler_of_sizes_that_no_memory_holds_is_one_sentence(key: str, value: Any, tmp_path: Path) -> None:
    import json

    from regard.explainers.generative.sampler import Sampler, SamplerSizes, read_sampler, write_sampler

    sizes = SamplerSizes(size=8, n_latent=4, widths=(4,), n_code=2, n_blocks=1, width=8, embedded=4)
    write_sampler(tmp_path, Sampler(sizes, (0.0, 1.0, 0.0, 1.0)), {"weights_sha256": None, "layer": None})
    read_sampler(tmp_path)
    record = tmp_path / "models" / "sampler" / "sampler.json"
    said = json.loads(record.read_text())
    said[key] = {**said[key], **value} if isinstance(value, dict) else value
    record.write_text(json.dumps(said))
    with pytest.raises(FileError, match=r"sampler\.json|a sampler of sizes|other sizes"):
        read_sampler(tmp_path)


@pytest.mark.parametrize("text", ["voxel:inf,0,0", "voxel:nan,0,0", "voxel:1e400,0,0", "voxel:1e30,0,0",
                                  "voxel:1.5,0,0", "voxel-mm:inf,0,0", "output:" + "9" * 40])  # fmt: skip
def test_a_place_that_is_no_number_is_no_target(text: str) -> None:
    from regard.core.errors import TargetError
    from regard.models.card import ModelCard
    from regard.models.target_text import read_target

    card = ModelCard.model_validate({"name": "x", "inputs": [{}], "output": {"kind": "image"}})
    with pytest.raises(TargetError):
        read_target(text, card)


def test_a_checkpoint_that_holds_a_pickle_does_not_run(tmp_path: Path, payload: bytes, canary: Path) -> None:
    import lightning

    from regard.training.resumable import Epochs, fit_resumable

    class Learner(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Linear(1, 1)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return self.network(batch).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    (tmp_path / "checkpoint.ckpt").write_bytes(payload)
    with pytest.raises(FileError, match="checkpoint"):
        fit_resumable(Learner(), Epochs(lambda cases, _: torch.ones(len(cases), 1), 2), n_epochs=1, batch_size=1,
                      folder=tmp_path)  # fmt: skip
    assert not canary.exists()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("settings", [{"num_res_units": 100_000}, {"channels": [2, 10**9]}, {"channels": [1, 2**40]}])
def test_a_bundle_of_a_network_without_end_is_one_sentence(settings: dict[str, Any], tmp_path: Path) -> None:
    import json

    definition = {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 1, "channels": [2, 4],
                  "strides": [2]}  # fmt: skip
    (tmp_path / "configs").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_bytes(b"x")
    form = {"type": "image", "format": "magnitude", "num_channels": 1, "spatial_shape": [32, 32, 32],
            "dtype": "float32", "value_range": [0, 1], "is_patch_data": False,
            "channel_def": {"0": "image"}}  # fmt: skip
    said = {"version": "0.1.0", "network_data_format": {"inputs": {"image": form}, "outputs": {"pred": form}}}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(said))
    steps = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"}]
    content = {"network_def": {**definition, **settings},
               "preprocessing": {"_target_": "Compose", "transforms": steps}}  # fmt: skip
    (tmp_path / "configs" / "inference.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="network_def"):
        load_model(tmp_path)
