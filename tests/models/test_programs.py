"""Programs: exported, TorchScript and ONNX networks answer as the network that they were made of."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from regard.core import recording
from regard.core.errors import CapabilityError, CardError, FileError, InputError, ShapeError, TrustError
from regard.explainers.gradient.gradient import Gradient
from regard.models import Chain, load_model

X = torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))


WriteCard = Callable[..., None]


def export(network: nn.Module, path: Path, write_card: WriteCard, *, any_batch: bool, n: int = 1) -> Path:
    shapes = ({0: torch.export.Dim("batch")},) if any_batch else None
    program = torch.export.export(network, (X[: 2 if any_batch else n],), dynamic_shapes=shapes)
    torch.export.save(program, path)
    write_card(path.with_name(f"{path.name}.card.yaml"))
    return path


@pytest.mark.parametrize("any_batch", [True, False])
def test_an_exported_program_answers_and_lets_gradients_through(
    tmp_path: Path, write_card: WriteCard, tiny: nn.Module, any_batch: bool
) -> None:
    path = export(tiny, tmp_path / "net.pt2", write_card, any_batch=any_batch)
    model = load_model(path, trust=True)
    assert model.capabilities == {"gradient"}
    assert recording.capabilities(model.regard_network) == {"gradient"}
    assert model.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model.card.program == "net.pt2"
    assert torch.allclose(model(X), tiny(X), atol=1e-6)
    assert torch.allclose(Gradient(model).attribute(X), Gradient(tiny).attribute(X), atol=1e-6)
    # Modes can be set as on any module, and change nothing.
    model.network.train().eval()  # type: ignore[union-attr]
    assert torch.allclose(model(X), tiny(X), atol=1e-6)
    chain = Chain([model, nn.Identity()], model.card)
    assert chain.capabilities == {"gradient"}


def test_a_fixed_batch_of_more_than_one_is_said(tmp_path: Path, write_card: WriteCard, tiny: nn.Module) -> None:
    model = load_model(export(tiny, tmp_path / "net.pt2", write_card, any_batch=False, n=2), trust=True)
    assert torch.allclose(model(X[:2]), tiny(X[:2]), atol=1e-6)
    with pytest.raises(ShapeError, match="3 cases for a program of a fixed batch of 2"):
        model(X)


def test_torchscript(tmp_path: Path, write_card: WriteCard, tiny: nn.Module) -> None:
    torch.jit.trace(tiny, X).save(tmp_path / "net.ts")
    write_card(tmp_path / "net.card.yaml", program="net.ts")
    with pytest.raises(TrustError, match="code of net.ts would run"):
        load_model(tmp_path / "net.ts")
    model = load_model(tmp_path / "net.ts", trust=True)
    assert model.capabilities == {"gradient"}
    assert torch.allclose(model(X), tiny(X), atol=1e-6)
    assert torch.allclose(Gradient(model).attribute(X), Gradient(tiny).attribute(X), atol=1e-6)


def test_a_card_folder_may_hold_a_program(tmp_path: Path, write_card: WriteCard, tiny: nn.Module) -> None:
    torch.jit.trace(tiny, X).save(tmp_path / "net.ts")
    write_card(tmp_path / "card.yaml", program="net.ts")
    assert torch.allclose(load_model(tmp_path, trust=True)(X), tiny(X), atol=1e-6)
    with pytest.raises(InputError, match="holds its own"):
        load_model(tmp_path, trust=True, weights=tmp_path / "net.ts")
    write_card(tmp_path / "card.yaml", program="net.ts", sha256="0" * 64)
    with pytest.raises(FileError, match="sha256"):
        load_model(tmp_path, trust=True)


def test_corrupt_programs_and_cards_of_others(tmp_path: Path, write_card: WriteCard) -> None:
    for name in ("net.pt2", "net.ts", "net.onnx"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 not really")
        write_card(tmp_path / f"{name}.card.yaml")
        with pytest.raises(FileError, match=name):
            load_model(tmp_path / name, trust=True)
    write_card(tmp_path / "net.ts.card.yaml", program="net.pt2")
    with pytest.raises(CardError, match=r"of another model; expected program: net\.ts"):
        load_model(tmp_path / "net.ts", trust=True)


def test_onnx_answers_without_trust_and_without_gradients(
    tmp_path: Path, write_card: WriteCard, tiny: nn.Module
) -> None:
    path = tmp_path / "net.onnx"
    torch.onnx.export(
        tiny,
        (X,),
        path,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
        external_data=True,
    )
    write_card(tmp_path / "net.onnx.card.yaml")
    model = load_model(path)
    assert torch.allclose(model(X), tiny(X), atol=1e-5)
    assert torch.allclose(model(X[:1]), tiny(X[:1]), atol=1e-5)
    assert model.capabilities == frozenset()
    with pytest.raises(CapabilityError, match="occlusion"):
        Gradient(model.regard_network)
    with pytest.raises(ShapeError, match="refuses"):
        model(X[:, :, :3])


def onnx_model(path: Path, write_card: WriteCard, *, shape: list[Any], location: str | None = None) -> None:
    """A graph that multiplies its input by a stored 3.0."""
    from onnx import TensorProto, helper, numpy_helper

    factor = numpy_helper.from_array(np.array([3.0], dtype=np.float32), "factor")
    if location is not None:
        factor.ClearField("raw_data")
        factor.data_location = TensorProto.EXTERNAL
        factor.external_data.add(key="location", value=location)
        factor.external_data.add(key="length", value="4")
    rank = len(shape)
    graph = helper.make_graph(
        [helper.make_node("Mul", ["image", "factor"], ["out"])],
        "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None] * rank)],
        [factor],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(made.SerializeToString())
    write_card(path.with_name(f"{path.name}.card.yaml"))


def test_a_keras_graph_has_its_channels_last_and_a_fixed_batch(tmp_path: Path, write_card: WriteCard) -> None:
    onnx_model(tmp_path / "keras.onnx", write_card, shape=[1, 16, 16, 1])
    model = load_model(tmp_path / "keras.onnx")
    assert torch.equal(model(X), 3 * X)
    network: Any = model.network
    assert network.channels_last
    assert network.fixed_batch == 1
    with pytest.raises(ShapeError, match="inputs t2; expected image"):
        model(t2=X)
    assert torch.equal(model(image=X), 3 * X)


@pytest.mark.parametrize("location", ["../secret.bin", "{outside}", "link.bin", "gone.bin"])
def test_onnx_data_outside_its_folder_are_refused(tmp_path: Path, write_card: WriteCard, location: str) -> None:
    secret, folder = tmp_path / "secret.bin", tmp_path / "model"
    folder.mkdir()
    secret.write_bytes(np.array([3.0], dtype=np.float32).tobytes())
    (folder / "link.bin").symlink_to(secret)
    onnx_model(folder / "net.onnx", write_card, shape=[None, 1, 16, 16], location=location.format(outside=secret))
    with pytest.raises(FileError, match="data file"):
        load_model(folder / "net.onnx")


def test_onnx_data_beside_it_are_read(tmp_path: Path, write_card: WriteCard) -> None:
    (tmp_path / "data.bin").write_bytes(np.array([3.0], dtype=np.float32).tobytes())
    onnx_model(tmp_path / "net.onnx", write_card, shape=[None, 1, 16, 16], location="data.bin")
    got = load_model(tmp_path / "net.onnx")(X)
    assert isinstance(got, Tensor)
    assert torch.equal(got, 3 * X)
