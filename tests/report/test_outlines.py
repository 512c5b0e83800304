"""Borders of regions, in pictures and in the page; one convention for all of them."""

import matplotlib
import numpy as np
import pytest
import torch
from markers import CORNER, SHAPE, STORED, explanation, marker, stored

from regard.core.errors import InputError
from regard.core.image_target import Contrast, Mean
from regard.core.target import Output
from regard.core.volume import Volume
from regard.report.display import convention, display_volume, extreme, placed, planes, slice_of
from regard.report.embed import Scene, unpack
from regard.report.figures import draw
from regard.report.outlines import edges, target_regions

matplotlib.use("Agg")


def covered(mask: np.ndarray) -> float:
    """Area inside closed borders, by Green's theorem over the edges of voxels."""
    area = 0.0
    for (x0, y0), (x1, y1) in edges(mask):
        if x0 == x1:  # a vertical edge: inside on its right adds, on its left takes away
            row, column = int(min(y0, y1)), int(x0)
            right = column < mask.shape[1] and mask[row, column]
            area += -x0 if right else x0
    return area


def test_edges_enclose_the_region_and_nothing_else():
    rng = np.random.default_rng(1)
    for _ in range(20):
        mask = rng.uniform(size=(7, 9)) > 0.4
        assert covered(mask) == mask.sum()
        padded = np.pad(mask, 1).astype(int)
        assert len(edges(mask)) == np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()
    assert len(edges(np.zeros((3, 4), bool))) == 0


@pytest.mark.parametrize(("order", "flips"), STORED[::7])
@pytest.mark.parametrize("name", ["radiological", "neurological"])
def test_a_region_is_outlined_where_it_lies_in_every_storage_order_and_convention(order, flips, name):
    volume = stored(marker(), order, flips)
    region = volume.with_tensor((volume.tensor == 3).float())
    made = explanation(volume)
    with convention(name):
        figure = draw(made, outlines={"corner": region})
        scene = Scene([made], {("sensitivity", "years per HU"): 3.0}, {"corner": region}).build()
        letters = planes(display_volume(volume))[0].letters
    x, y = CORNER[0], CORNER[1]
    across = SHAPE[0] - 1 - x if name == "radiological" else x
    assert letters[:2] == (("R", "L") if name == "radiological" else ("L", "R"))
    ends = np.concatenate([s for c in figure.axes[0].collections for s in c.get_segments()])
    np.testing.assert_allclose(ends.min(0), [across * 1.0, (SHAPE[1] - 1 - y) * 1.5])
    np.testing.assert_allclose(ends.max(0), [(across + 1) * 1.0, (SHAPE[1] - y) * 1.5])
    (outline,) = scene["outlines"]
    inside = unpack(outline["data"], "u1", scene["shape"])
    assert np.argwhere(inside).tolist() == [[across, SHAPE[1] - 1 - y, SHAPE[2] - 1 - CORNER[2]]]
    assert outline["shown"]


def test_the_convention_is_one_of_two_and_ends_with_its_context():
    volume = stored(marker(), (0, 1, 2), (False,) * 3)
    before = slice_of(display_volume(volume).tensor[0].numpy(), planes(volume)[0], 3)
    with convention("neurological"):
        turned = slice_of(display_volume(volume).tensor[0].numpy(), planes(volume)[0], 3)
    np.testing.assert_array_equal(before[:, ::-1], turned)
    np.testing.assert_array_equal(before, slice_of(display_volume(volume).tensor[0].numpy(), planes(volume)[0], 3))
    with pytest.raises(InputError, match="radiological or neurological"), convention("left"):
        pass


def test_the_regions_of_a_target_are_those_it_speaks_of():
    region = Volume(torch.ones(1, 4, 4, 4), np.eye(4), "label")
    assert target_regions(None) == target_regions(Output(0)) == target_regions(Mean()) == {}
    assert target_regions(Mean(region, name="hippo")) == {"mean:hippo": region}
    both = target_regions(Contrast(Mean(region, name="a"), Mean(region, name="b")))
    assert list(both) == ["mean:a", "mean:b"]


def test_pictures_open_at_the_peak_inside_the_body_where_there_is_one():
    scan = torch.zeros(1, 10, 10, 10)
    scan[0, 3:8, 3:8, 3:8] = 1.0 + torch.rand(5, 5, 5)
    values = torch.zeros(1, 10, 10, 10)
    values[0, 0, 0, 0], values[0, 4, 5, 6] = -9.0, 2.0
    air, body = Volume(values, np.eye(4)), Volume(scan, np.eye(4))
    assert extreme(explanation(air, body)) == (4, 5, 6)
    values = values.clone()
    values[0, 3:8, 3:8, 3:8] = torch.nan  # nothing of the body was seen: then anywhere
    assert extreme(explanation(body.with_tensor(values), body)) == (0, 0, 0)
    flat = explanation(body.with_tensor(torch.zeros_like(values)), body)
    assert extreme(flat) == (5, 5, 5)  # nothing stands out: the middle of the body, not the first voxel


def test_a_border_of_nan_does_not_eat_its_neighbours_on_another_grid():
    values = torch.full((1, 6, 6, 6), 7.0)
    values[:, 0] = torch.nan
    volume = Volume(values, np.eye(4))
    finer = Volume(torch.zeros(1, 12, 6, 6), np.diag([0.5, 1, 1, 1.0]))
    shown = placed(volume, finer.grid).tensor[0, :, 3, 3].numpy()
    # Centres at 0, 0.5, 1 ... : the voxel of NaN reaches to the middle between its centre and the next.
    assert np.isnan(shown[0])
    np.testing.assert_allclose(shown[1:11], 7.0)
