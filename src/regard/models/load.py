"""Models from files, safely: data is read, and code runs only when it is trusted."""

import logging
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from regard.core.errors import CardError, FileError, InputError, RegardError, UnknownNameError
from regard.core.one_thread import alone
from regard.core.recording import Network
from regard.io.guard import exists
from regard.models.building import bounded
from regard.models.bundle import bundle_network, bundle_weights, is_bundle, read_bundle
from regard.models.bundle_prepared import BundlePreparation, JoinedChannels
from regard.models.card import InputSpec, ModelCard, OutputSpec, read_card, read_program_card
from regard.models.code import build_from_file
from regard.models.model import Model
from regard.models.paths import inside
from regard.models.programs import SUFFIXES, load_program
from regard.models.sliding_window import SlidingWindow
from regard.models.weights import check_sha256, load_weights, read_bytes, read_state
from regard.models.zoo import ZOO

__all__ = ["load_model"]

logger = logging.getLogger(__name__)

_LONGEST_NAME = 255


def load_model(
    source: str | Path, *, weights: str | Path | None = None, trust: bool = False, device: str = "cpu"
) -> Model:
    """Load a model: its network, ready to answer, and its card.

    Parameters
    ----------
    source
        Folder with ``card.yaml``, name in the zoo, MONAI bundle folder, or ``file.pt2``, ``file.ts``,
        ``file.onnx`` with ``FILE.card.yaml`` beside it.
    weights
        Weight file (safetensors, or a torch state dict), instead of the card's.
    trust
        Whether code that came with the model may run: its ``network.py``, an exported program, TorchScript, or the
        expressions of a bundle.
    device
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``.

    Raises
    ------
    TrustError
        If code would have to run and ``trust`` is False; nothing has then been opened.
    UnknownNameError
        If ``source`` is neither a file nor a name in the zoo.
    CardError
        If the card is not valid.
    FileError
        If a file is missing, corrupt, outside its folder, or not the one that the card means.
    """
    if not (str(source) in ZOO or exists(source)) and (os.sep in str(source) or len(str(source)) > _LONGEST_NAME):
        raise FileError(
            f"no model {str(source)[:_LONGEST_NAME]}", "a folder, a file or a name of the zoo", "check its name"
        )
    path = Path(source)
    given = None if weights is None else Path(weights)
    if path.name == "card.yaml" and path.is_file():
        path = path.parent
    if (path / "card.yaml").is_file():
        model = _from_card(path, read_card(path / "card.yaml"), given, trust)
    elif path.is_dir() and is_bundle(path):
        model = _from_bundle(path, given, trust)
    elif path.is_file():
        model = _from_file(path, given, trust)
    elif str(source) in ZOO:
        model = _from_zoo(str(source), given)
    elif path.is_dir():
        raise FileError(f"{path}, a folder without a model", "card.yaml, or a MONAI bundle", "write a card")
    elif path.suffix or len(path.parts) > 1:
        raise FileError(f"no model {path}", "a folder, a file or a name of the zoo", "check its name")
    else:
        raise UnknownNameError.suggest("model", str(source), ZOO)
    if not isinstance(model.preparation, BundlePreparation):
        model.network = _in_windows(model.network, model.card, len(model.card.inputs), model.card.inputs[0].n_axes)
    for sentence in model.warnings:
        logger.warning("%s: %s", model.card.name, sentence)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device)


def _in_windows(network: Network, card: ModelCard, n_inputs: int, n_axes: int) -> Network:
    """The network run window by window, where the card says so."""
    windows = card.sliding_window
    if windows is None:
        return network
    if n_inputs > 1 or len(windows.roi) != n_axes:
        raise CardError(
            f"sliding_window.roi = {list(windows.roi)} in the card of {card.name}",
            f"one input, and one number for each of its {n_axes} axes",
            "correct the card",
        )
    return SlidingWindow(network, windows.roi, overlap=windows.overlap, blend=windows.blend).eval()


def _from_card(folder: Path, card: ModelCard, weights: Path | None, trust: bool) -> Model:
    if card.program is not None:
        path = inside(folder, card.program, "program")
        if path.suffix not in SUFFIXES:
            raise CardError(f"program '{card.program}'", f"a file {', '.join(SUFFIXES)}", "correct the card")
        return _program(path, card, weights, trust)
    if card.factory is not None:
        network = _built(lambda: build_from_file(folder, str(card.factory), card.kwargs, trust=trust), card.factory)
    else:
        network = _of_zoo(str(card.zoo), card.kwargs)
    if weights is None:
        if card.weights is None and not (isinstance(network, nn.Module) and network.state_dict()):
            return Model(network, card, source=str(folder))
        if card.weights is None:
            raise FileError(
                f"a model '{card.name}' whose card names no weights",
                "a weight file",
                "give it with --weights FILE (weights=FILE in Python)",
            )
        weights = inside(folder, card.weights, "weights")
    return _with_weights(network, card, weights, str(folder))


