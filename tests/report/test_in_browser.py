"""The page as a browser shows it, from a file, driven by a script put into a copy of it."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import torch
from markers import CORNER, SHAPE, explanation, marker, stored

from regard.core.volume import Volume
from regard.report.html import ReportCase, write_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

DRIVER = """
<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  while (document.documentElement.dataset.ready !== "true") await wait(20);
  await wait(300);
  const viewer = document.querySelector(".viewer");
  const all = () => [...viewer.querySelectorAll(".pane canvas")];
  const pictures = () => all().map((c) => c.toDataURL());
  const colours = all().map((c) => {
    const pixels = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
    return new Set(new Uint32Array(pixels.buffer)).size;
  });
  const read = () => Object.fromEntries([...viewer.querySelectorAll(".reading div")].map(
    (d) => [d.querySelector("dt").textContent, d.querySelector("dd").textContent]));
  const click = (name, across, down) => {
    const canvas = viewer.querySelector(`canvas[data-plane="${name}"]`);
    const box = canvas.getBoundingClientRect();
    const at = { clientX: box.left + across * box.width, clientY: box.top + down * box.height, bubbles: true };
    canvas.dispatchEvent(new PointerEvent("pointerdown", at));
    canvas.dispatchEvent(new PointerEvent("pointerup", at));
  };
  const before = pictures();
  const start = read();
  for (const [name, across, down] of CLICKS) { click(name, across, down); await wait(200); }
  const moved = pictures().map((p, i) => p !== before[i]);
  const result = { colours, moved, start, read: read(), planes: all().map((c) => c.dataset.plane),
    requests: performance.getEntriesByType("resource").map((e) => e.name) };
  const shown = Object.assign(document.createElement("pre"), { id: "result", textContent: JSON.stringify(result) });
  document.body.replaceChildren(shown);
})();
</script></body>
"""


def browse(path, tmp_path) -> subprocess.CompletedProcess:
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=1200,900", "--virtual-time-budget=15000", "--enable-logging=stderr", "--dump-dom"]
    return subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)


def drive(path, clicks, tmp_path) -> dict:
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text(encoding="utf-8"))
    copy = path.with_name("driven.html")
    copy.write_text(text.replace("</body>", DRIVER.replace("CLICKS", json.dumps(clicks))), encoding="utf-8")
    found = re.search(r'<pre id="result">(.*?)</pre>', browse(copy, tmp_path).stdout, re.DOTALL)
    assert found, "the page did not become ready"
    return json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def test_volume_is_drawn_and_its_reading_follows_a_click(tmp_path):
    relevance = stored(marker(), (1, 2, 0), (True, False, False), 11.0)
    noise = relevance.with_tensor(torch.rand(relevance.tensor.shape))
    other = explanation(noise, noise, method="smoothgrad")
    path = write_report(tmp_path / "r.html", "t", [ReportCase("c", [explanation(relevance, noise), other])], meta={})
    column, row, slice_ = (n - 1 - c for n, c in zip(SHAPE, CORNER, strict=True))
    clicks = [
        ["axial", 0.05, 0.05],
        ["coronal", 0.95, (slice_ + 0.5) / SHAPE[2]],
        ["axial", (column + 0.5) / SHAPE[0], (row + 0.5) / SHAPE[1]],
    ]
    seen = drive(path, clicks[:2], tmp_path)
    assert seen["planes"] == ["axial", "coronal", "sagittal"]
    assert min(seen["colours"]) > 20
    assert all(seen["moved"])
    assert seen["requests"] == []
    seen = drive(path, clicks, tmp_path)
    world = stored(marker(), (0, 1, 2), (False,) * 3, 11.0).grid.to_world(CORNER)
    voxel = np.argwhere(relevance.tensor[0].numpy() == 3)[0]
    assert seen["read"]["voxel (i, j, k)"] == ", ".join(map(str, voxel))
    shown = [float(v.replace("\N{MINUS SIGN}", "-")) for v in seen["read"]["position (x, y, z), RAS mm"].split(", ")]
    np.testing.assert_allclose(shown, world, atol=0.051)
    assert seen["read"]["gradient"] == "3 years per HU"
    assert float(seen["read"]["image"].split()[0]) == pytest.approx(noise.tensor[0][tuple(voxel)].item(), abs=1e-3)


def test_picture_shows_all_maps_side_by_side_and_reads_row_and_column(tmp_path):
    values = torch.zeros(40, 60)
    values[9, 33] = 1.0
    values[30:] = torch.nan
    picture = Volume.from_array(torch.rand(40, 60))
    maps = [explanation(Volume.from_array(values * s), picture, method=m) for s, m in ((1, "a"), (-2, "b"))]
    path = write_report(tmp_path / "r.html", "t", [ReportCase("c", maps, output=picture)], meta={})
    seen = drive(path, [["picture", 33.5 / 60, 35.5 / 40], ["picture", 33.5 / 60, 9.5 / 40]], tmp_path)
    assert len(seen["planes"]) == 4
    assert seen["read"]["column, row"] == "33, 9"
    assert (seen["read"]["a"], seen["read"]["b"]) == ("1 years per HU", "\N{MINUS SIGN}2 years per HU")
    unseen = drive(path, [["picture", 33.5 / 60, 35.5 / 40]], tmp_path)
    assert unseen["read"]["a"] == "not seen by the network"


def test_page_runs_under_its_own_policy_with_markup_in_its_names(tmp_path):
    name = "<img src=x onerror=alert(1)></script><script>document.title='hostile'</script>"
    relevance = Volume.from_array(torch.randn(30, 30))
    path = write_report(tmp_path / "r.html", "t", [ReportCase(name, [explanation(relevance, label=name)])], meta={})
    shown = browse(path, tmp_path)
    assert 'data-ready="true"' in shown.stdout
    assert "<title>t</title>" in shown.stdout
    assert "<img" not in shown.stdout
    assert "cannot be shown" not in shown.stdout.split("<script>")[0]
    assert "CONSOLE" not in shown.stderr
