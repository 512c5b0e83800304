"""What a reader of a report meets in Chromium: opening, sides, switching, thresholds, tables, two hundred cases."""

import subprocess
import threading

import numpy as np
import pytest
import torch
from chromium import command, drive, needs_browser
from markers import explanation

from regard.core.quantity import Quantity, Sign
from regard.core.volume import Volume
from regard.report import words
from regard.report.colours import paint, scale_of
from regard.report.display import convention
from regard.report.html import ReportCase, write_report

pytestmark = [needs_browser, pytest.mark.browser]

AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])

LOOK = """
    const viewer = document.querySelector(".viewer");
    const canvases = () => [...viewer.querySelectorAll("canvas[data-plane]")];
    const canvas = (plane) => canvases().find((c) => c.dataset.plane === plane);
    const pixel = (c, across, down) => [...c.getContext("2d").getImageData(Math.floor(across * c.width), Math.floor(down * c.height), 1, 1).data].slice(0, 3);
    const read = () => Object.fromEntries([...viewer.querySelectorAll(".reading div")].map((d) => [d.querySelector("dt").textContent, d.querySelector("dd").textContent]));
    const pressed = () => [...viewer.querySelectorAll(".choice button")].filter((b) => b.getAttribute("aria-pressed") === "true").map((b) => b.textContent);
    const press = async (name) => { [...viewer.querySelectorAll("button")].find((b) => b.textContent === name).click(); await wait(150); };
    const slide = async (name, value) => {
      const input = [...viewer.querySelectorAll("label")].find((l) => l.textContent.startsWith(name)).querySelector("input");
      input.value = value;
      input.dispatchEvent(new Event("input"));
      await wait(150);
      return input.parentElement.textContent;
    };
"""  # noqa: E501


def body() -> Volume:
    """A body of 100 HU in air, brighter at the patient's right; axes run right to left, back to front, up."""
    scan = torch.full((1, 16, 18, 12), -1000.0)
    scan[0, 3:13, 3:15, 2:10] = 100.0
    scan[0, 9:12, 6:12, 3:9] = 200.0  # x grows to the patient's right in RAS
    return Volume(scan, AFFINE, "HU")


def of(scan: Volume, places: dict, **facts):
    values = torch.zeros_like(scan.tensor)
    for place, value in places.items():
        values[(0, *place)] = value
    return explanation(scan.with_tensor(values), scan, **facts)


def test_a_report_opens_at_the_peak_inside_the_body_and_not_in_the_air(tmp_path):
    made = of(body(), {(1, 1, 1): 9.0, (10, 8, 5): 4.0, (5, 5, 5): -2.0})
    path = write_report(tmp_path / "r.html", "t", [ReportCase("c", [made])], meta={})
    script = """
    const sides = (pane) => [...pane.querySelectorAll(".around span")].map((s) => s.textContent);
    result = { read: read(), pressed: pressed(), letters: [...viewer.querySelectorAll(".pane")].map(sides) };
    """
    seen = drive(path, LOOK + script, tmp_path)
    assert seen["read"]["voxel (i, j, k)"] == "10, 8, 5"
    assert seen["read"]["gradient"] == "4 years per HU"
    assert seen["pressed"] == ["gradient"]
    assert seen["letters"] == [["R", "L", "A", "P"], ["R", "L", "S", "I"], ["A", "P", "S", "I"]]


@pytest.mark.parametrize(("name", "bright", "letter"), [("radiological", "left", "R"), ("neurological", "right", "R")])
def test_the_patients_right_lies_beside_its_letter(name, bright, letter, tmp_path):
    made = of(body(), {(7, 8, 5): 1e-9})
    with convention(name):
        path = write_report(tmp_path / "r.html", "t", [ReportCase("c", [made])], meta={})
    script = """
    await press("image alone");
    const c = canvas("axial");
    const level = (from, to) => {
      let sum = 0;
      for (let x = from; x < to; x += 0.02) sum += pixel(c, x, 0.45)[0];
      return sum;
    };
    const around = c.parentElement;
    result = { left: level(0.05, 0.48), right: level(0.52, 0.95),
      letters: { left: around.querySelector(".w").textContent, right: around.querySelector(".e").textContent },
      hint: viewer.querySelector(".hint").textContent };
    """
    seen = drive(path, LOOK + script, tmp_path)
    assert (seen["left"] > seen["right"]) == (bright == "left")
    assert seen["letters"][bright] == letter
    other = "right" if bright == "left" else "left"
    assert f"The patient's left is at the {other} of the picture" in seen["hint"]


