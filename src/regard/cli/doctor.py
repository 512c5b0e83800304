"""``regard doctor``: what is installed, and whether a network can be explained."""

from pathlib import Path
from typing import Annotated

import typer

from regard.cli.listing import print_rows
from regard.cli.options import Device, Json, Quiet, Threads, Trust, Verbose, Weights

__all__ = ["doctor"]


def doctor(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A network to probe; without one, what is installed.")
    ] = None,
    cases: Annotated[
        list[Path] | None, typer.Argument(metavar="CASE", help="Images to probe it with; a random one by default.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", "-m", metavar="NAME[:knob=value,...]", help="Probe for these methods; all by default."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", metavar="TARGET", help="What would be explained, such as logit:1.")
    ] = None,
    reference: Annotated[str | None, typer.Option(metavar="FILE", help="What would be compared with.")] = None,
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="Layer of CAM methods.")] = None,
    further: Annotated[list[str] | None, typer.Option("--input", metavar="NAME=FILE", help="Further input.")] = None,
    weights: Weights = None,
    trust: Trust = False,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Say what is installed; with a model, probe it.

    A line a probe: ok; told, which then stands beside every map; refused, which draws no map (the exit code is then 2);
    or unclear.

    Example: regard doctor models/brain-age sub-01_T1w.nii.gz
    """
    if model is None:
        print_rows(_installed(), as_json)
        return 0
    from regard.cli.doctor_run import run
    from regard.cli.request import Request

    request = Request(
        model=model, paths=tuple(cases or ()), output=Path(), methods=tuple(method or ()), target=target,
        reference=reference, layer=layer, further=tuple(further or ()), weights=weights, trust=trust, device=device,
        threads=threads, verbose=verbose, quiet=quiet, as_json=as_json,
    )  # fmt: skip
    return run(request)


def _installed() -> list[dict[str, str]]:
    """Packages and devices, with what to do about those that are missing."""
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
    return rows
