import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from markers import CORNER, SHAPE, STORED, explanation, marker, stored

from regard.core.errors import InputError
from regard.core.quantity import Quantity
from regard.core.volume import Volume
from regard.report.colours import common_scales
from regard.report.display import display_volume
from regard.report.embed import Scene, fit, pack, unpack
from regard.report.html import ReportCase, write_report

MARKUP = "<img src=x onerror=alert(1)></script><script>alert(2)</script>&\u2028"
SCALES = {(Quantity.SENSITIVITY, "years per HU"): 1.0}


class Page(HTMLParser):
    """Tags, texts and the embedded data of a page, as a browser's parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.text, self._json = [], [], "", None
        self.data = {"scenes": []}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        embedded = tag == "script" and dict(attrs).get("type") == "application/json"
        self._json = dict(attrs)["id"] if embedded else None

    def handle_endtag(self, tag):
        self._json = None

    def handle_data(self, data):
        if self._json:
            scene = self._json.startswith("scene-")
            self.data["scenes"] += [json.loads(data)] if scene else []
        elif self.tags and self.tags[-1] not in ("script", "style"):
            self.text += data


def read(path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def map_of(scene, number=0) -> np.ndarray:
    found = scene["maps"][number]
    return unpack(found["data"], "f2", scene["shape"]).astype(float) * found["step"]


def image_of(scene) -> np.ndarray:
    levels = unpack(scene["image"]["data"], "u2", scene["shape"]).astype(float)
    return scene["image"]["low"] + scene["image"]["step"] * np.where(levels == 65535, np.nan, levels)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f2"])
def test_packed_arrays_come_back(dtype):
    array = np.random.default_rng(0).integers(0, 200, (3, 5, 2)).astype(dtype)
    np.testing.assert_array_equal(unpack(pack(array), dtype, array.shape), array)


@pytest.mark.parametrize(("order", "flips"), STORED[::7])
def test_marker_in_the_page_lies_at_its_corner_its_voxel_and_its_millimetres(tmp_path, order, flips):
    relevance = stored(marker(), order, flips, 14.0)
    page = read(write_report(tmp_path / "r.html", "t", [ReportCase("c", [explanation(relevance)])], meta={}))
    (scene,) = page.data["scenes"]
    corner = [SHAPE[0] - 1 - CORNER[0], SHAPE[1] - 1 - CORNER[1], SHAPE[2] - 1 - CORNER[2]]
    assert np.argwhere(map_of(scene) == 3).tolist() == [corner]
    assert scene["start"] == corner
    np.testing.assert_allclose(map_of(scene), display_volume(relevance).tensor[0].numpy())
    voxel = np.array(scene["index"]) @ [*corner, 1]
    np.testing.assert_allclose(voxel, np.argwhere(relevance.tensor[0].numpy() == 3)[0], atol=1e-9)
    truth = stored(marker(), (0, 1, 2), (False,) * 3, 14.0).grid.to_world(CORNER)
    np.testing.assert_allclose(np.array(scene["mm"]) @ [*corner, 1], truth, atol=1e-9)


def test_values_survive_and_nan_is_not_zero():
    values = torch.randn(1, 6, 5, 4) * torch.logspace(-4, 0, 4)
    values[0, 0, 0, 0], values[0, 1, 1, 1] = torch.nan, 0.0
    scan = Volume(torch.randint(-1000, 2000, (1, 6, 5, 4)).float(), np.eye(4), "HU")
    scene = Scene([explanation(scan.with_tensor(values), scan)], SCALES).build()
    expected = display_volume(scan.with_tensor(values)).tensor[0].numpy()
    np.testing.assert_allclose(map_of(scene), expected, rtol=1e-3)
    assert np.isnan(map_of(scene)).sum() == 1
    assert (map_of(scene) == 0).sum() == 1
    np.testing.assert_array_equal(image_of(scene), display_volume(scan).tensor[0].numpy())


def test_image_of_fractions_keeps_its_range_to_a_four_thousandth():
    scan = Volume(torch.rand(1, 9, 8, 7) * 3 - 1, np.eye(4))
    scene = Scene([explanation(scan, scan)], SCALES).build()
    assert np.abs(image_of(scene) - display_volume(scan).tensor[0].numpy()).max() <= 3 / 4095


def test_flat_image_and_map_of_zeros_are_embedded():
    scan = Volume(torch.full((1, 4, 4, 4), 0.3), np.eye(4))
    scene = Scene([explanation(scan.with_tensor(torch.zeros(1, 4, 4, 4)), scan)], SCALES).build()
    np.testing.assert_allclose(image_of(scene), 0.3, rtol=1e-6)
    assert (map_of(scene) == 0).all()


def test_maps_of_one_quantity_and_unit_have_one_scale_and_scores_their_own():
    scan = Volume(torch.rand(1, 8, 8, 8), np.eye(4))
    maps = [
        explanation(scan.with_tensor(torch.randn(1, 8, 8, 8) * s), scan, unit=u, quantity=q, method=m)
        for s, u, q, m in [
            (1, "years", Quantity.EFFECT, "occlusion"),
            (5, "years", Quantity.EFFECT, "lime"),
            (9, "years", Quantity.CONTRIBUTION, "integrated-gradients"),
            (9, "a.u.", Quantity.SCORE, "grad-cam"),
            (2, "a.u.", Quantity.SCORE, "crm"),
        ]
    ]
    scales = [m["scale"] for m in Scene(maps, common_scales(maps)).build()["maps"]]
    assert scales[0] == scales[1]
    assert scales[2] > scales[1]
    assert scales[3] > 2 * scales[4]


def test_unresolved_truth_and_output_lie_on_the_scans_grid():
    scan = Volume(torch.rand(1, 8, 6, 4), np.diag([1.0, 2.0, 3.0, 1.0]))
    error = torch.zeros(1, 8, 6, 4)
    error[0, 7, 5, 3] = 9.0
    relevance = scan.with_tensor(torch.ones(1, 8, 6, 4))
    truth = torch.zeros(1, 8, 6, 4)
    truth[0, 1, 2, 3] = 1.0
    finer = Volume(torch.full((1, 16, 12, 8), 4.0), np.diag([0.5, 1.0, 1.5, 1.0]), "HU")
    e = explanation(relevance, scan, standard_error=scan.with_tensor(error))
    scene = Scene([e], SCALES, {"truth": scan.with_tensor(truth)}, finer).build()
    unresolved = unpack(scene["maps"][0]["unresolved"], "u1", scene["shape"])
    assert np.argwhere(unresolved).tolist() == [[0, 0, 0]]
    (outline,) = scene["outlines"]
    assert (outline["name"], outline["shown"]) == ("truth", False)
    assert np.argwhere(unpack(outline["data"], "u1", scene["shape"])).tolist() == [[6, 3, 0]]
    output = scene["output"]
    levels = unpack(output["data"], "u2", scene["shape"])
    assert (output["low"] + output["step"] * levels == 4.0).all()
    assert output["unit"] == "HU"


def test_labels_of_a_segmentation_are_never_averaged():
    scan = Volume(torch.rand(1, 9, 6, 4), np.eye(4))
    labels = scan.with_tensor(torch.randint(0, 2, scan.tensor.shape).float() * 17, unit="label")
    e = explanation(scan, scan)
    for factor in (1, 2):
        scene = Scene([e], common_scales([e]), output=labels).build(factor)
        output = scene["output"]
        shown = output["low"] + output["step"] * unpack(output["data"], "u2", scene["shape"])
        assert set(np.unique(shown)) == {0, 17}


def test_names_with_markup_stay_text(tmp_path):
    relevance = Volume.from_array(torch.randn(20, 30))
    e = explanation(
        relevance,
        case=MARKUP,
        label=MARKUP,
        unit=MARKUP,
        warnings=(MARKUP,),
        target=MARKUP,
        notes={MARKUP: MARKUP},
        made={MARKUP: {MARKUP: MARKUP}},
        verdict=MARKUP,
        reference={"label": MARKUP, "value": 1.0},
    )
    rows = [{MARKUP: MARKUP}]
    path = write_report(
        tmp_path / "r.html",
        MARKUP,
        [ReportCase(MARKUP, [e], rows=rows)],
        meta={MARKUP: MARKUP},
        evidence=rows,
        scores=rows,
        verdicts={MARKUP: {"verdict": MARKUP, "reasons": [MARKUP], "scope": MARKUP}},
    )
    page = read(path)
    assert page.tags.count("script") == 3  # colours, one scene, the script
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("<img src=x onerror=alert(1)></script><script>alert(2)</script>") >= 15
    assert page.data["scenes"][0]["maps"][0]["name"] == MARKUP
    assert "<img" not in path.read_text(encoding="utf-8")


def test_page_loads_nothing_and_runs_its_own_script_alone(tmp_path):
    page = read(write_report(tmp_path / "r.html", "t", [], meta={}))
    policy = next(v for n, v in page.attributes if n == "content" and "default-src" in v)
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "unsafe" not in policy
    assert not [v for n, v in page.attributes if n in ("src", "href") and not v.startswith("#")]


def test_words_beside_the_maps(tmp_path):
    relevance = Volume.from_array(torch.ones(10, 10))
    e = explanation(
        relevance,
        quantity=Quantity.CONTRIBUTION,
        unit="years",
        label="ig, 50 steps",
        reference={"label": "a younger scan", "value": 55.5},
        completeness_error=0.25,
        outside=1.5,
        warnings=("spacing 9 mm lies outside the card's range",),
        made={"seed": 17},
        verdict="undetermined",
    )
    path = write_report(
        tmp_path / "r.html",
        "Ages",
        [ReportCase("sub-01", [e])],
        meta={"model": "sfcn"},
        scores=[{"method": "ig", "auc": 0.75}],
    )
    text = read(path).text
    for said in [
        "Ages",
        "sub-01",
        "ig, 50 steps",
        "61.25 years",
        "output:0",
        "a younger scan, output there 55.5 years",
        "The map sums to 100 years",
        "1.5 years fell on padding",
        "completeness error 0.25 years",
        "sfcn",
        "0.75",
        "positive: raising the intensity here raises the output",
        "spacing 9 mm lies outside",
        "17",
        "undetermined",
        "what they do not say",
        "have not been weighed yet",
        "Research use only; not a diagnostic device.",
    ]:
        assert said in text, said


def test_page_keeps_its_size_by_coarser_blocks(tmp_path):
    cases = []
    for n in range(3):
        scan = Volume(torch.randn(1, 48, 50, 52), np.eye(4))
        cases.append(ReportCase(f"c{n}", [explanation(scan.with_tensor(torch.randn(1, 48, 50, 52)), scan)]))
    whole = write_report(tmp_path / "whole.html", "t", cases[:1], meta={})
    assert read(whole).data["scenes"][0]["block"] == 1
    path = write_report(tmp_path / "r.html", "t", cases, meta={}, max_bytes=400_000)
    assert path.stat().st_size <= 400_000
    scenes = read(path).data["scenes"]
    assert all(s["block"] > 1 for s in scenes)
    middle = np.array(scenes[0]["mm"]) @ [*[(n - 1) / 2 for n in scenes[0]["shape"]], 1]
    assert np.abs(middle - [23.5, 24.5, 25.5]).max() <= scenes[0]["block"]


def test_images_that_never_fit_are_named(tmp_path):
    scan = Volume(torch.randn(1, 60, 60, 60), np.eye(4))
    cases = [ReportCase("big", [explanation(scan, scan)])]
    path = write_report(tmp_path / "r.html", "t", cases, meta={}, max_bytes=60_000)
    assert path.stat().st_size <= 60_000
    page = read(path)
    assert page.data["scenes"] == []
    assert "they are in the folder maps beside it" in page.text
    with pytest.raises(InputError, match="words take"):
        write_report(tmp_path / "r.html", "t", cases, meta={}, max_bytes=1000)
    assert fit([], 10) == []


def test_inputs_of_one_case_have_a_viewer_each(tmp_path):
    first, second = Volume(torch.rand(1, 8, 8, 8), np.eye(4)), Volume(torch.rand(1, 6, 6, 6), np.eye(4))
    maps = [
        explanation(first, first, input="t1", method="a"),
        explanation(second, second, input="t2", method="a"),
        explanation(first, first, input="t1", method="b"),
    ]
    scenes = read(write_report(tmp_path / "r.html", "t", [ReportCase("c", maps)], meta={})).data["scenes"]
    assert [(s["shape"][0], [m["name"] for m in s["maps"]]) for s in scenes] == [(8, ["a", "b"]), (6, ["a"])]
