"""The preprocessing of a MONAI bundle as a chain of MONAI's own transforms, or a refusal that names the step.

Only deterministic transforms of `monai.transforms` that are listed here are made, with arguments that are plain values;
what they do is theirs, and no step is translated.
"""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from regard.core.errors import CardError, TrustError
from regard.models.bundle_values import is_unread

__all__ = ["INTENSITY", "SPACE", "BundleChain", "Step", "chain_of"]

Kind = Literal["shape", "space", "intensity", "join", "foreign"]

SPACE = frozenset(
    {"Orientation", "Spacing", "Resize", "ResizeWithPadOrCrop", "SpatialPad", "BorderPad", "DivisiblePad",
     "CenterSpatialCrop", "CenterScaleCrop", "SpatialCrop", "CropForeground", "Flip", "Rotate90", "Zoom"}
)  # fmt: skip
"""Transforms that move voxels."""

INTENSITY = frozenset(
    {"NormalizeIntensity", "ScaleIntensity", "ScaleIntensityRange", "ScaleIntensityRangePercentiles", "ShiftIntensity",
     "ThresholdIntensity", "ClipIntensityPercentiles"}
)  # fmt: skip
"""Transforms that change each voxel by itself, once their constants are known."""

_SHAPE = frozenset({"EnsureChannelFirst", "EnsureType", "CastToType", "ToTensor", "SqueezeDim", "RepeatChannel"})
_IDLE = frozenset({"Identity", "SelectItems", "DeleteItems", "ToDevice", "DataStats"})
_LOADED = {"affine_lps_to_ras": True, "reverse_indexing": True, "swap_ij": True, "as_closest_canonical": False}
_LOADER = frozenset({"keys", "reader", "dtype", "image_only", "ensure_channel_first", "simple_keys", "overwriting",
                     "meta_keys", "meta_key_postfix", "expanduser", "allow_missing_keys", "prune_meta_pattern",
                     "prune_meta_sep", *_LOADED})  # fmt: skip
_IGNORED = {"EnsureType": {"device"}, "ToTensor": {"device"}}
_NOT = {"lazy": True, "track_meta": False, "data_type": "numpy", "factor_key": ...}
_BY_IMAGE = frozenset({"ScaleIntensityRangePercentiles", "ClipIntensityPercentiles"})
_DO = "give --trust (trust=True in Python) if you trust the bundle's author, or write a card.yaml for the network"


@dataclass(frozen=True)
class Step:
    """One transform of MONAI.

    Parameters
    ----------
    name
        Its class without the ``d`` of dictionaries, such as ``"Spacing"``.
    kind
        Whether it changes the tensor's form, moves voxels, changes intensities, joins images, or is another's code.
    transform
        Takes and gives a mapping of tensors.
    keys
        The images that it works on.
    result
        Of a join: the name of what it makes.
    source
        Of a crop to the foreground: the image whose foreground counts.
    arguments
        What it was made with.
    """

    name: str
    kind: Kind
    transform: Any
    keys: tuple[str, ...]
    result: str = ""
    source: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def follows(self) -> bool:
        """Whether its derivative is that of all it does: no constant of it is taken from the image."""
        given = self.arguments
        if self.name == "NormalizeIntensity":
            return given.get("subtrahend") is not None and given.get("divisor") is not None
        if self.name == "ScaleIntensity":
            return given.get("minv", 0.0) is None and given.get("maxv", 1.0) is None
        return self.kind != "foreign" and self.name not in _BY_IMAGE


@dataclass(frozen=True)
class BundleChain:
    """All that is done to a case's images before the network sees them.

    Parameters
    ----------
    steps
        In their order.
    sources
        Names of the images that are read.
    key
        Name of the image that the network takes; None when it takes each source by its own name.
    dtype
        Number type that images are loaded in; None for float32.
    channel_first
        Who puts the channels first: the loader, a step, or neither.
    channel_dim
        Which axis of the file holds channels, where the step says so.
    n_axes
        Number of spatial axes of the network's input.
    """

    steps: tuple[Step, ...]
    sources: tuple[str, ...]
    key: str | None
    dtype: Any = None
    channel_first: Literal["loader", "step", "neither"] = "step"
    channel_dim: int | str | None = None
    n_axes: int = 3

    @property
    def words(self) -> str:
        """The steps' names in order."""
        return ", ".join(s.name for s in self.steps) or "nothing"


def chain_of(
    definitions: Sequence[Any], inputs: Sequence[str], n_axes: int, *, trusted: Mapping[int, Any] | None = None
) -> BundleChain:
    """Make the chain of a bundle's definitions, with references followed.

    Parameters
    ----------
    definitions
        ``_target_`` and arguments of each transform, in order.
    inputs
        Names of the network's inputs in the bundle's metadata.
    n_axes
        Number of spatial axes of the network's input.
    trusted
        Objects that the bundle's author made, by number of their definition; only with trust.

    Raises
    ------
    TrustError
        If a step would run code.
    CardError
        If a step is random, unknown, or cannot be followed home.
    """
    alone = inputs[0] if inputs else "image"
    read = _Reader(alone, trusted or {})
    for number, definition in enumerate(definitions):
        read.take(number, definition)
    return read.chain(inputs, n_axes)


