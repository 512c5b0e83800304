"""Weight files: safetensors, or torch files read as tensors only. No code of theirs runs, with or without trust."""

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from regard.core.errors import FileError
from regard.io.guard import exists, parsing, require_file

__all__ = ["check_sha256", "load_weights", "read_bytes", "read_state"]

_NESTED = ("state_dict", "model_state_dict", "model", "network")


def read_bytes(path: Path, what: str) -> bytes:
    """Content of a file.

    Raises
    ------
    FileError
        If there is no such file, or it cannot be read.
    """
    if not exists(path):
        raise FileError(f"{what} {path} that cannot be read (no such file)", "a readable file", "check the path")
    require_file(path)
    with parsing(path, what):
        return path.read_bytes()


def check_sha256(content: bytes, expected: str | None, name: str) -> str:
    """Checksum of ``content``, compared with the card's when it has one.

    Raises
    ------
    FileError
        If they differ.
    """
    found = hashlib.sha256(content).hexdigest()
    if expected is not None and found != expected.lower():
        raise FileError(
            f"{name} with sha256 {found[:12]}...", f"{expected.lower()[:12]}... as the card says", "use the card's file"
        )
    return found


def read_state(content: bytes, name: str) -> dict[str, Tensor]:
    """State dict of a weight file's ``content``; ``name`` says by its ending what it is.

    Raises
    ------
    FileError
        If it is corrupt, holds anything but tensors, or is a program.
    """
    if name.endswith(".safetensors"):
        from safetensors.torch import load

        try:
            return dict(load(content))
        except Exception as error:
            raise FileError(
                f"{name}, which is no safetensors file ({error})", "safetensors", "fetch it again"
            ) from error
    if _is_program(content):
        raise FileError(f"{name}, which is a program and not weights", "a state dict", "give it as MODEL with a card")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise FileError(
            f"{name}, which holds more than tensors and could run code",
            "tensors only",
            "save its state dict with safetensors",
        ) from error
    except Exception as error:
        # A broken archive or pickle fails in a different way at each byte.
        raise FileError(f"{name}, which cannot be read as weights ({type(error).__name__})", "safetensors or a torch "
                        "state dict", "fetch it again") from error  # fmt: skip
    return _state(found, name)


def _is_program(content: bytes) -> bool:
    """Whether this is a TorchScript or exported archive: torch before 2.6 would run what `torch.load` finds there."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
    return any(n.endswith(("/constants.pkl", ".json")) or "/code/" in n for n in names)


def _state(found: object, name: str) -> dict[str, Tensor]:
    for _ in range(3):
        if isinstance(found, Mapping) and found and all(isinstance(v, Tensor) for v in found.values()):
            state = {str(k): v for k, v in found.items()}
            parallel = all(k.startswith("module.") for k in state)
            return {k.removeprefix("module."): v for k, v in state.items()} if parallel else state
        nested = [found[k] for k in _NESTED if isinstance(found.get(k), Mapping)] if isinstance(found, Mapping) else []
        if not nested:
            break
        found = nested[0]
    raise FileError(f"{name}, which holds {type(found).__name__} without tensors by name", "a state dict")


def load_weights(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Give a network its weights; every parameter and buffer must be there, at its shape.

    Raises
    ------
    FileError
        If a key is missing, is unknown to the network, or has another shape; the first of each is named.
    """
    wanted = network.state_dict()
    optional = {k for k in wanted if k.endswith("num_batches_tracked")}
    missing = [k for k in wanted if k not in state and k not in optional]
    unexpected = [k for k in state if k not in wanted and not k.endswith("num_batches_tracked")]
    shapes = [k for k in wanted if k in state and wanted[k].shape != state[k].shape]
    faults = []
    if missing:
        faults.append(f"{len(missing)} keys missing, first '{missing[0]}' {tuple(wanted[missing[0]].shape)}")
    if unexpected:
        faults.append(f"{len(unexpected)} unexpected, first '{unexpected[0]}' {tuple(state[unexpected[0]].shape)}")
    if shapes:
        key = shapes[0]
        faults.append(f"'{key}' of shape {tuple(state[key].shape)} where it is {tuple(wanted[key].shape)}")
    if faults:
        raise FileError(
            f"{name} with {'; '.join(faults).replace('; ', ', ')}",
            f"the weights of {type(network).__name__}",
            "use the weights that belong to the card",
        )
    network.load_state_dict({k: v for k, v in state.items() if k in wanted}, strict=False)
