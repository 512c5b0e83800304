"""Models from card folders, the zoo and weight files; what is wrong with them is one sentence."""

import hashlib
import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from regard.core.errors import CardError, FileError, InputError, TrustError, UnknownNameError
from regard.models import load_model
from regard.models.zoo.small import small_regressor

X = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
Write = Callable[..., Path]

NETWORK = """
from dataclasses import dataclass
from layers import Last
import torch
from torch import nn

@dataclass
class Settings:
    width: int = 2

def build(width=2):
    settings = Settings(width)
    return nn.Sequential(nn.Conv2d(1, settings.width, 3), nn.Flatten(), Last(settings.width * 14 * 14))

def number():
    return 3

def scikit():
    return lambda x: x.mean((1, 2, 3))[:, None]
"""
LAYERS = "from torch import nn\nclass Last(nn.Linear):\n    def __init__(self, n):\n        super().__init__(n, 1)\n"


def test_a_card_folder_with_a_network_of_the_zoo(write_model: Write, tiny: nn.Module, tmp_path: Path) -> None:
    folder = write_model(tiny)
    sha256 = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    state = torch.get_rng_state()
    for source in (folder, str(folder), folder / "card.yaml"):
        model = load_model(source)
        assert torch.equal(model(X), tiny(X))
        assert model.weights_sha256 == sha256
        assert model.card.name == "tiny"
        assert model.warnings == ()
        assert isinstance(model.network, nn.Module)
        assert not model.network.training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("wrap", [None, "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_torch_files_are_read_as_tensors(
    write_model: Write, tiny: nn.Module, tmp_path: Path, wrap: str | None, prefix: str
) -> None:
    state: Any = {prefix + k: v for k, v in tiny.state_dict().items()}
    torch.save({wrap: state, "epoch": 3} if wrap else state, tmp_path / "w.pth")
    assert torch.equal(load_model(write_model(), weights=tmp_path / "w.pth")(X), tiny(X))


def test_a_factory_runs_with_trust_only_and_leaves_nothing_behind(write_model: Write, tmp_path: Path) -> None:
    folder = write_model(zoo=..., factory="network.py:build", kwargs={"width": 3})
    (folder / "network.py").write_text(NETWORK)
    (folder / "layers.py").write_text(LAYERS)
    with pytest.raises(TrustError) as caught:
        load_model(folder)
    assert str(caught.value) == (
        "code of network.py would run; expected --trust (trust=True in Python); give it if you trust its author"
    )
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(3 * 14 * 14, 1))
    save_file(network.state_dict(), folder / "weights.safetensors")
    path = list(sys.path)
    model = load_model(folder, trust=True)
    assert torch.equal(model(X), network(X))
    assert sys.path == path
    assert "layers" not in sys.modules
    assert "network" not in sys.modules
    assert importlib.util.find_spec("layers") is None
    assert not (folder / "__pycache__").exists()


def test_two_models_may_each_bring_a_file_of_one_name(write_model: Write) -> None:
    networks = []
    for n in (2, 5):
        folder = write_model(folder=f"m{n}", zoo=..., factory="network.py:make", kwargs={})
        (folder / "network.py").write_text("from layers import WIDTH\nfrom torch import nn\n"
                                           "def make():\n    return nn.Conv2d(1, WIDTH, 3)\n")  # fmt: skip
        (folder / "layers.py").write_text(f"WIDTH = {n}\n")
        save_file(nn.Conv2d(1, n, 3).state_dict(), folder / "weights.safetensors")
        networks.append(load_model(folder, trust=True)(X).shape[1])
    assert networks == [2, 5]


@pytest.mark.parametrize(
    ("factory", "kwargs", "words"),
    [
        ("network.py:missing", {}, "AttributeError"),
        ("network.py:build", {"depth": 3}, "TypeError.*depth"),
        ("network.py:number", {}, "gives int"),
        ("network.py", {}, "FILE.py:FUNCTION"),
        ("network:build", {}, "FILE.py:FUNCTION"),
        ("network.py:os.system", {}, "FILE.py:FUNCTION"),
        ("other.py:build", {}, "no factory 'other.py'"),
    ],
)
def test_a_wrong_factory(write_model: Write, factory: str, kwargs: dict[str, Any], words: str) -> None:
    folder = write_model(zoo=..., factory=factory, kwargs=kwargs)
    (folder / "network.py").write_text(NETWORK)
    (folder / "layers.py").write_text(LAYERS)
    with pytest.raises((CardError, FileError), match=words):
        load_model(folder, trust=True)


def test_a_factory_that_gives_a_function_needs_no_weights(write_model: Write) -> None:
    folder = write_model(zoo=..., factory="network.py:scikit", kwargs={}, weights=None)
    (folder / "network.py").write_text(NETWORK)
    (folder / "layers.py").write_text(LAYERS)
    assert torch.equal(load_model(folder, trust=True)(X), X.mean((1, 2, 3))[:, None])
    with pytest.raises(CardError, match="weights for a network of type function"):
        load_model(folder, trust=True, weights=folder / "weights.safetensors")


