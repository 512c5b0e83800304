"""Networks that bring their own program: exported by `torch.export`, TorchScript, ONNX."""

import io
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.core.errors import FileError, ShapeError
from regard.core.optional import need
from regard.core.recording import GRADIENT, Network
from regard.models.card import InputSpec
from regard.models.code import need_trust
from regard.models.paths import inside
from regard.models.weights import check_sha256, read_bytes

__all__ = ["SUFFIXES", "ExportedNetwork", "OnnxNetwork", "load_program"]

SUFFIXES = (".pt2", ".ts", ".onnx")


def load_program(path: Path, spec: InputSpec, *, sha256: str | None, trust: bool) -> tuple[Network, str]:
    """Load a program; ``.pt2`` and ``.ts`` hold pickles and code, and need trust before anything opens them.

    Parameters
    ----------
    path
        The file.
    spec
        The network's first input, from its card.
    sha256
        Checksum that the card has, or None.
    trust
        Whether its author is trusted.

    Returns
    -------
    network
        The program.
    sha256
        Checksum of the file.

    Raises
    ------
    TrustError
        If it could run code and ``trust`` is False.
    FileError
        If it is corrupt, or not the card's.
    """
    if path.suffix != ".onnx":
        need_trust(path.name, trust)
    content = read_bytes(path, "program")
    found = check_sha256(content, sha256, path.name)
    if path.suffix == ".onnx":
        return OnnxNetwork(path, content, spec), found
    try:
        if path.suffix == ".pt2":
            return ExportedNetwork(torch.export.load(io.BytesIO(content))), found
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(io.BytesIO(content), map_location="cpu").eval(), found
    except Exception as error:
        # A broken archive fails in a different way at each byte.
        kind = "exported program" if path.suffix == ".pt2" else "TorchScript file"
        raise FileError(
            f"{path.name}, which cannot be read as {kind} ({type(error).__name__})", kind, "export it again"
        ) from error


class ExportedNetwork(nn.Module):
    """A program of `torch.export`: gradients pass, but there are no layers to look into.

    Parameters
    ----------
    program
        What `torch.export.load` gave.
    """

    capabilities = frozenset({GRADIENT})

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.program = program.module()
        inputs = set(program.graph_signature.user_inputs)
        values = [n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder" and n.name in inputs]
        sizes = [v.shape[0] for v in values if isinstance(v, Tensor) and v.ndim]
        self.fixed_batch = next((s for s in sizes if isinstance(s, int)), None)

    def train(self, mode: bool = True) -> "ExportedNetwork":
        """Keep the mode in which the program was exported."""
        self.training = False
        return self

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        """Run the program, case by case when it was exported for one."""
        return _in_batches(self.program, self.fixed_batch, inputs, named)


class OnnxNetwork:
    """An ONNX graph run by onnxruntime: answers only, for perturbation methods. Converted Keras networks work.

    Parameters
    ----------
    path, content
        The file and its bytes.
    spec
        The network's first input, from its card.

    Raises
    ------
    FileError
        If it is corrupt, or its data lie outside its folder.
    MissingDependencyError
        If onnx or onnxruntime is not installed.
    """

    capabilities: frozenset[str] = frozenset()

    def __init__(self, path: Path, content: bytes, spec: InputSpec) -> None:
        onnx = need("onnx", extra="onnx", purpose="an ONNX network")
        runtime = need("onnxruntime", extra="onnx", purpose="an ONNX network")
        try:
            graph = onnx.load_model_from_string(content)
        except Exception as error:
            raise FileError(f"{path.name}, which is no ONNX file ({error})", "ONNX", "export it again") from error
        for location in _external(graph):
            inside(path.parent, location, "data file")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise FileError(
                f"{path.name}, which onnxruntime cannot load ({error})", "a graph it knows", "export it again"
            ) from error
        self._inputs = self._session.get_inputs()
        shape = list(self._inputs[0].shape)
        self.fixed_batch = shape[0] if shape and isinstance(shape[0], int) else None
        self.channels_last = len(shape) == spec.n_axes + 2 and shape[-1] == spec.channels and shape[1] != spec.channels

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Any:
        return _in_batches(self._run, self.fixed_batch, inputs, named)

    def _run(self, *inputs: Tensor, **named: Tensor) -> Any:
        positional = dict(zip((i.name for i in self._inputs), inputs, strict=False))
        types = {i.name: _NUMPY.get(i.type, np.float32) for i in self._inputs}
        given = {**positional, **named}
        if set(given) != set(types):
            raise ShapeError(f"inputs {', '.join(given)}", ", ".join(types), "name the card's inputs as the graph does")
        feed = {name: self._there(x).detach().cpu().numpy().astype(types[name]) for name, x in given.items()}
        try:
            found = [torch.from_numpy(np.asarray(o)) for o in self._session.run(None, feed)]
        except Exception as error:
            shapes = ", ".join(str(x.shape) for x in feed.values())
            raise ShapeError(
                f"an input of {shapes} that the ONNX graph refuses ({str(error).splitlines()[0]})",
                ", ".join(str(i.shape) for i in self._inputs),
                "correct shape and channels in the card",
            ) from error
        device = next(iter(given.values())).device
        back = [self._back(o).to(device) for o in found]
        return back[0] if len(back) == 1 else tuple(back)

    def _there(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1).contiguous() if self.channels_last else x

    def _back(self, x: Tensor) -> Tensor:
        return x.movedim(-1, 1) if self.channels_last and x.ndim == len(self._inputs[0].shape) else x


_NUMPY = {"tensor(double)": np.float64, "tensor(float16)": np.float16, "tensor(float)": np.float32}


def _in_batches(
    run: Callable[..., Any], fixed: int | None, inputs: tuple[Tensor, ...], named: dict[str, Tensor]
) -> Any:
    """Run on the batch, or one by one when the program takes one case only."""
    n = next(iter((*inputs, *named.values()))).shape[0]
    if fixed is None or n == fixed:
        return run(*inputs, **named)
    if fixed != 1:
        raise ShapeError(f"{n} cases for a program of a fixed batch of {fixed}", "that many", "export it for any batch")
    parts = [run(*(x[i : i + 1] for x in inputs), **{k: x[i : i + 1] for k, x in named.items()}) for i in range(n)]
    if isinstance(parts[0], Tensor):
        return torch.cat(parts)
    return tuple(torch.cat(p) for p in zip(*parts, strict=True))


def _external(model: Any) -> Iterator[str]:
    """Paths of all data files that an ONNX model speaks of."""
    graphs, nodes = [model.graph], [n for f in model.functions for n in f.node]
    tensors: list[Any] = []
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            tensors += graph.initializer
            for sparse in graph.sparse_initializer:
                tensors += (sparse.values, sparse.indices)
            nodes += graph.node
        for node in nodes:
            for attribute in node.attribute:
                tensors += (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    tensors += (sparse.values, sparse.indices)
                graphs += ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
        nodes = []
    for tensor in tensors:
        yield from (entry.value for entry in tensor.external_data if entry.key == "location")
