"""``regard invariances``: samples that the network itself confirms, resuming, refusals."""

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
from safetensors.torch import load_file, save_file

from regard.models.zoo import ZOO
from regard.models.zoo.denoisers import cnn10

CARD = {
    "schema": "regard.card/1",
    "name": "denoiser",
    "zoo": "cnn10",
    "kwargs": {"width": 4},
    "weights": "weights.safetensors",
    "inputs": [
        {
            "name": "image", "channels": 1, "orientation": "RA", "spacing_mm": None, "shape": None, "fit": "crop-pad",
            "unit": "HU", "window": None, "normalise": {"mean": 0, "std": 100},
        }
    ],
    "output": {
        "kind": "image", "names": ["denoised"], "units": ["a.u."], "activation": "none", "bins": None, "grid": "input",
    },
    "trained_on": {"n": None, "ranges": {}, "site": ""},
}  # fmt: skip

QUICK = ("--n", "4", "--steps", "6", "--controls", "2", "--patch", "24")


@pytest.fixture
def denoiser(tmp_path: Path) -> Path:
    folder = tmp_path / "denoiser"
    folder.mkdir()
    torch.manual_seed(0)
    save_file(cnn10(4).state_dict(), folder / "weights.safetensors")
    (folder / "card.yaml").write_text(yaml.safe_dump(CARD))
    return folder


@pytest.fixture
def slice_file(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).normal(40, 20, (40, 36, 1)).astype(np.float32)
    values[10:20, 10:20] += 100
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "slice.nii.gz")
    return tmp_path / "slice.nii.gz"


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, dialect="excel-tab"))


