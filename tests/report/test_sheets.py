"""The pages of `regard view` that show the maps of a case, of a population, and of a sample with one viewer."""

import json
import re

import numpy as np
import pytest
import torch
from markers import explanation

from regard.core.quantity import Quantity
from regard.core.volume import Volume
from regard.io import save_volume
from regard.report.colours import scale_of
from regard.report.embed import unpack
from regard.report.sheets import sheet, stems, write_sheet
from regard.report.view import Site, listed_files

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


@pytest.fixture
def scan():
    return Volume(torch.arange(8.0 * 9 * 6).reshape(1, 8, 9, 6), AFFINE, "HU")


@pytest.fixture
def run(tmp_path, scan):
    """Two cases of two maps each, the second weaker, and the network's own grid beside them."""
    folder = tmp_path / "run"
    (folder / "maps").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for case in ("a", "a_desc-b"):
        for method, size in (("occlusion", 1.0), ("rise", 3.0)):
            values = scan.with_tensor(torch.as_tensor(size * rng.normal(size=(1, *scan.shape)), dtype=torch.float32))
            made = explanation(values, scan, case=case, method=method, quantity=Quantity.EFFECT, unit="years")
            made.save(str(folder / "maps" / f"{case}_desc-{method}_relevance.nii.gz"))
    save_volume(scan, tmp_path / "a.nii.gz")
    return folder


def scenes(page: bytes) -> list[dict]:
    found = re.findall(r'<script type="application/json" id="scene-\d+">(.*?)</script>', page.decode(), re.DOTALL)
    return [json.loads(one) for one in found]


def test_a_case_has_all_its_maps_and_no_others_over_its_image_at_one_scale(run, scan, tmp_path):
    files = listed_files(run)
    assert {kind: set(names) for kind, names in stems(files).items()} == {"maps": {"a", "a_desc-b"}}
    (shown,) = scenes(write_sheet(sheet("maps", "a", files, {"a": tmp_path / "a.nii.gz"})))
    assert [m["name"] for m in shown["maps"]] == ["occlusion", "rise"]
    levels = unpack(shown["image"]["data"], "u2", shown["shape"])
    assert levels.max() - levels.min() == scan.tensor.max()
    from regard.io import read_map

    stored = [read_map(run / "maps" / f"a_desc-{m}_relevance.json").explanation(scan) for m in ("occlusion", "rise")]
    expected = max(scale_of(m) for m in stored)
    assert [m["scale"] for m in shown["maps"]] == pytest.approx([expected] * 2)


def test_without_its_image_a_case_says_so(run):
    page = sheet("maps", "a", listed_files(run), {})
    assert "without its image" in page.shown[0].title
    assert b"without its image" in write_sheet(page)


def test_sheets_are_served_closed_and_unreadable_ones_are_not(run, tmp_path):
    site = Site(run, "t", {"a": tmp_path / "a.nii.gz"})
    kind, policy, page = site.answer("sheet/maps/a.html")
    assert (kind, policy) == ("text/html; charset=utf-8", "report")
    assert b"occlusion" in page
    assert site.answer("sheet/maps/none.html") is None
    assert site.answer("sheet/figures/a.html") is None
    assert b'href="sheet/maps/a.html"' in site.answer("")[2]
    (run / "maps" / "a_desc-rise_relevance.json").write_text("{}")
    assert site.answer("sheet/maps/a.html") is None


def test_a_picture_that_is_not_served_is_drawn_under_its_maps(tmp_path):
    from PIL import Image

    pixels = np.arange(120, dtype=np.uint8).reshape(10, 12)
    Image.fromarray(pixels).save(tmp_path / "p.png")
    from regard.io import read

    picture = read(tmp_path / "p.png")
    run = tmp_path / "run"
    (run / "maps").mkdir(parents=True)
    made = explanation(picture.with_tensor(torch.randn(1, *picture.shape)), picture, case="p")
    made.save(str(run / "maps" / "p_desc-gradient_relevance.nii.gz"))
    site = Site(run, "t", images={"p": tmp_path / "p.png"})
    (shown,) = scenes(site.answer("sheet/maps/p.html")[2])
    levels = unpack(shown["image"]["data"], "u2", shown["shape"])
    np.testing.assert_array_equal(np.sort(levels.ravel()), np.arange(120))
    assert site.answer("scans/p.png") is None


def test_population_maps_lie_over_the_mean_image_with_the_regions_below(tmp_path, scan):
    folder = tmp_path / "cohort"
    (folder / "population").mkdir(parents=True)
    for word, values in (("mean", scan.tensor - 100), ("t", scan.tensor / 9), ("n", scan.tensor), ("std", scan.tensor)):
        save_volume(scan.with_tensor(values), folder / "population" / f"desc-g_{word}.nii.gz")
    save_volume(scan, folder / "population" / "image_mean.nii.gz")
    said = {"map": "g", "quantity": "score", "unit": "a.u.", "sign": "unsigned", "t": "the null map", "n_cases": 7}
    (folder / "population" / "desc-g.json").write_text(json.dumps(said))
    (folder / "regions.tsv").write_text("region\tmean\nhippo\t0.25\n")
    page = write_sheet(sheet("population", "all", listed_files(folder), {}))
    (shown,) = scenes(page)
    assert [m["name"] for m in shown["maps"]] == ["g: mean of the cases", "g: t"]
    assert "t against: the null map" in [m["sign"] for m in shown["maps"]]
    assert b"hippo" in page


def test_a_sample_is_shown_with_what_was_changed(tmp_path, scan):
    folder = tmp_path / "invariances"
    (folder / "samples").mkdir(parents=True)
    changed = scan.tensor.clone()
    changed[0, 3, 4, 2] += 50
    save_volume(scan.with_tensor(changed), folder / "samples" / "c_sample-1.nii.gz")
    save_volume(scan, tmp_path / "c.nii.gz")
    (shown,) = scenes(write_sheet(sheet("samples", "c_sample-1", listed_files(folder), {"c": tmp_path / "c.nii.gz"})))
    (change,) = shown["maps"]
    values = unpack(change["data"], "f2", shown["shape"]).astype(float) * change["step"]
    assert np.count_nonzero(values) == 1
    assert values.max() == 50
    np.testing.assert_allclose(np.array(shown["index"]) @ [*shown["start"], 1], [3, 4, 2], atol=1e-6)
    assert shown["output"]["name"] == "x\u0303, the sample"
    alone = sheet("samples", "c_sample-1", listed_files(folder), {})
    assert "does not know" in alone.shown[0].title
    assert len(scenes(write_sheet(alone))) == 1
