"""``regard explain`` on images that are as they should be: what it writes, and what it prints."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
import yaml
from command_line import Regard
from PIL import Image
from safetensors.torch import save_file

from regard.io.records import read_inputs

SIDECAR = (
    *("schema", "case", "method", "knobs", "form", "quantity", "unit", "sign", "target", "layer", "prediction"),
    *("reference", "completeness_error", "outside", "seed", "batch_size", "threads", "device", "versions"),
    *("weights_sha256", "inputs_sha256", "verdict"),
)
RUN = (
    *("schema", "verb", "argv", "model", "case_ids", "methods", "target", "reference", "seed", "device", "threads"),
    *("batch_size", "versions", "hashes", "state"),
)


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream, dialect="excel-tab"))


def sidecar(folder: Path, stem: str) -> dict:
    return json.loads((folder / "maps" / f"{stem}_relevance.json").read_text())


def test_one_case_writes_what_the_contract_says(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    scan, out = picture("tb 0005.png", shape=(16, 14)), tmp_path / "run"
    said = regard("explain", model, scan, "-m", "grad-ram", "-m", "smoothgrad:n_samples=4", "-o", out)
    assert said.code == 0, said.err
    assert said.err == ""

    stem = "tb%200005_desc-gradram"
    assert sorted(p.name for p in out.iterdir()) == [
        "contents.tsv", "failures.tsv", "figures", "files.txt", "inputs.tsv", "maps", "report.html", "run.log",
        "run.yaml",
    ]  # fmt: skip
    assert sorted(p.name for p in (out / "maps").iterdir()) == [
        *(f"{stem}_relevance.{e}" for e in ("json", "nii.gz", "png")),
        *(f"tb%200005_desc-smoothgrad_relevance.{e}" for e in ("json", "nii.gz", "png")),
        "tb%200005_desc-smoothgrad_se.nii.gz",
        *(f"tb%200005_space-network_desc-{m}_relevance.nii.gz" for m in ("gradram", "smoothgrad")),
    ]
    image = nibabel.load(out / "maps" / f"{stem}_relevance.nii.gz")
    assert image.shape == (14, 16, 1)
    assert image.get_data_dtype() == np.float32
    assert np.array_equal(image.affine, np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert Image.open(out / "maps" / f"{stem}_relevance.png").format == "PNG"

    said_of_map = sidecar(out, stem)
    assert tuple(said_of_map)[: len(SIDECAR)] == SIDECAR
    assert said_of_map["schema"] == "regard.explanation/1"
    assert said_of_map["case"] == "tb 0005"
    assert said_of_map["output_unit"] == "g/cm2"
    assert (said_of_map["seed"], said_of_map["device"], said_of_map["verdict"]) == (0, "cpu", None)

    run = yaml.safe_load((out / "run.yaml").read_text())
    assert tuple(k for k in run if k in RUN) == RUN
    assert run["schema"] == "regard.run/1"
    assert run["argv"] == [
        "explain",
        *map(str, (model, scan)),
        *["-m", "grad-ram", "-m", "smoothgrad:n_samples=4", "-o"],
        str(out),
    ]
    assert (run["verb"], run["state"], run["case_ids"]) == ("explain", "done", ["tb 0005"])
    assert run["hashes"]["weights_sha256"] == said_of_map["weights_sha256"]
    assert table(out / "inputs.tsv") == [["case", "input", "path"], ["tb 0005", "image", str(scan)]]
    assert table(out / "failures.tsv") == [["case", "stage", "error_type", "message"]]
    assert not list(out.glob(".regard*"))


def test_prints_results_on_standard_output_only(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    out = tmp_path / "run"
    base = ("explain", model, picture(), "-m", "grad-ram", "-o", out)
    said, quiet, found = regard(*base), regard(*base, "-q"), regard(*base, "--json")
    assert said.out == quiet.out
    first, last = said.out.splitlines()
    stored = sidecar(out, "scan_desc-gradram")
    assert first.startswith(f"scan  grad-ram: bmd (output:0) = {stored['prediction']:.4g} g/cm2; ")
    assert last == f"report: {out / 'report.html'}"
    assert said.err == quiet.err == found.err == ""
    row = found.json["maps"][0]
    values = nibabel.load(row["file"]).get_fdata()
    assert row["prediction"] == pytest.approx(stored["prediction"])
    assert (row["lowest"], row["highest"]) == pytest.approx((values.min(), values.max()))
    assert (found.json["folder"], found.json["failed"]) == (str(out), [])


def test_several_cases_a_table_and_all_of_them_in_json(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.runs.explaining.REPORTED", 1)
    picture("images/one.png", seed=1), picture("images/two.png", seed=2)
    for name, mark in (("cases.tsv", "\t"), ("cases.csv", ",")):
        rows = [("case", "age", "image"), ("sub 1", "70", "images/one.png"), ("sub/2", "n/a", "images/two.png")]
        (tmp_path / name).write_text("".join(mark.join(r) + "\n" for r in rows))
        out = tmp_path / f"run-{name}"
        found = regard("explain", model, tmp_path / name, "-m", "gradient", "-o", out, "--json").json
        assert [r["case"] for r in found["maps"]] == ["sub 1", "sub/2"]
        assert sidecar(out, "sub%2F2_desc-gradient")["case"] == "sub/2"
        page = (out / "report.html").read_text()
        assert "the first 1 of 2" in page
    both = regard("explain", model, tmp_path / "images/one.png", tmp_path / "images/two.png", "-m", "gradient", "-o",
                  tmp_path / "both", "--json").json  # fmt: skip
    assert [r["prediction"] for r in both["maps"]] == [r["prediction"] for r in found["maps"]]


def test_a_volume_keeps_its_grid(regard: Regard, model_3d: Path, nifti: Callable, tmp_path: Path) -> None:
    scan, out = nifti(), tmp_path / "run"
    assert regard("explain", model_3d, scan, "-m", "grad-cam", "-m", "occlusion:window=8,stride=8", "-o", out).code == 0
    for name in ("gradcam", "occlusion"):
        image = nibabel.load(out / "maps" / f"scan_desc-{name}_relevance.nii.gz")
        assert image.shape == nibabel.load(scan).shape
        assert np.allclose(image.affine, nibabel.load(scan).affine, atol=1e-5)


def test_a_slice_of_a_volume(regard: Regard, write_model: Callable, nifti: Callable, tmp_path: Path) -> None:
    spec = {"name": "image", "orientation": "LP", "shape": [16, 16], "unit": "HU"}
    model = write_model("flat", inputs=[spec])
    scan = nifti(affine=np.diag([-1.0, -1.0, 3.0, 1.0]))
    base = ("explain", model, scan, "-m", "gradient", "-o")
    assert regard(*base, tmp_path / "one", "--slice", "k:2").code == 0
    found = nibabel.load(tmp_path / "one/maps/scan_desc-gradient_relevance.nii.gz")
    assert found.shape == (20, 18, 1)
    assert np.allclose(found.affine[:3, 3], [0, 0, 6])
    for wrong in ("k:99", "x:1", "k:--1", "k:\u00b2", "k"):
        assert regard(*base, tmp_path / "two", "--slice", wrong).refused()


def test_the_same_method_twice_needs_labels(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    base = ("explain", model, picture(), "-o", tmp_path / "run")
    assert regard(*base, "-m", "occlusion", "-m", "occlusion:window=4").refused("occlusion", "LABEL")
    assert not (tmp_path / "run").exists()
    assert regard(*base, "-m", "occlusion:window=8,stride=8@big", "-m", "occlusion:window=4,stride=4@small-4").code == 0
    assert sidecar(tmp_path / "run", "scan_desc-big")["knobs"]["window"] == 8
    small = sidecar(tmp_path / "run", "scan_desc-small4")
    assert (small["knobs"]["window"], small["method"], small["label"]) == (4, "occlusion", "small-4")


@pytest.mark.parametrize(
    ("method", "word"),
    [
        ("nosuch", "nosuch"),
        ("occlusion:size=3", "size"),
        ("occlusion:window", "knob=value"),
        ("occlusion:window=-1", "-1"),
    ],
)
def test_wrong_methods(regard: Regard, model: Path, picture: Callable, tmp_path: Path, method: str, word: str) -> None:
    assert regard("explain", model, picture(), "-m", method, "-o", tmp_path / "run").refused(word)
    assert not (tmp_path / "run" / "maps").exists() or not list((tmp_path / "run" / "maps").iterdir())


def test_the_published_form(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    assert regard("explain", model, picture(), "-m", "grad-cam:form=published", "-o", tmp_path / "run").code == 0
    assert sidecar(tmp_path / "run", "scan_desc-gradcam")["form"] == "published"
    assert nibabel.load(tmp_path / "run/maps/scan_desc-gradcam_relevance.nii.gz").get_fdata().min() >= 0


def test_a_layer(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    base = ("explain", model, picture(), "-m", "grad-cam", "-o")
    assert regard(*base, tmp_path / "first", "--layer", "features.block0").code == 0
    assert sidecar(tmp_path / "first", "scan_desc-gradcam")["layer"] == "features.block0"
    assert regard(*base, tmp_path / "second", "--layer", "features.block9").refused("features.block9")


def test_a_mask_is_nan_outside(regard: Regard, model_3d: Path, nifti: Callable, tmp_path: Path) -> None:
    inside = np.zeros((20, 18, 6))
    inside[5:9, 4:8, 1:4] = 1
    mask = nifti("mask.nii.gz", values=inside)
    base = ("explain", model_3d, nifti(), "-m", "gradient", "-o")
    assert regard(*base, tmp_path / "run", "--mask", mask).code == 0
    values = nibabel.load(tmp_path / "run/maps/scan_desc-gradient_relevance.nii.gz").get_fdata()
    assert np.array_equal(np.isnan(values), inside == 0)
    assert regard(*base, tmp_path / "none", "--mask", tmp_path / "nothere.nii.gz").refused("nothere")
    empty = nifti("empty.nii.gz", values=np.zeros((20, 18, 6)))
    assert regard(*base, tmp_path / "none", "--mask", empty).refused("no voxel")
    assert not (tmp_path / "none").exists()


def test_several_inputs(regard: Regard, write_model: Callable, picture: Callable, tmp_path: Path) -> None:
    model = write_model("two", zoo=..., kwargs=..., factory="network.py:build", inputs=[
        {"name": n, "orientation": "PL", "shape": [16, 16], "unit": "grey level"} for n in ("t1", "t2")
    ])  # fmt: skip
    (model / "network.py").write_text(
        "from torch import nn\n"
        "class Two(nn.Module):\n"
        "    def forward(self, t1, t2):\n"
        "        return (3 * t1 - 2 * t2).sum((2, 3))\n"
        "def build():\n"
        "    return Two()\n"
    )
    save_file({}, model / "weights.safetensors")
    one, two = picture("one.png", seed=1), picture("two.png", seed=2)
    base = ("explain", model, "--trust", "-m", "gradient", "-o")
    assert regard(*base, tmp_path / "run", one, "--input", f"t2={two}").code == 0
    found = [
        nibabel.load(tmp_path / f"run/maps/one_input-{n}_desc-gradient_relevance.nii.gz").get_fdata()
        for n in ("t1", "t2")
    ]
    assert np.allclose(found[0], 3)
    assert np.allclose(found[1], -2)
    assert sidecar(tmp_path / "run", "one_input-t2_desc-gradient")["input"] == "t2"
    assert table(tmp_path / "run/inputs.tsv")[1:] == [["one", "image", str(one)], ["one", "t2", str(two)]]
    (tmp_path / "cases.tsv").write_text(f"case\timage_t1\timage_t2\na\t{one.name}\t{two.name}\n")
    assert regard(*base, tmp_path / "table", tmp_path / "cases.tsv").code == 0
    assert (tmp_path / "table/maps/a_input-t1_desc-gradient_relevance.nii.gz").exists()
    for wrong in ("t2", "=x", "t2=nothere.png"):
        assert regard(*base, tmp_path / "no", one, "--input", wrong).refused("input")
    assert regard(*base, tmp_path / "no", one, "--input", f"t9={two}").refused("t9")
    assert regard(*base, tmp_path / "no", one).refused("t2")


def test_references(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    scan, other, third = (picture(f"{n}.png", seed=n) for n in range(3))
    base = ("explain", model, scan, "-m", "integrated-gradients", "-o")
    assert regard(*base, tmp_path / "file", "--reference", other).code == 0
    stored = sidecar(tmp_path / "file", "0_desc-integratedgradients")
    wanted = regard("explain", model, other, "-m", "gradient", "-o", tmp_path / "o", "--json").json["maps"][0]
    assert stored["reference"]["value"] == pytest.approx(wanted["prediction"], rel=1e-5)
    total = nibabel.load(tmp_path / "file/maps/0_desc-integratedgradients_relevance.nii.gz").get_fdata().sum()
    gap = stored["prediction"] - stored["reference"]["value"]
    assert total == pytest.approx(gap, rel=0.02, abs=0.02 * abs(gap) + 1e-4)

    (tmp_path / "refs.tsv").write_text("case\timage\nhealthy-a\t1.png\nhealthy-b\t2.png\n")
    value = ("--reference", f"value:{wanted['prediction']}")
    cases = ("--reference-cases", tmp_path / "refs.tsv")
    assert regard(*base, tmp_path / "near", *value, *cases, "--reference-tolerance", 0.001).code == 0
    near = sidecar(tmp_path / "near", "0_desc-integratedgradients")["reference"]
    assert "healthy-a" in near["label"]
    assert near["value"] == pytest.approx(wanted["prediction"], rel=1e-5)

    for options, word in (
        ((*value, *cases), "tolerance"),  # the card does not tell the output's range
        (("--reference", "value:1e9", *cases, "--reference-tolerance", 1), "1e+09"),
        (("--reference", "value:x"), "value:x"),
        (("--reference", "value:nan"), "value:nan"),
        ((*value, *cases, "--reference-tolerance", -1), "tolerance"),
        (("--reference", tmp_path / "nothere.png"), "nothere.png"),
        (cases, "--reference-cases"),
        (("--reference", third, "--reference-tolerance", 1), "--reference-tolerance"),
    ):
        assert regard(*base, tmp_path / "no", *options).refused(word)

    many = ("explain", model, scan, "-m", "expected-gradients:n_samples=8", "-m", "gradient", *cases)
    assert regard(*many, "-o", tmp_path / "many").code == 0
    stored = sidecar(tmp_path / "many", "0_desc-expectedgradients")
    assert stored["reference"]["label"] == "the mean over 2 cases"
    assert stored["knobs"]["n_references"] == 2
    assert regard("weigh", tmp_path / "many", "--quick", "--measure", "completeness-error").code == 0


def test_seed_threads_batch_size_and_device(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    scan, threads = picture(), torch.get_num_threads()

    def values(name: str, *options: object) -> np.ndarray:
        said = regard("explain", model, scan, "-m", "smoothgrad:n_samples=3", "-o", tmp_path / name, *options)
        assert said.code == 0, said.err
        return nibabel.load(tmp_path / name / "maps/scan_desc-smoothgrad_relevance.nii.gz").get_fdata()

    try:
        first = values("a", "--seed", 1, "--threads", 1, "--batch-size", 2, "--device", "cpu")
        stored = sidecar(tmp_path / "a", "scan_desc-smoothgrad")
        assert [stored[k] for k in ("seed", "threads", "batch_size", "device")] == [1, 1, 2, "cpu"]
        assert np.allclose(values("b", "--seed", 1, "--batch-size", 3), first, atol=1e-5)
        assert not np.allclose(values("c", "--seed", 2), first)
    finally:
        torch.set_num_threads(threads)
    base = ("explain", model, scan, "-m", "gradient", "-o", tmp_path / "no")
    for option, wrong in (
        ("--device", "gpu"), ("--device", "cuda:99"), ("--device", "cpu:1"), ("--device", "cuda:\u00b2"),
        ("--batch-size", "0"), ("--batch-size", "many"), ("--batch-size", "\u00b2"), ("--seed", "-1"),
    ):  # fmt: skip
        assert regard(*base, option, wrong).refused()
    assert not (tmp_path / "no").exists()


def test_targets(regard: Regard, write_model: Callable, picture: Callable, tmp_path: Path) -> None:
    output = {"kind": "classification", "names": ["healthy", "ill"], "units": ["logit", "logit"], "activation": "none"}
    model = write_model("two", kwargs={"widths": [2, 3], "outputs": 2}, output=output)
    base = ("explain", model, picture(), "-m", "gradient", "-o")
    assert regard(*base, tmp_path / "a", "-t", "logit:1").code == 0
    assert regard(*base, tmp_path / "b", "-t", "logit:ill").code == 0
    one, same = (sidecar(tmp_path / n, "scan_desc-gradient") for n in "ab")
    assert one["prediction"] == same["prediction"]
    for wrong in (
        "logit:7",
        "logit:nosuch",
        "logit:--1",
        "nosuch:1",
        "voxel:1,2,3",
        "mean:nothere.nii.gz",
        "expectation",
    ):
        assert regard(*base, tmp_path / "no", "-t", wrong).refused()
    assert regard(*base, tmp_path / "no").refused("2")


def test_outside_the_training_data_is_told_before_the_maps(
    regard: Regard, write_model: Callable, picture: Callable, tmp_path: Path
) -> None:
    model = write_model("narrow", trained_on={"n": 3, "ranges": {"output": [100.0, 101.0]}})
    base = ("explain", model, picture(), "-m", "grad-ram", "-o", tmp_path / "run")
    lines = regard(*base).out.splitlines()
    assert lines[0].startswith("warning: scan: prediction ")
    assert "trained on 100 to 101 g/cm2" in lines[0]
    assert lines[1].startswith("scan  grad-ram")
    warning = lines[0].removeprefix("warning: scan: ")
    assert sidecar(tmp_path / "run", "scan_desc-gradram")["warnings"] == [warning]
    assert regard(*base, "--json").json["maps"][0]["warnings"] == [warning]
    assert "trained on 100 to 101" in (tmp_path / "run/report.html").read_text()


def test_a_network_that_gives_images(regard: Regard, write_model: Callable, picture: Callable, tmp_path: Path) -> None:
    output = {"kind": "image", "names": ["clean"], "units": ["grey level"]}
    model = write_model("image", zoo=..., kwargs=..., factory="network.py:build", output=output)
    (model / "network.py").write_text("from torch import nn\ndef build():\n    return nn.Conv2d(1, 1, 3, padding=1)\n")
    save_file({"weight": torch.ones(1, 1, 3, 3), "bias": torch.zeros(1)}, model / "weights.safetensors")
    region = tmp_path / "region.png"
    inside = np.zeros((16, 16), dtype=np.uint8)
    inside[4:8, 4:8] = 255
    Image.fromarray(inside).save(region)
    base = ("explain", model, picture(), "--trust", "-m", "gradient", "-t", f"mean:{region}", "-o", tmp_path / "run")
    assert regard(*base).code == 0
    assert nibabel.load(tmp_path / "run/maps/scan_output.nii.gz").shape == (16, 16, 1)
    seen = nibabel.load(tmp_path / "run/maps/scan_desc-gradient_relevance.nii.gz").get_fdata()[..., 0] != 0
    assert seen[3:9, 3:9].all()
    assert seen.sum() == 36
    assert regard(*base, "--overwrite").code == 0


def test_one_volume_of_several_is_explained_and_weighed_again(
    regard: Regard, write_model: Callable, nifti: Callable, tmp_path: Path
) -> None:
    spec = {"name": "image", "orientation": "LPS", "shape": [16, 16, 8]}
    model = write_model("one", kwargs={"widths": [2, 3], "spatial_dims": 3}, inputs=[spec])
    values = np.random.default_rng(1).normal(size=(20, 18, 6, 3))
    echoes, second = nifti("echoes.nii.gz", values=values), nifti("second.nii.gz", values=values[..., 1])
    ask = ("-m", "gradient", "-o")
    assert regard("explain", model, echoes, *ask, tmp_path / "none").refused(
        "3 channels", "--volume N (0 to 2", "--input"
    )
    assert regard("explain", model, echoes, "--volume", 3, *ask, tmp_path / "x").refused("0 to 2")
    chosen = regard("explain", model, echoes, "--volume", 1, *ask, tmp_path / "run", "--json").json["maps"][0]
    alone = regard("explain", model, second, *ask, tmp_path / "alone", "--json").json["maps"][0]
    assert chosen["prediction"] == alone["prediction"]
    again = regard("explain", model, echoes, "--volume", 2, *ask, tmp_path / "run")
    assert again.refused("another configuration")
    assert np.allclose(read_inputs(tmp_path / "run")[0].read().tensor[0].numpy(), values[..., 1].astype(np.float32))


def test_dicom_as_a_segmentation_is_refused_without_a_threshold(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    for words in (("--dicom", "seg:x"), ("--dicom=seg:-2",)):
        said = regard("explain", model, picture(), "-m", "gradient", *words, "-o", tmp_path / "run")
        assert said.refused("seg:THRESHOLD")
    said = regard("explain", model, picture(), "-m", "gradient", "--dicom", "seg:0.5", "-o", tmp_path / "run")
    assert said.refused("expected DICOM images")


def test_regions_of_an_atlas_play_and_a_changed_atlas_is_told(
    regard: Regard, model_3d: Path, nifti: Callable, tmp_path: Path
) -> None:
    scan, labels = nifti(), np.ones((20, 18, 6))
    labels[10:] = 2
    atlas = nifti("atlas.nii.gz", values=labels)
    base = ("explain", model_3d, scan, "-m", f"shapley-exact:parts={atlas}", "-o", tmp_path / "run")
    assert regard(*base).code == 0
    stored = sidecar(tmp_path / "run", "scan_desc-shapleyexact")
    assert stored["knobs"]["parts"] == "atlas.nii.gz"
    assert stored["completeness_error"] == pytest.approx(0, abs=1e-5)
    nifti("atlas.nii.gz", values=3 - labels)
    assert regard(*base).refused("parts")
    assert regard("explain", model_3d, scan, "-m", "shapley:parts=nothere.nii", "-o", tmp_path / "no").refused(
        "nothere"
    )


def test_the_convention_turns_pictures_and_no_map(
    regard: Regard, model_3d: Path, nifti: Callable, tmp_path: Path
) -> None:
    scan, made = nifti(), {}
    for name in ("radiological", "neurological"):
        out = tmp_path / name
        words = ("-m", "gradient", "--convention", name, "-o", out)
        assert regard("explain", model_3d, scan, *words).code == 0
        made[name] = out
    one, other = (next((out / "maps").glob("*_relevance.png")).read_bytes() for out in made.values())
    assert one != other
    one, other = (next((out / "maps").glob("scan_desc-gradient_relevance.nii.gz")) for out in made.values())
    np.testing.assert_array_equal(nibabel.load(one).get_fdata(), nibabel.load(other).get_fdata())
    refused = regard("explain", model_3d, scan, "-m", "gradient", "--convention", "british", "-o", tmp_path / "x")
    assert (refused.code, "radiological or neurological" in refused.err) == (2, True)