def test_samples_give_the_same_output(regard: Regard, denoiser: Path, slice_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = regard("invariances", denoiser, slice_file, *QUICK, "--at", "15,15", "-o", out, "--json")
    assert said.code == 0, said.err
    found = said.json["cases"][0]
    rows = table(out / "samples.tsv")
    assert list(rows[0]) == ["case", "sample", "distance", "leakage", "d_prime", "accepted", "kind", "scale"]
    assert len(rows) == 4
    network = cnn10(4)
    network.load_state_dict(load_file(denoiser / "weights.safetensors"))
    scan = nibabel.load(slice_file).get_fdata(dtype=np.float32)[3:27, 3:27]
    for row in rows:
        assert float(row["d_prime"]) <= found["tolerance"] == 1.0
        image = nibabel.load(out / "samples" / f"slice_sample-{row['sample']}.nii.gz")
        assert image.shape == (24, 24, 1)
        assert np.allclose(image.affine[:3, 3], [6, 6, 0])
        pair = [torch.from_numpy(v[None, None, ..., 0].copy()) / 100 for v in (scan, image.get_fdata(dtype=np.float32))]
        with torch.no_grad():
            change = (network(pair[1]) - network(pair[0])).norm() / (100 * (pair[1] - pair[0]).norm())
        assert float(change) == pytest.approx(float(row["leakage"]), rel=1e-2)
    assert (out / "figures" / "slice_gallery.png").stat().st_size > 10_000
    page = (out / "report.html").read_text()
    assert "Gallery: slice" in page
    assert "http" not in page.replace("http-equiv", "")
    scores = json.loads((out / "scores.json").read_text())["scores"]
    assert scores["identity"]["distance"]["value"] <= 1.05
    assert scores["network"]["rejected"]["value"] == 0.0


def test_the_same_command_goes_on(regard: Regard, denoiser: Path, slice_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = regard("invariances", denoiser, slice_file, *QUICK, "-o", out)
    stamp = (out / "figures" / "slice_invariances.json").stat().st_mtime_ns
    again = regard("invariances", denoiser, slice_file, *QUICK, "-o", out)
    assert (first.code, again.code) == (0, 0)
    assert (out / "figures" / "slice_invariances.json").stat().st_mtime_ns == stamp
    assert first.out == again.out
    regard("invariances", denoiser, slice_file, *QUICK, "--limit", "2", "-o", out).refused("another configuration")
    assert regard("invariances", denoiser, slice_file, *QUICK, "--limit", "2", "-o", out, "--overwrite").code == 0


@pytest.mark.parametrize("extra", [QUICK, ("--fit", "--patch", "16", "--steps", "3")], ids=["search", "fit"])
def test_an_image_that_has_changed_is_named(
    regard: Regard, denoiser: Path, slice_file: Path, tmp_path: Path, extra: tuple[str, ...]
) -> None:
    words = ("invariances", denoiser, slice_file, *extra, "-o", tmp_path / "run")
    assert regard(*words).code == 0
    stored = nibabel.load(slice_file)
    nibabel.save(nibabel.Nifti1Image(stored.get_fdata() + 1, stored.affine), slice_file)
    regard(*words).refused("'slice'")


def test_a_number_has_a_level_set(regard: Regard, model: Path, picture: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = regard("invariances", model, picture(), "--n", "3", "-o", out, "--json")
    assert said.code == 0, said.err
    found = said.json["cases"][0]
    assert not found["image_output"]
    assert found["tolerance"] == pytest.approx(found["spread"])
    rows = table(out / "samples.tsv")
    kept = [r for r in rows if r["accepted"] == "True"]
    assert kept
    assert all(float(r["d_prime"]) <= 1.0 for r in kept)
    assert len(list((out / "samples").iterdir())) == len(kept)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--tolerance", "tight"), ("the tolerance 'tight'", "auto")),
        (("--at", "3,3"), ("without --patch",)),
        (("--patch", "24", "--at", "3"), ("--at 3",)),
        (("--patch", "24", "--at", "99,3"), ("99", "0 to 39")),
        (("--noise", "-1"), ("--noise -1",)),
        (("--patch", "2"), ("a patch of 2",)),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    regard: Regard, denoiser: Path, slice_file: Path, tmp_path: Path, more: tuple[str, ...], words: tuple[str, ...]
) -> None:
    regard("invariances", denoiser, slice_file, *more, "-o", tmp_path / "run").refused(*words)


def test_a_sampler_is_fitted_resumed_and_drawn_from(
    regard: Regard, denoiser: Path, slice_file: Path, tmp_path: Path
) -> None:
    fitted, out = tmp_path / "sampler", tmp_path / "run"
    command = ("invariances", denoiser, slice_file, "--fit", "--patch", "16", "--steps", "5", "-o", fitted)
    first = regard(*command)
    assert first.code == 0, first.err
    weights = (fitted / "models" / "sampler" / "weights.safetensors").read_bytes()
    (fitted / "models" / "sampler" / "sampler.json").unlink()
    again = regard(*command)
    assert again.out == first.out
    assert (fitted / "models" / "sampler" / "weights.safetensors").read_bytes() == weights
    said = regard(
        "invariances", denoiser, slice_file, "--sampler", fitted, "--patch", "16", "--n", "3", "-o", out, "--json"
    )
    assert said.code == 0, said.err
    facts = said.json["cases"][0]["facts"]
    assert facts["floor: d' of f(VAE(x)) - f(x)"] > 0
    rows = table(out / "samples.tsv")
    rejected = [r for r in rows if r["accepted"] == "False"]
    assert facts["share rejected"] == pytest.approx(len(rejected) / 3)
    assert all((float(r["d_prime"]) > 1.0) == (r["accepted"] == "False") for r in rows)
    regard("invariances", denoiser, slice_file, "--sampler", fitted, "--n", "3", "-o", tmp_path / "no").refused(
        "16 x 16", "--patch 16"
    )


def test_a_layer_takes_the_place_of_the_output(
    regard: Regard, denoiser: Path, slice_file: Path, tmp_path: Path
) -> None:
    layer = next(n for n, m in cnn10(4).named_modules() if isinstance(m, torch.nn.Conv2d))
    out, fitted = tmp_path / "run", tmp_path / "sampler"
    said = regard("invariances", denoiser, slice_file, *QUICK, "--layer", layer, "-o", out, "--json")
    assert said.code == 0, said.err
    assert said.json["cases"][0]["output_unit"] == "activation" and list(said.json["cases"][0]["controls"]) == [
        "identity"
    ]
    assert f"the layer {layer}" in (out / "report.html").read_text()
    assert all(float(r["d_prime"]) <= 1.0 for r in table(out / "samples.tsv") if r["accepted"] == "True")
    fit = ("invariances", denoiser, slice_file, "--patch", "16", "--layer", layer)
    assert regard(*fit, "--fit", "--steps", "3", "-o", fitted).code == 0
    assert regard(*fit, "--sampler", fitted, "--n", "2", "-o", tmp_path / "drawn").code == 0
    regard(*fit[:-2], "--sampler", fitted, "--n", "2", "-o", tmp_path / "no").refused(
        f"a sampler of {layer}", "--layer"
    )
    regard(*fit, "-t", "voxel:3,3,0", "-o", tmp_path / "no").refused("a target and a layer")
    regard(*fit[:-1], "head", "-o", tmp_path / "no").refused("head")


def test_the_null_space_is_followed(regard: Regard, denoiser: Path, slice_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = regard("invariances", denoiser, slice_file, "--null-space", "--n", "3", "--patch", "24", "-o", out)
    assert done.code == 0, done.err
    rows = table(out / "samples.tsv")
    assert [r["accepted"] for r in rows] == ["True"] * 3
    assert all(r["scale"] in ("", "n/a") for r in rows)
    scores = json.loads((out / "scores.json").read_text())["scores"]
    assert {"distance", "excess_over_identity", "excess_over_gaussian"} <= set(scores["network"])
    page = (out / "report.html").read_text()
    assert "null space of the Jacobian" in page
    assert "least gain" in page
    again = regard("invariances", denoiser, slice_file, "--null-space", "--fit", "-o", tmp_path / "other")
    assert again.code == 2
    assert "--null-space with --fit" in again.err
    many = regard(
        "invariances", denoiser, slice_file, "--null-space", "--patch", "24", "--n", "999", "-o", tmp_path / "m"
    )
    assert "999 directions" in many.err


@pytest.mark.parametrize("output", ["image", "regression"])
def test_three_axes_are_as_two(regard: Regard, tmp_path: Path, output: str) -> None:
    folder, out = tmp_path / "volumetric", tmp_path / "run"
    folder.mkdir()
    torch.manual_seed(0)
    regressor = output == "regression"
    zoo, kwargs = (
        ("small-regressor", {"spatial_dims": 3, "widths": [2, 3]})
        if regressor
        else ("monai-unet", {"spatial_dims": 3, "widths": [2, 4], "residual_units": 0, "norm": "BATCH"})
    )
    card = {**CARD, "zoo": zoo, "kwargs": kwargs, "output": dict(CARD["output"])}  # type: ignore[arg-type]
    card["inputs"] = [{**CARD["inputs"][0], "orientation": "RAS"}]  # type: ignore[index]
    if regressor:
        card["output"] = {"kind": "regression", "names": ["volume"], "units": ["ml"]}
    network = ZOO.load(zoo)(**kwargs)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "weights.safetensors")
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    values = np.random.default_rng(0).normal(40, 20, (14, 12, 16)).astype(np.float32)
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "scan.nii.gz")
    said = regard(
        "invariances",
        folder,
        tmp_path / "scan.nii.gz",
        "--n",
        "3",
        "--steps",
        "4",
        "--controls",
        "2",
        "-o",
        out,
        "--json",
    )
    assert said.code == 0, said.err
    found = said.json["cases"][0]
    assert found["image_output"] is not regressor
    rows = table(out / "samples.tsv")
    for row in rows:
        if row["accepted"] == "True":
            image = nibabel.load(out / "samples" / f"scan_sample-{row['sample']}.nii.gz")
            assert image.shape == values.shape and np.allclose(image.affine, affine)
            assert not np.allclose(image.get_fdata(), values)
    assert (out / "figures" / "scan_gallery.png").stat().st_size > 5_000


def test_a_case_that_cannot_be_searched_costs_the_others_nothing(
    regard: Regard, denoiser: Path, slice_file: Path, tmp_path: Path
) -> None:
    flat = tmp_path / "flat.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.full((40, 36, 1), 7.0, np.float32), np.diag([2.0, 2.0, 3.0, 1.0])), flat)
    out = tmp_path / "run"
    said = regard("invariances", denoiser, slice_file, flat, *QUICK, "-o", out)
    assert said.code == 3
    (failure,) = table(out / "failures.tsv")
    assert failure["case"] == "flat" and "one value" in failure["message"]
    assert {r["case"] for r in table(out / "samples.tsv")} == {"slice"}
    assert "Gallery: slice" in (out / "report.html").read_text()
    regard("invariances", denoiser, flat, *QUICK, "-o", tmp_path / "no").refused("one value")


def test_a_target_makes_a_number_of_an_image(regard: Regard, denoiser: Path, slice_file: Path, tmp_path: Path) -> None:
    said = regard(
        "invariances", denoiser, slice_file, "--n", "2", "-t", "voxel:15,15,0", "-o", tmp_path / "run", "--json"
    )
    assert said.code == 0, said.err
    found = said.json["cases"][0]
    assert not found["image_output"]
    assert found["tolerance"] == found["spread"]


def test_a_sampler_of_a_number(regard: Regard, model: Path, picture: Callable[..., Path], tmp_path: Path) -> None:
    fitted, out = tmp_path / "sampler", tmp_path / "run"
    cases = [picture("a.png"), picture("b.png", seed=1)]
    said = regard("invariances", model, *cases, "--fit", "--patch", "16", "--steps", "3", "-o", fitted)
    assert said.code == 0, said.err
    said = regard("invariances", model, cases[0], "--sampler", fitted, "--n", "3", "-o", out, "--json")
    assert said.code == 0, said.err
    found = said.json["cases"][0]
    assert not found["image_output"]
    for row in table(out / "samples.tsv"):
        assert (float(row["d_prime"]) * found["spread"] <= found["tolerance"] * 1.0001) == (row["accepted"] == "True")
    regard("invariances", model, cases[0], "--sampler", tmp_path, "-o", tmp_path / "no").refused("no sampler")
