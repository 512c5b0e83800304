"""What is installed: packages, devices, and what to do about those that are missing."""

__all__ = ["installed"]


def installed() -> list[dict[str, str]]:
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