class _Reader:
    def __init__(self, alone: str, trusted: Mapping[int, Any]) -> None:
        self.alone, self.trusted = alone, trusted
        self.steps: list[Step] = []
        self.loaded: tuple[str, ...] | None = None
        self.present: dict[str, None] = {}
        self.dtype: Any = None
        self.by_loader = False
        self.channel_dims: dict[str, Any] = {}

    def take(self, number: int, definition: Any) -> None:
        where = f"step {number + 1} of its preprocessing"
        if number in self.trusted:
            self._foreign(self.trusted[number])
            return
        if not isinstance(definition, Mapping) or not isinstance(definition.get("_target_"), str):
            text = is_unread(definition)
            if text is not None:
                raise TrustError(f"{where} is the expression {text!r}, which would run", "plain values", _DO)
            raise CardError(f"{where} that is {type(definition).__name__}", "a transform of MONAI", _DO)
        if _switched_off(definition, where):
            return
        name, mapped = _name(definition["_target_"], where)
        given = {str(k): v for k, v in definition.items() if not (str(k).startswith("_") and str(k).endswith("_"))}
        keys = _keys(given.pop("keys", None), name) if mapped else (self.alone,)
        if name == "LoadImage":
            self._load(keys, given, where)
            return
        if name in _IDLE:
            return
        if self.loaded is None:
            self.loaded, self.present = keys, dict.fromkeys(keys)
        self._step(name, keys, _plain(given, name, where), where)

    def _load(self, keys: tuple[str, ...], given: Mapping[str, Any], where: str) -> None:
        if self.steps or self.loaded is not None:
            raise CardError(f"{where} that loads again", "one LoadImage, first", _DO)
        for key, value in given.items():
            if key not in _LOADER or (key in _LOADED and bool(value) is not _LOADED[key]):
                text = is_unread(value)
                if text is not None:
                    raise TrustError(f"LoadImage with {key} = {text!r}, which would run", "plain values", _DO)
                raise CardError(f"LoadImage with {key} = {value!r:.40}", "images as they lie in their file", _DO)
        self.loaded, self.present = keys, dict.fromkeys(keys)
        dtype = given.get("dtype")
        self.dtype = _plain({"dtype": dtype[0] if isinstance(dtype, list) else dtype}, "LoadImage", where)["dtype"]
        self.by_loader = bool(given.get("ensure_channel_first", False))

    def _step(self, name: str, keys: tuple[str, ...], given: dict[str, Any], where: str) -> None:
        kind: Kind = "space" if name in SPACE else "intensity" if name in INTENSITY else "shape"
        here = tuple(k for k in keys if k in self.present)
        if not here:
            return
        result, source = "", ""
        if name == "ConcatItems":
            kind, result = "join", str(given.get("name"))
            if given.get("dim", 0) != 0 or result in self.present or here != keys:
                got = f"{where}, ConcatItems of {', '.join(keys)} to '{result}' along axis {given.get('dim', 0)}"
                raise CardError(got, "images of the case, put together under a new name along axis 0", _DO)
        if name == "CropForeground":
            source = str(given.get("source_key"))
        if name == "SqueezeDim" and (not isinstance(given.get("dim", 0), int) or given.get("dim", 0) == 0):
            raise CardError(f"{where}, SqueezeDim of the channels", "an axis of space", _DO)
        if name == "EnsureChannelFirst":
            late = next((s.name for s in self.steps if s.kind != "shape" and set(s.keys) & set(here)), None)
            if late is not None:
                raise CardError(f"{where}, EnsureChannelFirst after {late}", "channels first before it", _DO)
            self.channel_dims |= dict.fromkeys(here, given.get("channel_dim"))
        if kind == "space" and any(s.name == "SqueezeDim" and set(s.keys) & set(here) for s in self.steps):
            raise CardError(f"{where}, {name} after SqueezeDim", "SqueezeDim after all that moves voxels", _DO)
        made = _made(name, keys, given, where)
        self.steps.append(Step(name, kind, made, here, result, source, given))
        if result:
            self.present[result] = None

    def _foreign(self, transform: Any) -> None:
        if isinstance(transform, _random()):
            raise CardError(f"{type(transform).__name__}, which is random", "deterministic transforms", _DO)
        keys = tuple(str(k) for k in getattr(transform, "keys", ())) or tuple(self.present)
        self.steps.append(Step(type(transform).__name__, "foreign", transform, keys))

    def chain(self, inputs: Sequence[str], n_axes: int) -> BundleChain:
        """The steps that the network's inputs depend on."""
        loaded = self.loaded or tuple(inputs) or (self.alone,)
        present = self.present or dict.fromkeys(loaded)
        joins = [s for s in self.steps if s.kind == "join"]
        if inputs and all(k in present for k in inputs):
            wanted = tuple(inputs)
        elif len(inputs) <= 1 and (joins or len(loaded) == 1):
            wanted = (joins[-1].result,) if joins else loaded
        else:
            got = f"a preprocessing that makes {', '.join(present)}"
            raise CardError(got, f"the network's inputs {', '.join(inputs)}", "write a card.yaml for the network")
        live, kept = set(wanted), []
        for step in reversed(self.steps):
            if not ({step.result} if step.result else set(step.keys)) & live:
                continue
            if step.result:
                live = (live - {step.result}) | set(step.keys)
            if step.source and step.source not in live:
                got = f"CropForeground by '{step.source}', which is no image that the network sees"
                raise CardError(got, "one of its images", _DO)
            kept.append(step)
        sources = tuple(k for k in loaded if k in live)
        joined = any(s.kind == "join" for s in kept)
        if live - set(loaded) or (joined and len(wanted) > 1):
            raise CardError(
                f"a preprocessing that makes {', '.join(wanted)} of {', '.join(sorted(live))}",
                "each input of the network made of images that are loaded",
                "write a card.yaml for the network",
            )
        first: dict[str, Any] = {k: v for k, v in self.channel_dims.items() if k in sources}
        partly = first and set(first) != set(sources)
        if partly or len({repr(v) for v in first.values()}) > 1:
            raise CardError("EnsureChannelFirst for some of the images", "one form for all", _DO)
        by = "loader" if self.by_loader else "step" if first else "neither"
        return BundleChain(
            steps=tuple(reversed(kept)),
            sources=sources,
            key=wanted[0] if joined else None,
            dtype=self.dtype,
            channel_first=by,  # type: ignore[arg-type]
            channel_dim=next(iter(first.values()), None),
            n_axes=n_axes,
        )


