"""MONAI bundles: a folder with ``configs/metadata.json``, ``configs/inference.json`` and ``models/model.pt``.

The network and its preprocessing are taken by walking their definitions as data: a class of `monai.networks.nets`, with
arguments that are plain values or modules of `monai.networks` and `torch.nn`, and deterministic transforms of
`monai.transforms`. MONAI's own parser imports and runs whatever a configuration names; it is used with trust alone.
"""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from regard.core.errors import CardError, FileError, InputError, TrustError
from regard.io.guard import require_file
from regard.io.plain_text import parse_json, parse_yaml
from regard.models.bundle_card import card_of_bundle
from regard.models.bundle_chain import BundleChain, chain_of
from regard.models.bundle_prepared import BundlePreparation
from regard.models.bundle_values import Values
from regard.models.card import ModelCard
from regard.models.code import on_path
from regard.models.paths import inside

__all__ = ["Bundle", "bundle_network", "bundle_weights", "is_bundle", "read_bundle"]

_CONFIGURATIONS = ("inference.json", "inference.yaml", "inference.yml")
_NETS = "monai.networks.nets"
_NESTED = ("monai.networks", "torch.nn")
_FETCHING = frozenset({"Transchex", "MultiModal", "BertPreTrainedModel"})
_FILE_WORDS = ("pretrain", "checkpoint", "weights", "path", "url", "file")
_LARGEST_BYTES = 2**24


def is_bundle(folder: Path) -> bool:
    """Whether a folder looks like a MONAI bundle."""
    return (folder / "configs" / "metadata.json").is_file()


@dataclass(frozen=True)
class Bundle:
    """What a bundle's files say.

    Parameters
    ----------
    configuration
        Content of the inference configuration.
    card
        What the metadata say.
    doubts
        What they do not say.
    preparation
        The preprocessing, which MONAI runs.
    """

    configuration: dict[str, Any]
    card: ModelCard
    doubts: list[str]
    preparation: BundlePreparation


def read_bundle(folder: Path, *, trust: bool = False) -> Bundle:
    """Read a bundle's configuration, make a card of its metadata and its preprocessing of MONAI's transforms.

    Parameters
    ----------
    folder
        The bundle.
    trust
        Whether expressions and transforms of the bundle's author may run.

    Raises
    ------
    FileError
        If a file is missing or leaves the folder.
    CardError
        If one is not valid, or a step of the preprocessing cannot be run or followed home.
    TrustError
        If a step would run code and ``trust`` is False.
    """
    metadata = _read(inside(folder, "configs/metadata.json", "metadata"))
    found = [n for n in _CONFIGURATIONS if (folder / "configs" / n).is_file()]
    if not found:
        raise FileError(f"a bundle {folder.name} without a configuration", f"configs/{_CONFIGURATIONS[0]}")
    configuration = _read(inside(folder, f"configs/{found[0]}", "configuration"))
    if "network_def" not in configuration:
        raise CardError(f"configs/{found[0]} without network_def", "this key", "choose a bundle that defines a network")
    data = metadata.get("network_data_format")
    inputs = data.get("inputs") if isinstance(data, dict) else None
    inputs = inputs if isinstance(inputs, dict) else {}
    entry = next(iter(inputs.values()), None)
    entry = entry if isinstance(entry, dict) else {}
    size, channels = entry.get("spatial_shape"), entry.get("num_channels")
    n_axes = len(size) if isinstance(size, list) and 1 <= len(size) <= 3 else 3
    chain = _chain(folder, configuration, [str(k) for k in inputs], n_axes, trust=trust)
    card, doubts = card_of_bundle(folder.resolve().name, metadata, configuration, chain)
    chain = chain or BundleChain((), tuple(s.name for s in card.inputs), None, channel_first="loader", n_axes=n_axes)
    wanted = channels if isinstance(channels, int) and channels > 0 else None
    return Bundle(configuration, card, doubts, BundlePreparation(chain, card.inputs, wanted))


def _chain(
    folder: Path, configuration: Mapping[str, Any], inputs: list[str], n_axes: int, *, trust: bool
) -> BundleChain | None:
    """The preprocessing; None if there is none."""
    node: Any = configuration.get("preprocessing")
    if node is None:
        dataset = configuration.get("dataset")
        node = dataset.get("transform") if isinstance(dataset, Mapping) else None
    if node is None:
        return None
    try:
        return chain_of(_definitions(Values(configuration).read(node)), inputs, n_axes)
    except TrustError:
        if not trust:
            raise
    made, transforms = _parsed(folder, node, instantiate=False), {}
    definitions = _definitions(made)
    for number, definition in enumerate(definitions):
        try:
            chain_of([definition], inputs, n_axes)
        except TrustError:
            transforms[number] = _instance(folder, definition)
        except CardError:
            continue  # said again, with its place in the chain
    return chain_of(definitions, inputs, n_axes, trusted=transforms)


