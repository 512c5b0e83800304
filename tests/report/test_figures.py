import numpy as np
import pytest
import torch
from markers import CORNER, SHAPE, explanation, marker, stored
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from regard.core.volume import Volume
from regard.report.colours import common_scales
from regard.report.figures import draw, overlay


def pixels_of(figure, title: str):
    """Pixel at the middle of (row, column) of n rows and columns, in the axes titled ``title``."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
    axis = next(a for a in figure.axes if a.get_title().startswith(title))
    box = axis.get_window_extent()

    def pixel(row, column, rows, columns):
        x = box.x0 + (column + 0.5) / columns * box.width
        y = image.shape[0] - (box.y1 - (row + 0.5) / rows * box.height)
        return image[int(y), int(x)]

    return pixel, axis


def orange(pixel) -> bool:
    return pixel[0] - pixel[2] > 60


@pytest.mark.parametrize(
    ("order", "flips", "degrees"), [((0, 1, 2), (False,) * 3, 0), ((2, 0, 1), (True, False, True), 12)]
)
def test_marker_is_drawn_at_the_expected_corner(order, flips, degrees):
    pixel, axis = pixels_of(draw(explanation(stored(marker(), order, flips, degrees))), "axial")
    nx, ny, _ = SHAPE
    row, column = ny - 1 - CORNER[1], nx - 1 - CORNER[0]
    for r, c, marked in [
        (row, column, True),
        (row, column - 4, True),
        (row, column - 5, False),
        (row, column + 1, False),
        (row - 2, column, True),
        (row - 3, column, False),
        (row + 1, column, False),
    ]:
        assert orange(pixel(r, c, ny, nx)) == marked
    letters = {t.get_text(): t.get_position() for t in axis.texts}
    assert letters["R"][0] < 0.1 < 0.9 < letters["L"][0]
    assert letters["P"][1] < 0.1 < 0.9 < letters["A"][1]


def test_anisotropic_voxels_keep_their_proportions():
    _, axis = pixels_of(draw(explanation(stored(marker(), (0, 1, 2), (False,) * 3))), "coronal")
    box = axis.get_window_extent()
    assert np.isclose(box.height / box.width, (SHAPE[2] * 3.0) / (SHAPE[0] * 1.0), rtol=0.02)


def test_picture_is_drawn_as_on_screen():
    values = np.zeros((20, 30), np.float32)
    values[2, 25] = 1.0
    pixel, axis = pixels_of(draw(explanation(Volume.from_array(values))), "map over image")
    assert orange(pixel(2, 25, 20, 30))
    assert not orange(pixel(17, 25, 20, 30))
    assert not orange(pixel(2, 4, 20, 30))
    assert not axis.texts


def test_image_beside_it_carries_no_map():
    pixel, _ = pixels_of(draw(explanation(Volume.from_array(np.ones((20, 30), np.float32)))), "image")
    assert not orange(pixel(10, 15, 20, 30))


def test_scale_argument_rules_the_colour_bar():
    weak = explanation(Volume.from_array(torch.linspace(-1, 1, 400).reshape(20, 20)))
    strong = explanation(Volume.from_array(torch.linspace(-8, 8, 400).reshape(20, 20)))
    bars = [draw(weak, scale=common_scales([weak, strong])), draw(strong, scale=common_scales([weak, strong]))]
    limits = [next(a for a in f.axes if a.get_xlabel()).get_xlim() for f in bars]
    assert limits[0] == limits[1]
    assert np.isclose(limits[0][1], np.percentile(np.abs(np.linspace(-8, 8, 400)), 99.5))
    assert np.isclose(next(a for a in draw(weak, scale=3.0).axes if a.get_xlabel()).get_xlim()[1], 3.0)


def test_unseen_and_unresolved_are_said_and_names_are_no_mathematics(tmp_path):
    values = torch.rand(20, 20)
    values[:5] = torch.nan
    relevance = Volume.from_array(values)
    error = relevance.with_tensor(torch.full_like(relevance.tensor, 0.5))
    figure = draw(explanation(relevance, standard_error=error, case=r"$\frac{$ <b>"))
    said = " ".join(t.get_text() for t in figure.texts)
    assert "striped: not seen" in said
    assert "sign not resolved" in said
    assert "raising the intensity here raises the output" in said
    assert "Research use only" in said
    path = overlay(explanation(relevance, case=r"$\frac{$ <b>"), tmp_path / "maps" / "a.png")
    assert Image.open(path).format == "PNG"
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_signal_can_be_drawn(tmp_path):
    assert overlay(explanation(Volume.from_array(torch.linspace(-1, 1, 64))), tmp_path / "s.png").stat().st_size > 0
