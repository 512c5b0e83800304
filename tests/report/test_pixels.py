"""One transfer function from number to colour: figures, page, 3D page and notebook's cell, pixel by pixel."""

from html import unescape

import matplotlib
import numpy as np
import pytest
import torch
from chromium import drive, evaluate, needs_browser, needs_script
from markers import explanation

from regard.core.quantity import Sign
from regard.core.volume import Volume
from regard.report.colours import GROUND, colormap, look, paint, table
from regard.report.html import ReportCase, static, write_report

matplotlib.use("Agg")

ANSWER = """
const answer = ({ grey, share, hidden, columns, look }) => {
  const numbers = (list) => Float64Array.from(list, (v) => (v === null ? NaN : v));
  return [...colours.paint(numbers(grey), share && numbers(share), look, { hidden, columns })];
};
"""


def plain(array):
    return [None if not np.isfinite(v) else float(v) for v in np.ravel(array)]


def painted(base, share, signed, tmp_path, *, resolved=None, columns=0):
    given = {
        "grey": plain(base),
        "share": None if share is None else plain(share),
        "hidden": None if resolved is None else [int(not v) for v in resolved.ravel()],
        "columns": columns,
        "look": None if share is None else look(signed),
    }
    pixels = evaluate(static("colours.js") + ANSWER, given, tmp_path)
    return np.reshape(pixels, (*base.shape, 4))


@needs_script
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("resolved", [True, False])
def test_the_page_paints_every_pixel_as_the_figures_do(signed, resolved, tmp_path):
    rng = np.random.default_rng(3)
    base = rng.uniform(-0.2, 1.2, (40, 50))
    share = rng.normal(0, 0.7, (40, 50))
    share[:6, :9] = np.nan
    base[20, :5] = np.nan
    # Zero, both ends, beyond them, and every row of the table with its borders.
    share.ravel()[1000 : 1000 + 255] = np.linspace(-1, 1, 255)
    share.ravel()[1300 : 1300 + 254] = (np.arange(254) + 0.5) / 127 - 1
    share.ravel()[1600:1604] = [0.0, 1.0, -1.0, 9.0]
    sure = rng.uniform(size=share.shape) > 0.3 if resolved else None
    expected = np.round(255 * paint(base, share, 1.0, signed=signed, resolved=sure))
    pixels = painted(base, share, signed, tmp_path, resolved=sure, columns=50)
    np.testing.assert_array_equal(pixels[..., :3], expected)
    assert (pixels[..., 3] == 255).all()


@needs_script
def test_the_image_alone_is_grey_and_nothing_else(tmp_path):
    base = np.linspace(-0.5, 1.5, 30).reshape(5, 6)
    pixels = painted(base, None, True, tmp_path)
    np.testing.assert_array_equal(pixels[..., 0], np.round(255 * np.clip(base, 0, 1)))
    assert (pixels[..., :1] == pixels[..., :3]).all()


@needs_script
@pytest.mark.parametrize("signed", [True, False])
def test_the_colour_map_of_a_3d_viewer_is_the_table(signed, tmp_path):
    script = static("colours.js") + "const answer = ({ look, sign }) => colours.half(look, sign);"
    for sign in (1, -1) if signed else (1,):
        half = evaluate(script, {"look": look(signed), "sign": sign}, tmp_path)
        share = sign * np.arange(256) / 255
        rows = np.floor((share + 1) * 127 + 0.5 if signed else share * 254 + 0.5).astype(int)
        np.testing.assert_array_equal(np.stack([half[c] for c in "RGBA"], -1), table(signed)[rows])
        assert half["I"] == list(range(256))


@pytest.mark.parametrize("signed", [True, False])
def test_a_bar_shows_the_colours_that_are_drawn_over_its_ground(signed):
    values = np.linspace(-1 if signed else 0, 1, 255)[None]
    for ground in (GROUND, 1.0):
        drawn = paint(np.full(values.shape, ground), values, 1.0, signed=signed)[0]
        np.testing.assert_allclose(colormap(signed, ground=ground)(np.arange(255))[:, :3], drawn, atol=1e-12)


def blocks(values, side=10):
    return np.kron(np.asarray(values, float), np.ones((side, side)))


CANVAS = """
    const viewer = document.querySelector(".viewer");
    const canvas = viewer.querySelector('canvas[aria-label$="gradient"]');
    const context = canvas.getContext("2d");
    const [rows, columns] = SHAPE;
    result = [];
    for (let r = 0; r < rows; r += 1) for (let c = 0; c < columns; c += 1) {
      // Off the middle, where the cross may lie.
      const [x, y] = [((c + 0.35) / columns) * canvas.width, ((r + 0.35) / rows) * canvas.height];
      result.push([...context.getImageData(Math.round(x), Math.round(y), 1, 1).data].slice(0, 3));
    }
"""


@needs_browser
@pytest.mark.parametrize("sign", [Sign.RAISES, Sign.UNSIGNED])
@pytest.mark.parametrize("place", ["report", "cell"])
def test_canvas_figure_and_cell_show_the_same_colours(sign, place, tmp_path):
    """Blocks of one value, so that no pixel read lies where neighbours are smoothed together."""
    share = np.array([[0.0, 0.25, 1.0, 0.5], [-0.5, -1.0, 0.125, 2.0], [0.75, 0.0625, -0.25, 0.0]])
    share = np.abs(share) if sign is Sign.UNSIGNED else share
    scan = np.array([[0, 10, 20, 30], [40, 50, 60, 70], [80, 90, 95, 100]])
    relevance = Volume.from_array(torch.as_tensor(blocks(share), dtype=torch.float32))
    made = explanation(relevance, Volume.from_array(torch.as_tensor(blocks(scan), dtype=torch.float32)), sign=sign)
    if place == "report":
        page = write_report(tmp_path / "r.html", "t", [ReportCase("c", [made])], meta={})
    else:
        page = tmp_path / "cell.html"
        page.write_text(unescape(made._repr_html_().split('srcdoc="')[1].split('" title=')[0]), encoding="utf-8")
    seen = np.reshape(drive(page, CANVAS.replace("SHAPE", "[3, 4]"), tmp_path), (3, 4, 3))
    figure = np.asarray(made.plot()[1].images[0].get_array())
    step = figure.shape[0] // 3
    drawn = np.round(255 * figure[step // 3 :: step, step // 3 :: step][:3, :4])
    # A canvas may round the smoothed picture once more.
    assert np.abs(seen - drawn).max() <= 1
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 12