def test_methods_are_switched_and_stand_side_by_side_at_one_place(tmp_path):
    scan = body()
    maps = [of(scan, {(10, 8, 5): 4.0}), of(scan, {(5, 8, 5): -4.0}, method="smoothgrad")]
    path = write_report(tmp_path / "r.html", "t", [ReportCase("c", maps)], meta={})
    script = """
    const first = canvas("axial").toDataURL();
    const before = read();
    await press("smoothgrad");
    const [second, chosen] = [canvas("axial").toDataURL(), pressed()];
    await press("side by side");
    const panels = [...viewer.querySelectorAll(".panel h5")].map((h) => h.firstChild.textContent);
    const both = canvases().filter((c) => c.dataset.plane === "axial").map((c) => c.getAttribute("aria-label"));
    const box = canvases()[0].getBoundingClientRect();
    const other = canvases().find((c) => c.getAttribute("aria-label") === "axial, smoothgrad");
    const still = other.toDataURL();
    canvases()[0].dispatchEvent(new PointerEvent("pointerdown", { clientX: box.left + box.width / 4, clientY: box.top + box.height / 4, bubbles: true }));
    await wait(150);
    await press("gradient");
    result = { changed: first !== second, chosen, panels, both, linked: still !== other.toDataURL(), before, again: pressed() };
    """  # noqa: E501
    seen = drive(path, LOOK + script, tmp_path)
    assert seen["changed"]
    assert seen["chosen"] == ["smoothgrad"]
    assert seen["panels"] == ["gradient", "smoothgrad", "image alone"]
    assert seen["both"] == ["axial, gradient", "axial, smoothgrad", "axial, image alone"]
    assert seen["linked"]
    assert seen["again"] == ["gradient"]
    assert (seen["before"]["gradient"], seen["before"]["smoothgrad"]) == ("4 years per HU", "0 years per HU")


def test_what_is_below_the_threshold_is_hidden_at_the_scale_of_the_figures(tmp_path):
    share = np.kron([[0.2, 0.49], [0.51, 1.0]], np.ones((12, 12)))
    relevance = Volume.from_array(torch.as_tensor(4.0 * share, dtype=torch.float32))
    made = explanation(relevance, Volume.from_array(torch.full((24, 24), 0.5)))
    path = write_report(tmp_path / "r.html", "t", [ReportCase("c", [made])], meta={})
    script = """
    await press("gradient");
    const told = await slide("hide below", 0.5);
    const c = canvas("picture");
    result = { told, pixels: [[0.2, 0.2], [0.7, 0.2], [0.2, 0.7], [0.7, 0.7]].map(([x, y]) => pixel(c, x, y)) };
    """
    seen = drive(path, LOOK + script, tmp_path)
    full = scale_of(made)
    assert full == 4.0
    assert seen["told"] == f"hide below50 % of scale ({words.number(0.5 * full, 3)} years per HU)"
    base = np.full((1, 4), 0.5)
    drawn = np.round(255 * paint(base, np.array([[0.0, 0.0, 2.04, 4.0]]), full, signed=True))[0]
    assert np.abs(np.array(seen["pixels"]) - drawn).max() <= 1


def test_two_hundred_cases_are_drawn_as_they_are_scrolled_to(tmp_path):
    scan = Volume(torch.rand(1, 8, 8, 6), AFFINE)
    cases = [ReportCase(f"case-{n}", [of(scan, {(n % 8, 4, 3): 1.0})]) for n in range(200)]
    path = write_report(tmp_path / "r.html", "t", cases, meta={})
    script = """
    const viewers = [...document.querySelectorAll(".viewer")];
    const drawn = () => viewers.filter((v) => v.querySelector("canvas[data-plane]")).length;
    const before = drawn();
    viewers[150].scrollIntoView();
    while (!viewers[150].querySelector("canvas[data-plane]")) await wait(50);
    result = { n: viewers.length, before, after: drawn(), reading: viewers[150].querySelector(".reading").textContent,
      folded: [...document.querySelectorAll("details.about")].filter((d) => d.open).length };
    """
    seen = drive(path, script, tmp_path)
    assert seen["n"] == 200
    assert 1 <= seen["before"] < 20
    assert seen["before"] < seen["after"] < 60
    assert "6, 4, 3" in seen["reading"]
    assert seen["folded"] == 1


