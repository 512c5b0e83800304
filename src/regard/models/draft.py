"""A commented card for a model that has none, from what lies in its folder."""

from pathlib import Path

from regard.core.errors import FileError
from regard.io.atomic import write_text

__all__ = ["card_place", "draft_card"]

_WEIGHTS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
_PROGRAMS = (".pt2", ".ts", ".onnx")

_TEXT = """\
schema: regard.card/1
name: {name}
licence: null                    # of the weights
{source}
layer: null                      # of CAM methods; null: chosen by itself
inputs:
- name: image
  channels: 1                    # a picture in colours becomes its luminance for 1
  {orientation}# the direction in which each tensor axis runs: RAS in 3D; PL for (row, column) in 2D
  spacing_mm: null               # such as [2, 2, 2]: the scan is resampled to it; null: left as it is
  shape: null                    # such as [96, 112, 96]; null: any
  fit: resize                    # to the shape: resize, or crop-pad (centred, at its spacing)
  unit: intensity                # HU for CT
  levels: null                   # of pictures in grey levels, such as [0, 255]
  window: null                   # clip to [low, high] first
  normalise: none                # zscore, zscore-foreground, minmax, {{low: 0, high: 1}}, {{mean: 0.5, std: 0.25}}
output:
  kind: regression               # classification, image, segmentation
  names: [output]                # one for each number that comes out
  units: [a.u.]                  # such as years, g/cm2
  activation: none               # what the network has applied already: sigmoid, softmax
trained_on:
  n: null
  ranges: {{}}                     # such as {{age: [44, 73]}}; outside of them a warning stands before the map
  site: null
"""


def card_place(source: Path) -> Path:
    """Where the card of a model is: in its folder, or beside its file."""
    return source / "card.yaml" if source.is_dir() else source.with_name(f"{source.name}.card.yaml")


def draft_card(source: Path) -> Path:
    """Write a card with a comment for each line, for a folder of code and weights or an exported program.

    Parameters
    ----------
    source
        A folder, or ``FILE.pt2``, ``FILE.ts``, ``FILE.onnx``.

    Returns
    -------
    pathlib.Path
        The card.

    Raises
    ------
    FileError
        If there is nothing to make a card of, or a card is there already.
    """
    place = card_place(source)
    if place.exists():
        raise FileError(f"a card '{place}' that is there already", "a model without one", "correct it, or move it away")
    if source.is_file():
        if source.suffix not in _PROGRAMS:
            got = f"'{source}'"
            raise FileError(got, f"a folder, or a file that ends in {', '.join(_PROGRAMS)}", "export the network")
        lines = "# the program itself holds the network; reading it may run code: --trust (trust=True in Python)"
    elif source.is_dir():
        lines = _of_folder(source)
    else:
        raise FileError(f"no folder or file '{source}'", "a model", "check the path")
    name = source.stem if source.is_file() else source.resolve().name
    axes = f"orientation: {'PL' if _is_flat(source) else 'RAS'}"
    write_text(place, _TEXT.format(name=name, source=lines, orientation=axes.ljust(31)))
    return place


def _of_folder(folder: Path) -> str:
    codes = sorted(folder.glob("*.py"))
    weights = sorted(p for p in folder.iterdir() if p.suffix in _WEIGHTS)
    if not codes and not weights:
        raise FileError(
            f"'{folder}' without code and weights",
            "FILE.py with a function that builds the network, and its weights",
            "put them there, or give an exported program",
        )
    code = next((c for c in codes if c.stem == "network"), codes[0] if codes else None)
    lines = []
    if code is None:
        lines.append("zoo: small-regressor              # the architecture: a name of `regard models`, or factory:")
    else:
        name = _function_of(code)
        lines.append(f"factory: {code.name}:{name}".ljust(33) + "# your code; runs only with --trust")
    lines.append("kwargs: {}                       # for it")
    if weights:
        lines.append(f"weights: {weights[0].name}".ljust(33) + "# its state_dict")
        lines += [f"# also there: {p.name}" for p in weights[1:]]
    else:
        lines.append("weights: null                    # a file with its state_dict")
    return "\n".join([*lines, "sha256: null                     # of the weights; checked when given"])


def _function_of(code: Path) -> str:
    """The function, or class, that most likely builds the network; code is read, never run."""
    import ast

    try:
        body = ast.parse(code.read_text(encoding="utf-8")).body
    except (SyntaxError, UnicodeDecodeError):
        return "build"
    functions = [n.name for n in body if isinstance(n, ast.FunctionDef)]
    classes = [n.name for n in body if isinstance(n, ast.ClassDef)]
    likely = [n for n in functions if n in ("build", "make", "model", "network", "build_model", "get_model", "create")]
    return next(iter([*likely, *classes, *functions]), "build")


def _is_flat(source: Path) -> bool:
    """Whether code speaks of two axes and not of three."""
    codes = sorted(source.glob("*.py")) if source.is_dir() else []
    text = "".join(c.read_text(encoding="utf-8", errors="replace") for c in codes)
    return any(w in text for w in ("Conv2d", "spatial_dims=2")) and not any(
        w in text for w in ("Conv3d", "spatial_dims=3")
    )