def _random() -> tuple[type, ...]:
    from monai.transforms import Randomizable, RandomizableTrait

    return Randomizable, RandomizableTrait


def _made(name: str, keys: tuple[str, ...], given: dict[str, Any], where: str) -> Any:
    """MONAI's transform of dictionaries called ``name``."""
    import monai.transforms

    made = getattr(monai.transforms, f"{name}d")
    known = inspect.signature(made).parameters
    # Labels and other companions of the image are not there when a case is explained.
    given = {**given, **({"allow_missing_keys": name != "ConcatItems"} if "allow_missing_keys" in known else {})}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about MONAI's own defaults
            return made(keys=list(keys), **given)
    except Exception as error:
        got = f"{where}, {name}, that raised {type(error).__name__}: {str(error)[:120]}"
        raise CardError(got, "arguments that it takes", "correct the bundle") from error


def _name(target: str, where: str) -> tuple[str, bool]:
    """A transform's name without the ending of dictionaries, and whether it takes one."""
    known = SPACE | INTENSITY | _SHAPE | _IDLE | {"LoadImage", "ConcatItems"}
    home, _, name = target.rpartition(".")
    if not home or home == "monai.transforms" or home.startswith("monai.transforms."):
        for ending in ("Dict", "d", "D", ""):
            base = name.removesuffix(ending) if ending else name
            if name.endswith(ending) and base in known and (ending or base != "ConcatItems"):
                return base, bool(ending)
        if name.startswith("Rand"):
            raise CardError(f"{where}, {name:.60}, which is random", "deterministic transforms", _DO)
    raise TrustError(
        f"{where}, {target:.80}, which is not among the transforms of MONAI that are run here",
        "loading, form, moves of voxels and scales of intensities, as the documentation of bundles lists them",
        _DO,
    )


def _switched_off(definition: Mapping[str, Any], where: str) -> bool:
    name = f"{definition['_target_']:.60}"
    off = definition.get("_disabled_", False)
    text = is_unread(off)
    if text is not None or definition.get("_requires_") or definition.get("_mode_", "default") != "default":
        raise TrustError(f"{where}, {name}, with _disabled_, _requires_ or _mode_ that would run", "plain values", _DO)
    return off.lower() == "true" if isinstance(off, str) else bool(off)


def _keys(keys: Any, name: str) -> tuple[str, ...]:
    listed = keys if isinstance(keys, list) else [keys]
    if not listed or not all(isinstance(k, str) and k for k in listed) or len(set(listed)) != len(listed):
        raise CardError(f"{name} with keys = {keys!r:.60}", "names of images", "correct the bundle")
    return tuple(listed)


def _plain(given: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """Arguments that are plain values; those that change no number are left out."""
    kept = {k: v for k, v in given.items() if k not in _IGNORED.get(name, ())}
    for key, value in kept.items():
        text = is_unread(value)
        if text is not None:
            raise TrustError(f"{where}, {name}, with {key} = {text!r}, which would run", "plain values", _DO)
        if _has_target(value):
            raise TrustError(f"{where}, {name}, with {key} that names a _target_", "plain values", _DO)
        refused = key in _NOT and (_NOT[key] is ... or value == _NOT[key])
        if refused or (key == "lazy" and value is not False):
            raise CardError(f"{where}, {name}, with {key} = {value!r:.40}", f"no {key}", _DO)
    return kept


def _has_target(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_has_target, value.values()))
    return isinstance(value, list) and any(map(_has_target, value))