def test_a_long_table_is_sorted_by_value_and_filtered_by_words(tmp_path):
    values = [3.0, -1e-7, 20.0, 0.5, float("nan"), 100.0, -5.0, 7.0, 1e-3, 2.0]
    rows = [{"map": f"m{n}", "value": value} for n, value in enumerate(values)]
    path = write_report(tmp_path / "r.html", "t", [], meta={}, scores=rows)
    script = """
    const table = document.querySelector("main table");
    const names = () => [...table.tBodies[0].rows].filter((r) => !r.hidden).map((r) => r.cells[0].textContent);
    const heads = [...table.tHead.rows[0].cells];
    heads[1].querySelector("button").click();
    const up = [names(), heads[1].getAttribute("aria-sort")];
    heads[1].querySelector("button").click();
    const down = names();
    const find = document.querySelector("input[type=search]");
    find.value = "M3";
    find.dispatchEvent(new Event("input"));
    const said = document.querySelector(".tools").textContent;
    result = { up, down, found: names(), text: tables.text(table).split("\\n")[0], said };
    """
    seen = drive(path, script, tmp_path)
    order = [f"m{n}" for n in sorted((n for n in range(10) if n != 4), key=lambda n: values[n])]
    assert seen["up"] == [[*order, "m4"], "ascending"]
    assert seen["down"] == ["m4", *order[::-1]]
    assert seen["found"] == ["m3"]
    assert seen["text"] == "map\tvalue"
    assert "1 of 10 rows" in seen["said"]


@pytest.mark.slow
def test_the_3d_page_shows_the_colours_of_the_figures(tmp_path):
    """In Chromium's software WebGL; each colour must fill at least the place of one block."""
    pytest.importorskip("nilearn", reason="the extra 'studies' is not installed")
    import matplotlib.image

    from regard.report.view import make_server

    share = np.array([[0.25, 0.5, 1.0], [-0.25, -0.5, -1.0], [0.0, 0.75, -0.75]])
    values = np.repeat(np.kron(share, np.ones((10, 10)))[..., None], 30, -1)
    scan = Volume(torch.full((1, 30, 30, 30), 40.0), np.diag([2.0, 2, 2, 1]), "HU")
    scan.tensor[0, ::29] = torch.linspace(0, 80, 30)
    made = explanation(
        scan.with_tensor(torch.as_tensor(values, dtype=torch.float32)[None]), scan,
        quantity=Quantity.EFFECT, sign=Sign.RAISED,
    )  # fmt: skip
    run = tmp_path / "run"
    (run / "maps").mkdir(parents=True)
    made.save(str(run / "maps" / "case-1_desc-gradient_relevance.nii.gz"))
    from regard.io import save_volume

    save_volume(scan, tmp_path / "scan.nii.gz")
    server, url = make_server(run, scans={"case-1": tmp_path / "scan.nii.gz"})
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        picture = tmp_path / "page.png"
        parts = command(tmp_path / "profile", "--use-gl=angle", "--use-angle=swiftshader", window=(1200, 1300))
        parts = [p for p in parts if p != "--disable-gpu"] + ["--enable-unsafe-swiftshader", f"--screenshot={picture}"]
        subprocess.run([*parts, f"{url}volume/case-1_desc-gradient_relevance.html"], capture_output=True, timeout=120)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    seen = np.round(255 * matplotlib.image.imread(picture)[..., :3]).reshape(-1, 3)
    if len(np.unique(seen, axis=0)) < 50:
        pytest.skip(reason="this Chromium draws no WebGL, so that the page of a volume stays empty")
    grey = np.full(share.shape, 0.5)
    for colour in np.round(255 * paint(grey, share, scale_of(made), signed=True)).reshape(-1, 3):
        near = (np.abs(seen - colour).max(-1) <= 4).sum()
        assert near > 1000, (colour, near)