def _instance(folder: Path, definition: Mapping[str, Any]) -> Any:
    from monai.bundle import ConfigComponent

    try:
        with on_path(folder):
            return ConfigComponent(config=dict(definition), id="").instantiate()
    except Exception as error:
        got = f"{definition.get('_target_')!s:.60} that raised {type(error).__name__}: {str(error)[:120]}"
        raise CardError(got, "a transform", "correct the bundle") from error


def _definitions(node: Any) -> list[Any]:
    """The transforms of a chain in order; a Compose within it is opened."""
    node = node.get_config() if hasattr(node, "get_config") else node
    if isinstance(node, Mapping) and str(node.get("_target_", "")).rpartition(".")[2] == "Compose":
        lazy = node.get("lazy", False)
        if lazy is not False:
            raise CardError(f"a Compose with lazy = {lazy!r:.40}", "steps one after the other", "leave lazy out")
        node = node.get("transforms")
        node = node.get_config() if hasattr(node, "get_config") else node
    if isinstance(node, (list, tuple)):
        return [d for inner in node for d in _definitions(inner)]
    return [] if node is None else [node]


def _read(path: Path) -> dict[str, Any]:
    try:
        if (size := require_file(path)) > _LARGEST_BYTES:
            raise CardError(f"{path.name} of {size} bytes", f"at most {_LARGEST_BYTES}")
        text = path.read_text(encoding="utf-8")
        content = (parse_json if path.suffix == ".json" else parse_yaml)(text)
    except OSError as error:
        raise FileError(f"{path} that cannot be read ({error.strerror})", "a readable file") from error
    except UnicodeDecodeError as error:
        raise CardError(f"{path.name}, which is not text in UTF-8", "JSON, or plain YAML without tags") from error
    except CardError as error:
        raise CardError(f"{path.name}: {error.got}", "JSON, or plain YAML without tags") from error
    if not isinstance(content, dict):
        raise CardError(f"{path.name} that holds {type(content).__name__}", "keys and values")
    return content


def bundle_weights(folder: Path) -> Path:
    """The bundle's weight file or TorchScript program.

    Raises
    ------
    FileError
        If it has none, or it leaves the folder.
    """
    for name in ("models/model.safetensors", "models/model.pt", "models/model.ts"):
        if (folder / name).exists() or (folder / name).is_symlink():
            return inside(folder, name, "weights")
    raise FileError(
        f"a bundle {folder.name} without models/model.pt", "its weights", "give --weights FILE (weights=FILE in Python)"
    )


def bundle_network(folder: Path, configuration: Mapping[str, Any], *, trust: bool) -> nn.Module:
    """Build the network that a bundle defines, without its weights.

    Raises
    ------
    TrustError
        If code would have to run and ``trust`` is False.
    CardError
        If the definition does not give a network.
    """
    try:
        network = _Walker(configuration).network()
    except TrustError:
        if not trust:
            raise
        network = _parsed(folder, "network_def")
    if not isinstance(network, nn.Module):
        raise CardError(f"network_def that gives {type(network).__name__}", "a torch.nn.Module", "correct the bundle")
    return network


def _parsed(folder: Path, wanted: Any, *, instantiate: bool = True) -> Any:
    """What MONAI's parser makes of a key, or of a definition itself, with the bundle's own code and expressions."""
    from monai.bundle import ConfigParser

    name = next(n for n in _CONFIGURATIONS if (folder / "configs" / n).is_file())
    parser = ConfigParser()
    with on_path(folder):
        try:
            parser.read_config(str(inside(folder, f"configs/{name}", "configuration")))
            parser["bundle_root"] = str(folder)
            key = wanted if isinstance(wanted, str) and wanted == "network_def" else "preprocessing"
            if key == "preprocessing":
                parser[key] = wanted
            return parser.get_parsed_content(key, instantiate=instantiate)
        except Exception as error:
            raise CardError(f"{key} that raised {type(error).__name__}: {error}", "a network") from error