def test_a_name_of_the_zoo_has_random_weights_and_says_so(
    tiny: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = torch.get_rng_state()
    with caplog.at_level(logging.WARNING):
        model = load_model("small-regressor")
    assert "random" in model.warnings[0]
    assert "random" in caplog.text
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model(X), load_model("small-regressor")(X))
    full = small_regressor()
    save_file(full.state_dict(), tmp_path / "w.safetensors")
    loaded = load_model("small-regressor", weights=tmp_path / "w.safetensors")
    assert loaded.warnings == ()
    assert torch.equal(loaded(X), full.eval()(X))
    assert load_model("sfcn").card.inputs[0].orientation == "RAS"


def test_unknown_sources(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean sfcn"):
        load_model("sfcnn")
    with pytest.raises(FileError, match="no model"):
        load_model(tmp_path / "nothing")
    with pytest.raises(FileError, match="a folder without a model"):
        load_model(tmp_path)
    (tmp_path / "w.safetensors").write_bytes(b"1234")
    with pytest.raises(FileError, match="weights alone go to --weights"):
        load_model(tmp_path / "w.safetensors")
    (tmp_path / "p.onnx").write_bytes(b"1234")
    with pytest.raises(FileError, match=r"p\.onnx\.card\.yaml beside it"):
        load_model(tmp_path / "p.onnx")


def test_wrong_checksum(write_model: Write, tiny: nn.Module) -> None:
    folder = write_model(tiny, sha256="0" * 64)
    with pytest.raises(FileError, match=r"weights\.safetensors with sha256 .*0{12}\.\.\. as the card says"):
        load_model(folder)
    right = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    assert load_model(write_model(tiny, sha256=right.upper())).weights_sha256 == right


def test_missing_weights(write_model: Write, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="--weights FILE"):
        load_model(write_model(weights=None))
    folder = write_model()
    (folder / "weights.safetensors").unlink()
    with pytest.raises(FileError, match=r"no weights 'weights\.safetensors'"):
        load_model(folder)
    with pytest.raises(FileError, match="cannot be read"):
        load_model(folder, weights=tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("head.bias"), r"1 keys missing, first 'head\.bias' \(1,\)"),
        (lambda s: s.update(extra=torch.zeros(2)), r"1 unexpected, first 'extra' \(2,\)"),
        (
            lambda s: s.update({"features.block0.0.weight": torch.zeros(2, 3, 3, 3)}),
            r"'features\.block0\.0\.weight' of shape \(2, 3, 3, 3\) where it is \(2, 1, 3, 3\)",
        ),
    ],
)
def test_weights_of_another_network(
    write_model: Write, tiny: nn.Module, tmp_path: Path, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    state = dict(tiny.state_dict())
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(FileError, match=words) as caught:
        load_model(write_model(), weights=tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


def test_wrong_channel_count(write_model: Write) -> None:
    folder = write_model(small_regressor(channels=3, widths=(2, 3)))
    with pytest.raises(FileError, match=r"\(2, 3, 3, 3\) where it is \(2, 1, 3, 3\)"):
        load_model(folder)


def test_batch_counters_may_be_missing(write_model: Write, tiny: nn.Module, tmp_path: Path) -> None:
    state = {k: v for k, v in tiny.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "w.safetensors")
    assert torch.equal(load_model(write_model(), weights=tmp_path / "w.safetensors")(X), tiny(X))


def test_corrupt_weights(write_model: Write, tiny: nn.Module, tmp_path: Path) -> None:
    folder = write_model(tiny)
    whole = (folder / "weights.safetensors").read_bytes()
    torch.save(tiny.state_dict(), tmp_path / "whole.pt")
    for name, content in (
        ("cut.safetensors", whole[:-7]),
        ("empty.safetensors", b""),
        ("noise.safetensors", b"\xff" * 64),
        ("cut.pt", (tmp_path / "whole.pt").read_bytes()[:-200]),
        ("empty.pt", b""),
        ("noise.pt", b"\xff" * 64),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileError, match=name):
            load_model(folder, weights=tmp_path / name)
    for n, content in enumerate(([1, 2], {"a": 3}, torch.zeros(2), {})):
        torch.save(content, tmp_path / f"{n}.pt")
        with pytest.raises(FileError, match="without tensors by name"):
            load_model(folder, weights=tmp_path / f"{n}.pt")


def test_unknown_zoo_name_or_kwargs_in_a_card(write_model: Write) -> None:
    with pytest.raises(UnknownNameError, match="small-regressor"):
        load_model(write_model(zoo="small-regresor"))
    with pytest.raises(CardError, match="depth"):
        load_model(write_model(kwargs={"depth": 3}))
    with pytest.raises(CardError, match="program 'weights.safetensors'"):
        load_model(write_model(zoo=..., program="weights.safetensors", weights=None, kwargs={}))


def test_devices(write_model: Write) -> None:
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    assert load_model(write_model(), device="auto").device.type == wanted
    with pytest.raises(InputError):
        load_model("sfcnn", device="cpu")