def _from_zoo(name: str, weights: Path | None) -> Model:
    network = _of_zoo(name, {})
    kind = str(ZOO.entry(name)[2]) if len(ZOO.entry(name)) > 2 else "regression"
    axes = next((m.weight.ndim - 2 for m in network.modules() if isinstance(m, nn.modules.conv._ConvNd)), 3)
    orientation = "RAS" if axes > 2 else "PL"
    card = ModelCard(
        name=name,
        zoo=name,
        inputs=(InputSpec(orientation=orientation, fit="crop-pad", normalise="zscore"),),
        output=OutputSpec.model_validate({"kind": kind, "names": ["output"], "units": ["a.u."]}),
        notes="A network of the zoo as it is built; write a card to say what its output means.",
    )
    if weights is not None:
        return _with_weights(network, card, weights, name)
    return Model(network.eval(), card, source=name, warnings=["its weights are random: no --weights were given"])


def _from_bundle(folder: Path, weights: Path | None, trust: bool) -> Model:
    bundle = read_bundle(folder, trust=trust)
    card, doubts = bundle.card, bundle.doubts
    chosen = weights if weights is not None else bundle_weights(folder)
    if weights is None and chosen.suffix == ".ts":
        model = _program(chosen, card, None, trust, doubts)
    else:
        network = _built(
            lambda: bundle_network(folder, bundle.configuration, trust=trust), "network_def", tried=not trust
        )
        model = _with_weights(network, card, chosen, str(folder), doubts)
    model.preparation = bundle.preparation
    joined = bundle.preparation.chain.key is not None
    model.network = _in_windows(model.network, card, 1 if joined else len(card.inputs), bundle.preparation.chain.n_axes)
    if joined:
        model.network = JoinedChannels(model.network).eval()
    return model


def _from_file(path: Path, weights: Path | None, trust: bool) -> Model:
    if path.suffix not in SUFFIXES:
        raise FileError(
            f"{path.name}, which is no model by itself",
            f"a folder with card.yaml, a bundle, or a file {', '.join(SUFFIXES)}",
            "weights alone go to --weights (weights= in Python)",
        )
    beside = [p for p in (path.with_name(f"{path.name}.card.yaml"), path.with_suffix(".card.yaml")) if p.is_file()]
    if not beside:
        raise FileError(f"{path.name} without a card", f"{path.name}.card.yaml beside it", "write one")
    card = read_program_card(beside[0], path.name)
    if card.program is None or inside(path.parent, card.program, "program").resolve() != path.resolve():
        raise CardError(f"{beside[0].name} of another model", f"program: {path.name}", "correct the card")
    return _program(path, card, weights, trust)


def _program(path: Path, card: ModelCard, weights: Path | None, trust: bool, doubts: Sequence[str] = ()) -> Model:
    if weights is not None:
        raise InputError(
            f"weights for {path.name}, which holds its own", "no --weights (weights= in Python)", "leave it out"
        )
    network, sha256 = load_program(path, card.inputs[0], sha256=card.sha256, trust=trust)
    return Model(network, card, source=str(path), weights_sha256=sha256, warnings=doubts)


def _with_weights(network: Network, card: ModelCard, weights: Path, source: str, doubts: Sequence[str] = ()) -> Model:
    if not isinstance(network, nn.Module):
        raise CardError(
            f"weights for a network of type {type(network).__name__}", "a torch.nn.Module", "leave the weights out"
        )
    content = read_bytes(weights, "weights")
    sha256 = check_sha256(content, card.sha256, weights.name)
    load_weights(network, read_state(content, weights.name), weights.name)
    return Model(network.eval(), card, source=source, weights_sha256=sha256, warnings=doubts)


def _of_zoo(name: str, kwargs: Mapping[str, Any]) -> nn.Module:
    builder = ZOO.load(name)
    try:
        return _built(lambda: builder(**kwargs), f"zoo: {name}", tried=True)  # type: ignore[return-value]
    except RegardError:
        raise
    except Exception as error:  # each builder refuses in its own way what it was not made for
        why = (str(error).splitlines() or [type(error).__name__])[0][:200]
        got = f"kwargs {reprlib.repr(dict(kwargs))} for '{name}' ({why})"
        raise CardError(got, "arguments it takes", "correct the card") from error


def _built(build: Callable[[], Any], what: str, *, tried: bool = False) -> Network:
    """Build a network from a random state of its own, which leaves that of the process as it was.

    With ``tried`` it is built without memory first, so that a width of a million is refused and takes none.
    """
    with alone(), torch.random.fork_rng(devices=[]):
        if tried:
            try:
                with torch.device("meta"), bounded(what):
                    build()
            except CardError:
                raise
            except Exception as error:  # some ask their tensors for values, which there are none of
                logger.debug("%s: not tried without memory (%s)", what, type(error).__name__)
        torch.default_generator.manual_seed(0)
        try:
            with bounded(what):
                network = build()
        except (RuntimeError, MemoryError, OverflowError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise CardError(
                f"{what} that cannot be built ({why})", "settings of a network", "correct kwargs"
            ) from error
    if not callable(network):
        raise CardError(f"{what} that gives {type(network).__name__}", "a torch.nn.Module or a function of tensors")
    return network  # type: ignore[no-any-return]
