"""The card of a model: what it eats, what its output means, what it was trained on.

A card is a YAML file, ``schema: regard.card/1``. It is data only: reading one runs no code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from regard.core.errors import CardError, FileError, UnknownNameError
from regard.io.atomic import write_yaml
from regard.io.plain_text import parse_yaml
from regard.io.schema import check_schema
from regard.models.normalise_spec import TAGS, Normalise, QuantileRange, Standard, WindowRange
from regard.models.windows_spec import SlidingWindowSpec

__all__ = [
    "InputSpec",
    "ModelCard",
    "Normalise",
    "OutputSpec",
    "QuantileRange",
    "Standard",
    "TrainedOn",
    "WindowRange",
    "read_card",
    "validate_card",
    "write_card",
]

_LARGEST_BYTES = 2**20
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(_Strict):
    """What one input of a network must look like.

    Parameters
    ----------
    name
        Keyword of the input when there are several.
    channels
        Number of channels; a 1-channel image is repeated for 3, a picture in colours is turned to its luminance for 1.
    orientation
        Anatomical direction in which each tensor axis runs: three letters for a 3D network (``"RAS"``), two for a 2D
        one (``"PL"``: rows run to posterior, columns to the patient's left). None keeps the scan's axes.
    spacing_mm
        Voxel size per tensor axis [mm], or None for any.
    shape
        Number of voxels per tensor axis, or None for any.
    fit
        ``"resize"``: the whole field of view to the shape, linear and antialiased; ``"crop-pad"``: centred, at its
        spacing.
    rounding
        ``"whole"``: intensities are rounded to whole numbers after resampling each axis, as picture libraries do with
        8-bit pictures; some networks that were trained on those depend on it. ``"none"`` otherwise.
    unit
        Unit that the intensities must have.
    levels
        Lowest and highest grey level of the images that it was made for, such as ``[0, 255]``; images of other bits are
        brought to them. Only for images in grey levels, which have no other unit.
    window
        Intensities are clipped to these two, or None.
    normalise
        How they are scaled after that.
    """

    name: str = "image"
    channels: Annotated[int, Field(ge=1)] = 1
    orientation: str | None = None
    spacing_mm: tuple[Annotated[float, Field(gt=0)], ...] | None = None
    shape: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    fit: Literal["resize", "crop-pad"] = "resize"
    rounding: Literal["none", "whole"] = "none"
    unit: str = "intensity"
    levels: tuple[float, float] | None = None
    window: tuple[float, float] | None = None
    normalise: Normalise = "none"

    @field_validator("orientation")
    @classmethod
    def _letters(cls, value: str | None) -> str | None:
        if value is None:
            return None
        letters = value.upper()
        axes = {frozenset((c, _OPPOSITE.get(c, c))) for c in letters}
        if not 1 <= len(letters) <= 3 or set(letters) - set(_OPPOSITE) or len(axes) != len(letters):
            raise ValueError("letters of different axes, one per tensor axis, such as RAS or PL")
        return letters

    @field_validator("window", "levels")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("two rising numbers")
        return value

    @model_validator(mode="after")
    def _agree(self) -> "InputSpec":
        lengths = {len(v) for v in (self.orientation, self.spacing_mm, self.shape) if v is not None}
        if len(lengths) > 1 or max(lengths, default=1) > 3:
            raise ValueError("orientation, spacing_mm and shape with one entry per tensor axis, as many in each")
        if isinstance(self.normalise, WindowRange) and self.window is None:
            raise ValueError("a window, which normalise: {low, high} needs")
        if isinstance(self.normalise, Standard):
            for values in (self.normalise.mean, self.normalise.std):
                if isinstance(values, tuple) and len(values) != self.channels:
                    raise ValueError(f"one mean and one std for each of {self.channels} channels, or one for all")
        return self

    @model_serializer(mode="wrap")
    def _without_unsaid_levels(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A card that says no levels is the card that it was before there were any: runs of it go on.
        content: dict[str, Any] = plain(self)
        if content.get("levels") is None:
            content.pop("levels", None)
        return content

    @property
    def n_axes(self) -> int:
        """Number of spatial axes of the network's input."""
        return next((len(v) for v in (self.orientation, self.shape, self.spacing_mm) if v is not None), 3)


class OutputSpec(_Strict):
    """What the network's output means.

    Parameters
    ----------
    kind
        ``"regression"``, ``"classification"``, ``"image"`` or ``"segmentation"``.
    names, units
        Of each output, in order; one unit stands for all.
    activation
        What the network has already applied to its output.
    bins
        Bin centres, when the outputs are scores of bins and the answer is their expectation.
    grid
        ``"input"`` when the output is an image on the input's grid.
    """

    kind: Literal["regression", "classification", "image", "segmentation"]
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    bins: tuple[float, ...] | None = None
    grid: Literal["input"] | None = None

    @model_validator(mode="after")
    def _agree(self) -> "OutputSpec":
        if len(self.units) > 1 and len(self.units) != len(self.names):
            raise ValueError(f"one unit for each of {len(self.names)} names, or one for all")
        return self

    def index(self, name: str) -> int:
        """Number of the output called ``name``.

        Raises
        ------
        UnknownNameError
            If no output has this name.
        """
        if name not in self.names:
            raise UnknownNameError.suggest("output", name, self.names)
        return self.names.index(name)

    def unit(self, index: int = 0) -> str:
        """Unit of output number ``index``; ``"output"`` when the card has none."""
        if len(self.units) > 1:
            return self.units[index] if -len(self.units) <= index < len(self.units) else "output"
        return self.units[0] if self.units else "output"

    @property
    def image_unit(self) -> str:
        """Unit of the output drawn as one image: of a segmentation the labels, otherwise that of the first output."""
        return "label" if self.kind == "segmentation" else self.unit()


class TrainedOn(_Strict):
    """The data that the network knows.

    Parameters
    ----------
    n
        Number of cases, or None when unknown.
    ranges
        Lowest and highest value of each fact: ``spacing_mm``, ``intensity``, ``shape``, ``output``, ``age`` ...
    site, simulated
        Where they came from, and whether all were simulated: every real case is then outside.
    """

    n: int | None = None
    ranges: dict[str, tuple[float, float]] = {}
    site: str | None = None
    simulated: bool = False


class ModelCard(_Strict):
    """What a network eats, what its output means, what it was trained on.

    Parameters
    ----------
    name, licence
        What the model is called, and its licence.
    factory
        ``"FILE.py:FUNCTION"``, relative to the card; runs code, so it needs trust.
    zoo
        Name of a network of Regard.
    program
        ``FILE.pt2``, ``FILE.ts`` or ``FILE.onnx``, relative to the card. A card in a file has exactly one of factory,
        zoo and program; that of a network which was made in Python has none.
    kwargs
        What the factory or the zoo's builder is called with.
    weights, sha256
        Weight file relative to the card, or None when it is given apart; its checksum (or the program's).
    layer
        Layer that CAM methods look at by default.
    sliding_window
        How the network is run window by window over an image of any size; None to give it the whole image.
    inputs, output, trained_on
        See `InputSpec`, `OutputSpec`, `TrainedOn`.
    notes
        Whatever a reader should know.
    """

    name: str = Field(min_length=1)
    licence: str | None = None
    factory: str | None = None
    zoo: str | None = None
    program: str | None = None
    kwargs: dict[str, Any] = {}
    weights: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-fA-F]{64}$")] | None = None
    layer: str | None = None
    sliding_window: SlidingWindowSpec | None = None
    inputs: tuple[InputSpec, ...] = Field(min_length=1)
    output: OutputSpec
    trained_on: TrainedOn = TrainedOn()
    notes: str = ""

    @field_validator("trained_on", mode="before")
    @classmethod
    def _unknown(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _agree(self) -> "ModelCard":
        given = [k for k in ("factory", "zoo", "program") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"exactly one of factory, zoo and program (got {' and '.join(given)})")
        if self.program is not None and (self.weights is not None or self.kwargs):
            raise ValueError("no weights and no kwargs beside a program, which holds its own")
        names = [spec.name for spec in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError(f"inputs of different names (got {', '.join(names)})")
        return self

    @property
    def unit(self) -> str:
        """Unit of the first output."""
        return self.output.unit()


def validate_card(content: Mapping[str, Any], origin: str = "the card") -> ModelCard:
    """Make a card of the content of its YAML file, without its ``schema`` key.

    Raises
    ------
    CardError
        If a key is unknown, missing or wrong: one sentence that names the key.
    """
    try:
        return ModelCard.model_validate(dict(content))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        loc = first["loc"]
        # Pydantic puts the tag of the matching form after the key `normalise`; users never wrote it.
        key = ".".join(str(p) for n, p in enumerate(loc) if n == 0 or loc[n - 1] != "normalise" or p not in TAGS)
        where = f"key '{key}' of {origin}" if key else origin
        kinds = {"extra_forbidden": "no such key", "missing": "this key, which is required"}
        expected = kinds.get(first["type"], first["msg"].removeprefix("Value error, "))
        found = (
            "" if first["type"] == "missing" or isinstance(first["input"], Mapping) else f" = {first['input']!r:.80}"
        )
        raise CardError(f"{where}{found}", expected, "correct the card") from error


def read_card(path: str | Path) -> ModelCard:
    """Read a card from its YAML file.

    Raises
    ------
    FileError
        If there is no such file, or it cannot be read.
    CardError
        If it is not plain YAML, its schema is another one or newer, or a key is wrong.
    """
    card = validate_card(_without_schema(_read_yaml(Path(path)), Path(path)), Path(path).name)
    _check_origin(card, Path(path).name)
    return card


def read_program_card(path: Path, program: str) -> ModelCard:
    """Read the card that lies beside a program file; a card that names no network is that program's."""
    content = _without_schema(_read_yaml(path), path)
    if not {"factory", "zoo", "program"} & set(content):
        content["program"] = program
    return validate_card(content, path.name)


def _check_origin(card: ModelCard, origin: str) -> None:
    if card.factory is None and card.zoo is None and card.program is None:
        raise CardError(
            f"{origin} without a network", "exactly one of factory, zoo and program", "say where the network comes from"
        )


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileError(f"no card {path}", "a YAML file regard.card/1", "write one (see the documentation of cards)")
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise CardError(f"a card of {path.stat().st_size} bytes", f"at most {_LARGEST_BYTES}", "shorten it")
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path} that cannot be read ({error.strerror})", "a readable card") from error
    except UnicodeDecodeError as error:
        raise CardError(f"{path.name}, which is not text in UTF-8", "plain YAML", "correct the card") from error
    except CardError as error:
        raise CardError(f"{path.name}: {error.got}", error.expected, "correct the card") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise CardError(f"{path.name} that holds {type(content).__name__}", "keys and values", "correct the card")
    return content


def _without_schema(content: dict[str, Any], path: Path) -> dict[str, Any]:
    return {k: v for k, v in check_schema(content, "card", path.name).items() if k != "schema"}


def write_card(card: ModelCard, path: str | Path) -> None:
    """Write a card as YAML; whole, or not at all.

    Raises
    ------
    CardError
        If the card does not say where its network comes from.
    """
    _check_origin(card, "a card")
    write_yaml(path, "card", card.model_dump(mode="json"))
