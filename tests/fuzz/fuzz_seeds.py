"""Whole files of every kind that Regard reads: our own, and those that other packages test themselves with."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import torch
import yaml
from PIL import Image
from torch import nn

__all__ = ["KINDS", "Seed", "write_seeds"]

LARGEST = 300_000


class Seed:
    """A file that is mutated, and what of its folder is read."""

    def __init__(self, kind: str, path: Path, whole: Path | None = None) -> None:
        self.kind, self.path, self.whole = kind, path, path if whole is None else whole


def _values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, shape)


def nifti(folder: Path) -> list[Path]:
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    values = _values(9, 8, 7).astype(np.int16)
    for kind, name in (
        (nibabel.Nifti1Image, "a.nii"),
        (nibabel.Nifti1Image, "a.nii.gz"),
        (nibabel.Nifti2Image, "b.nii"),
    ):
        nibabel.save(kind(values, affine), folder / name)
    nibabel.save(nibabel.Nifti1Image(_values(5, 5, 5, 3).astype(np.float32), affine), folder / "c.nii.gz")
    for name in ("m.mgh", "m.mgz"):
        nibabel.save(nibabel.freesurfer.MGHImage(values.astype(np.int32), affine), folder / name)
    others = Path(nibabel.__file__).parent / "tests" / "data"
    return [*folder.iterdir(), *others.glob("*.nii"), *others.glob("*.nii.gz")]


def pairs(folder: Path) -> list[Path]:
    nibabel.save(nibabel.Nifti1Pair(_values(6, 5, 4).astype(np.int16), np.eye(4)), folder / "p.img")
    return [folder / "p.hdr"]


def dicom(folder: Path) -> list[Path]:
    return sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))


def picture(folder: Path) -> list[Path]:
    grey, colour = (
        Image.fromarray(_values(20, 16).astype(np.uint8)),
        Image.fromarray(_values(20, 16, 3).astype(np.uint8)),
    )
    for ending in ("png", "jpg", "bmp", "tif"):
        grey.save(folder / f"g.{ending}")
        colour.save(folder / f"c.{ending}")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        grey.save(folder / f"{compression}.tif", compression=compression)
    Image.fromarray(_values(20, 16).astype(np.uint16)).save(folder / "deep.tif", compression="tiff_lzw")
    Image.fromarray(_values(20, 16).astype(np.float32)).save(folder / "float.tif")
    colour.quantize(8).save(folder / "palette.tif", compression="tiff_lzw")
    colour.quantize(8).save(folder / "palette.png")
    return [*folder.iterdir()]


def nrrd(folder: Path) -> list[Path]:
    import nrrd as pynrrd

    values = _values(6, 5, 4).astype(np.int16)
    space = {"space": "left-posterior-superior", "space directions": np.eye(3), "space origin": np.zeros(3)}
    for encoding in ("raw", "gzip", "bzip2", "ascii"):
        pynrrd.write(str(folder / f"{encoding}.nrrd"), values, {**space, "encoding": encoding})
    pynrrd.write(str(folder / "d.nhdr"), values, {**space, "encoding": "raw"})
    return [*folder.glob("*.nrrd"), folder / "d.nhdr"]


def metaimage(folder: Path) -> list[Path]:
    import zlib

    content = _values(4, 5, 6).astype("<i2").tobytes()
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = {}\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 1 1 2\nDimSize = 6 5 4\n"
        "ElementType = MET_SHORT\nElementDataFile = {}\n"
    )
    (folder / "a.mha").write_bytes(head.format("False", "LOCAL").encode() + content)
    (folder / "z.mha").write_bytes(head.format("True", "LOCAL").encode() + zlib.compress(content))
    (folder / "d.mhd").write_text(head.format("False", "d.raw"))
    (folder / "d.raw").write_bytes(content)
    return [folder / "a.mha", folder / "z.mha", folder / "d.mhd"]


def table(folder: Path) -> list[Path]:
    for name in ("one.nii", "two.nii"):
        (folder / name).write_bytes(b"x")
    text = "case\timage\tpatient\tlabel\tvolume\na\tone.nii\tp1\t61.5\t0\nb\ttwo.nii\tp2\tn/a\t\n"
    (folder / "t.tsv").write_text(text)
    (folder / "t.csv").write_text(text.replace("\t", ","))
    return [folder / "t.tsv", folder / "t.csv"]


def boxes(folder: Path) -> list[Path]:
    (folder / "b.tsv").write_text("case\tx\ty\tw\th\na\t1\t2\t3\t4.5\nb\t0\t0\t2\t2\n")
    return [folder / "b.tsv"]


def regions(folder: Path) -> list[Path]:
    (folder / "r.tsv").write_text("index\tname\n1\tleft\n2\tright\n")
    return [folder / "r.tsv"]


def transform(folder: Path) -> list[Path]:
    field = np.zeros((4, 4, 4, 1, 3), np.float32)
    image = nibabel.Nifti1Image(field, np.eye(4))
    image.header.set_intent("vector")
    nibabel.save(image, folder / "w.nii.gz")
    np.savetxt(folder / "w.txt", np.eye(4))
    (folder / "itk.txt").write_text(
        "#Insight Transform File V1.0\nTransform: AffineTransform_double_3_3\nParameters: 1 0 0 0 1 0 0 0 1 1 2 3\n"
        "FixedParameters: 0 0 0\n"
    )
    return [*folder.iterdir()]


CARD: dict[str, Any] = {
    "schema": "regard.card/1",
    "name": "tiny",
    "zoo": "small-regressor",
    "kwargs": {"widths": [2, 3]},
    "weights": "weights.safetensors",
    "inputs": [{"name": "image", "orientation": "PL", "shape": [16, 16], "unit": "grey level"}],
    "output": {"kind": "regression", "names": ["bmd"], "units": ["g/cm2"]},
}


def _tiny() -> nn.Module:
    from regard.models.zoo.small import small_regressor

    return small_regressor(widths=(2, 3))


def card(folder: Path) -> list[Path]:
    from safetensors.torch import save_file

    (folder / "card.yaml").write_text(yaml.safe_dump(CARD))
    save_file({k: v.contiguous() for k, v in _tiny().state_dict().items()}, folder / "weights.safetensors")
    return [folder / "card.yaml"]


def weights(folder: Path) -> list[Path]:
    card(folder)
    torch.save(_tiny().state_dict(), folder / "weights.pt")
    return [folder / "weights.safetensors", folder / "weights.pt"]


def program(folder: Path) -> list[Path]:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 14 * 14, 1)).eval()
    x = torch.zeros(1, 1, 16, 16)
    torch.jit.trace(network, x).save(str(folder / "net.ts"))
    torch.onnx.export(network, (x,), str(folder / "net.onnx"), dynamo=False)
    without = {k: v for k, v in CARD.items() if k not in ("zoo", "kwargs", "weights")}
    for name in ("net.ts", "net.onnx"):
        (folder / f"{name}.card.yaml").write_text(yaml.safe_dump(without))
    return [folder / "net.ts", folder / "net.onnx"]


def bundle(folder: Path) -> list[Path]:
    (folder / "configs").mkdir()
    network = {
        "_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 1, "channels": [2, 4], "strides": [2],
        "num_res_units": "@units",
    }  # fmt: skip
    steps = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5]},
        {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True},
    ]
    content = {"units": 0, "network_def": network, "preprocessing": {"_target_": "Compose", "transforms": steps}}
    (folder / "configs" / "inference.json").write_text(json.dumps(content))
    form = {"type": "image", "format": "magnitude", "num_channels": 1, "spatial_shape": [32, 32], "dtype": "float32",
            "value_range": [0, 1], "is_patch_data": False, "channel_def": {"0": "image"}}  # fmt: skip
    out = {**form, "channel_def": {"0": "background"}, "type": "image"}
    said = {
        "version": "0.1.0",
        "task": "denoise",
        "network_data_format": {"inputs": {"image": form}, "outputs": {"pred": out}},
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(said))
    from monai.networks.nets import UNet

    (folder / "models").mkdir()
    built = UNet(spatial_dims=2, in_channels=1, out_channels=1, channels=[2, 4], strides=[2])
    torch.save(built.state_dict(), folder / "models" / "model.pt")
    return [folder / "configs" / "inference.json", folder / "configs" / "metadata.json"]


def sidecar(folder: Path) -> list[Path]:
    from regard.core.explanation import Explanation
    from regard.core.quantity import Quantity, Sign
    from regard.core.volume import Volume
    from regard.io import save_map

    scan = Volume(torch.rand(1, 4, 4, 4), np.eye(4), "intensity", "x.nii")
    save_map(
        Explanation(
            relevance=scan.with_tensor(torch.rand(1, 4, 4, 4), unit="years"), scan=scan, case="a", method="gradient",
            quantity=Quantity.CONTRIBUTION, sign=Sign.RAISED, unit="years", prediction=1.0, target="output:0",
            output_unit="years", knobs={"n": 5}, made={"seed": 0, "versions": {"regard": "0"}},
        ),
        folder / "a_desc-gradient_relevance.nii.gz",
    )  # fmt: skip
    return [folder / "a_desc-gradient_relevance.json"]


def run_record(folder: Path) -> list[Path]:
    said = {
        "schema": "regard.run/1", "verb": "explain", "argv": ["explain", "m"], "model": "small-regressor",
        "case_ids": ["a"], "methods": ["gradient", "occlusion:window=3"], "target": "output:0", "reference": None,
        "seed": 0, "device": "cpu", "batch_size": "auto", "tables": [], "weights_sha256": "0" * 64, "state": "done",
        "hashes": {"configuration_sha256": "0"}, "chosen": {"a": {"volume": 0}},
    }  # fmt: skip
    (folder / "run.yaml").write_text(yaml.safe_dump(said))
    (folder / "inputs.tsv").write_text("case\tinput\tpath\na\timage\tone.nii\n")
    (folder / "failures.tsv").write_text("case\tstage\terror_type\tmessage\nb\tread\tFileError\tno file\n")
    return [folder / "run.yaml", folder / "inputs.tsv", folder / "failures.tsv"]


def settings(folder: Path) -> list[Path]:
    (folder / "s.yaml").write_text("train:\n  n_members: 2\n  learning_rate: 0.001\nexplain:\n  methods: [gradient]\n")
    return [folder / "s.yaml"]


def checkpoint(folder: Path) -> list[Path]:
    np.savez(folder / "node-00-000000.npz", n=np.int64(1), mean=np.zeros((4, 4)), m2=np.ones((4, 4)))
    return [folder / "node-00-000000.npz"]


def sampler(folder: Path) -> list[Path]:
    from regard.explainers.generative.sampler import Sampler, SamplerSizes, write_sampler

    sizes = SamplerSizes(size=8, n_latent=4, widths=(4,), n_code=2, n_blocks=1, width=8, embedded=4)
    assert asdict(sizes)
    write_sampler(folder, Sampler(sizes, (0.0, 1.0, 0.0, 1.0)), {"weights_sha256": None, "layer": None, "facts": {}})
    place = folder / "models" / "sampler"
    return [place / "sampler.json", place / "weights.safetensors"]


def training(folder: Path) -> list[Path]:
    torch.save({"key": "k", "step": 3, "leaves": [torch.zeros(3)], "adam": _adam().state_dict()}, folder / "s.ckpt")
    return [folder / "s.ckpt"]


def _adam() -> torch.optim.Adam:
    leaf = torch.zeros(3, requires_grad=True)
    adam = torch.optim.Adam([leaf])
    leaf.sum().backward()
    adam.step()
    return adam


_TEXTS = (
    "method gradient", "method occlusion:window=3x3,stride=2@B", "method lime:n_samples=10,form=published",
    "target output:0", "target voxel:1,2,3", "target voxel-mm:1.5,2,3@1", "target mean:a.nii#1",
    "target contrast:a.nii#1,b.nii#2", "set train.n_members=3", "set explain.methods=[gradient]",
    "at 12,40", "input t1=a.nii", "slice k:12", "batch 4", "reference value:60",
)  # fmt: skip


def option(folder: Path) -> list[Path]:
    for n, text in enumerate(_TEXTS):
        (folder / f"{n}.txt").write_text(text)
    return [*folder.iterdir()]


_FOLDERS = frozenset(
    {"card", "bundle", "sidecar", "run_record", "checkpoint", "sampler", "pairs", "program", "weights"}
)


def signal(folder: Path) -> list[Path]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "io"))
    from signal_files import write_edf, write_mat, write_wfdb

    counts = _values(3, 40)
    for kind in (16, 24, 32, 61, 80, 212):
        write_wfdb(folder, counts // 2, kind=kind, name=f"r{kind}")
    write_mat(folder, counts)
    write_edf(folder / "a.edf", [("EEG A", "uV", counts[0], 20), ("EEG B", "uV", counts[1], 20)])
    write_edf(folder / "a.bdf", [("EEG A", "uV", counts[0], 20)], wide=3)
    rows = "\n".join(f"{k / 250:g},{a},{b}" for k, (a, b, _) in enumerate(counts.T.tolist()))
    (folder / "t.csv").write_text(f"time_s,I [mV],II [mV]\n{rows}\n")
    return [*folder.glob("*.hea"), folder / "a.edf", folder / "a.bdf", folder / "t.csv"]


def interval(folder: Path) -> list[Path]:
    (folder / "waves.tsv").write_text("onset\toffset\tlabel\n0.1\t0.2\tQRS\n0.3\t0.5\tT\n")
    (folder / "events.tsv").write_text("onset\tduration\ttrial_type\n1.0\t0.5\tspindle\n")
    return [folder / "waves.tsv", folder / "events.tsv"]


_MAKERS: tuple[Callable[[Path], list[Path]], ...] = (
    nifti, pairs, dicom, picture, nrrd, metaimage, table, boxes, regions, transform, card, weights, program, bundle,
    sidecar, run_record, settings, checkpoint, sampler, training, option, signal, interval,
)  # fmt: skip
KINDS = tuple(m.__name__ for m in _MAKERS)


def write_seeds(folder: Path) -> dict[str, list[Seed]]:
    """Seeds by kind; those that lie beside other files keep their folder."""
    seeds: dict[str, list[Seed]] = {}
    for make in _MAKERS:
        place = folder / make.__name__
        place.mkdir(parents=True)
        paths = sorted(p for p in make(place) if p.is_file() and p.stat().st_size <= LARGEST)
        seeds[make.__name__] = [Seed(make.__name__, p, place) for p in paths]
    return seeds
