"""``regard models``, ``methods``, ``measures`` and ``doctor``: listings that load nothing heavy."""

import json
from typing import Annotated

import typer

from regard.cli.options import Json, Quiet, Verbose

__all__ = ["doctor", "measures", "methods", "models"]


def _print(rows: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        return
    columns = list(rows[0])
    widths = [max(len(c), *(len(r[c]) for r in rows)) for c in columns]
    typer.echo("  ".join(c.ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())
    for row in rows:
        typer.echo("  ".join(row[c].ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip())


def models(verbose: Verbose = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """List the networks that Regard brings.

    Example: regard models
    """
    from regard.models.zoo import ZOO

    _print([{"model": n, "output": str(ZOO.entry(n)[2]), "what it is": str(ZOO.entry(n)[1])} for n in ZOO], as_json)


def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One method, to see its knobs and promises.")
    ] = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """List the methods, or tell all about one.

    Example: regard methods occlusion
    """
    from regard.explainers import METHODS

    if name is None:
        rows = [
            {"method": n, "quantity": str((*METHODS.entry(n), "score")[2]), "what it does": str(METHODS.entry(n)[1])}
            for n in METHODS
        ]
        _print(rows, as_json)
        return
    from regard.explainers.describe import describe

    facts = describe(name)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            typer.echo(f"{key}:")
            for knob, said in value.items():
                typer.echo(f"  {knob}: {said}")
        else:
            typer.echo(f"{key}: {value}")


def measures(verbose: Verbose = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """List the measures of whether a map is true.

    Example: regard measures
    """
    from regard.evidence import MEASURES

    _print([{"measure": n, "what it says": str(MEASURES.entry(n)[1])} for n in MEASURES], as_json)


def doctor(verbose: Verbose = False, quiet: Quiet = False, as_json: Json = False) -> None:
    """Say what is installed and what is missing.

    Example: regard doctor
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    extras = {
        "torch": "", "monai": "", "lightning": "", "nibabel": "", "pydicom": "",
        "highdicom": "dicom", "gdcm": "dicom", "openjpeg": "dicom", "pynrrd": "nrrd", "captum": "captum",
        "onnxruntime": "onnx", "nilearn": "studies", "scikit-learn": "studies", "zarr": "scale", "dask": "scale",
    }  # fmt: skip
    published = {"gdcm": "python-gdcm", "openjpeg": "pylibjpeg-openjpeg"}
    rows = [
        {"what": "regard", "found": version("regard"), "do": ""},
        {"what": "python", "found": platform.python_version(), "do": ""},
        {"what": "CPU threads", "found": str(torch.get_num_threads()), "do": ""},
        {
            "what": "CUDA",
            "found": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
            "do": "" if torch.cuda.is_available() else "runs on the CPU",
        },
    ]
    for package, extra in extras.items():
        try:
            found, do = version(published.get(package, package)), ""
        except PackageNotFoundError:
            found, do = "missing", f"pip install 'regard[{extra}]'" if extra else "pip install regard"
        rows.append({"what": package, "found": found, "do": do})
    try:
        version("torchvision")
        import torchvision  # type: ignore[import-not-found]  # noqa: F401
    except PackageNotFoundError:
        pass
    except Exception as error:
        rows.append({"what": "torchvision", "found": f"broken ({error})"[:60], "do": "pip uninstall torchvision"})
    _print(rows, as_json)