class _Walker:
    """Reads a network's definition as data.

    Parameters
    ----------
    configuration
        The whole file, for references such as ``"@network_def#in_channels"``.
    """

    def __init__(self, configuration: Mapping[str, Any]) -> None:
        self.configuration = configuration
        self.following: list[str] = []

    def network(self) -> Any:
        return self.build(self.configuration["network_def"], (_NETS,), "network_def")

    def build(self, node: Any, allowed: tuple[str, ...], key: str) -> Any:
        if isinstance(node, str):
            return self.text(node, allowed, key)
        if isinstance(node, list):
            return [self.build(v, allowed, f"{key}#{n}") for n, v in enumerate(node)]
        if not isinstance(node, dict):
            return node
        if "_target_" not in node:
            return {k: self.build(v, _NESTED, f"{key}#{k}") for k, v in node.items()}
        if node.get("_mode_", "default") != "default" or node.get("_requires_") or node.get("_disabled_"):
            raise TrustError(f"_mode_, _requires_ or _disabled_ in '{key}'", "a plain definition", _DO)
        made = _class(node["_target_"], allowed, key)
        given = {k: v for k, v in node.items() if not (isinstance(k, str) and k.startswith("_") and k.endswith("_"))}
        arguments = {k: self.build(v, _NESTED, f"{key}#{k}") for k, v in given.items()}
        return _made(made, arguments, key)

    def text(self, text: str, allowed: tuple[str, ...], key: str) -> Any:
        if text.startswith("$"):
            raise TrustError(f"'{key}' is an expression, and {text[:60]!r} would run", "plain values", _DO)
        if not text.startswith(("@", "%")):
            return text
        if text in self.following:
            raise CardError(f"'{key}' refers to itself by {text!r}", "references that end", "correct the bundle")
        node: Any = self.configuration
        for part in text[1:].replace("::", "#").split("#"):
            if isinstance(node, list) and part.isdecimal() and int(part) < len(node):
                node = node[int(part)]
            elif isinstance(node, Mapping) and part in node:
                node = node[part]
            else:
                raise CardError(f"'{key}' refers to {text!r}", "a key of the same file", "correct the bundle")
        self.following.append(text)
        try:
            return self.build(node, allowed, key)
        finally:
            self.following.pop()


_DO = "give --trust (trust=True in Python) if you trust the bundle's author"


def _class(target: Any, allowed: tuple[str, ...], key: str) -> type[nn.Module]:
    """Class of modules called ``target``, taken from the module that its name spells and from nowhere else."""
    refused = TrustError(
        f"'{key}' has the target {str(target)[:80]!r}, which would run",
        f"a network of {_NETS}" if allowed == (_NETS,) else f"a module of {' or '.join(allowed)}",
        _DO,
    )
    if not isinstance(target, str):
        raise refused
    parts = target.split(".")
    if not all(p.isidentifier() and not p.startswith("_") for p in parts):
        raise refused
    home = ".".join(parts[:-1]) or _NETS
    if not any(home == a or home.startswith(f"{a}.") for a in allowed):
        raise refused
    try:
        found = vars(importlib.import_module(home)).get(parts[-1])
    except ImportError:
        raise refused from None
    fits = isinstance(found, type) and issubclass(found, nn.Module) and found.__name__ not in _FETCHING
    if not fits or not any(f"{found.__module__}.".startswith(f"{a}.") for a in allowed):
        raise refused
    return found  # type: ignore[return-value]


def _made(made: type[nn.Module], arguments: dict[str, Any], key: str) -> nn.Module:
    """Make the module; nothing is fetched and no file is read for it, as its weights come with the bundle."""
    for name, value in arguments.items():
        word = any(w in str(name).lower() for w in _FILE_WORDS)
        text = isinstance(value, str) and ("/" in value or "\\" in value or value.endswith((".pt", ".pth", ".ckpt")))
        if text or (word and value and not isinstance(value, bool)):
            raise TrustError(f"'{key}#{name}' = {value!r:.60}, which names a file", "no files in a network", _DO)
    known = inspect.signature(made).parameters
    fetched = {k: False for k in {*arguments, *known} if "pretrain" in str(k).lower() and _is_flag(k, arguments, known)}
    try:
        return made(**{**arguments, **fetched})
    except InputError:
        raise
    except Exception as error:
        raise CardError(f"'{key}' that raised {type(error).__name__}: {error}", "a network", "correct it") from error


def _is_flag(name: str, arguments: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> bool:
    return isinstance(arguments.get(name, known[name].default if name in known else None), bool)
