"""The card of a model: what it eats, what its output means, what it was trained on.

A card is a YAML file, ``schema: regard.card/1``. It is data only: reading one runs no code.
"""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from regard.core.errors import CardError, FileError, UnknownNameError
from regard.io.atomic import write_yaml
from regard.io.guard import exists, require_file
from regard.io.plain_text import parse_yaml
from regard.io.schema import check_schema
from regard.models.input_spec import InputSpec, Strict
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


class OutputSpec(Strict):
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


class TrainedOn(Strict):
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


class ModelCard(Strict):
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
            ""
            if first["type"] == "missing" or isinstance(first["input"], Mapping)
            else f" = {reprlib.repr(first['input'])[:80]}"
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
    if not exists(path):
        raise FileError(f"no card {path}", "a YAML file regard.card/1", "write one (see the documentation of cards)")
    try:
        if (size := require_file(path)) > _LARGEST_BYTES:
            raise CardError(f"a card of {size} bytes", f"at most {_LARGEST_BYTES}", "shorten it")
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
