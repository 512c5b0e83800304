"""An explanation as axes, tables, notebook cells and other packages' images."""

import re
from dataclasses import replace
from html import unescape

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

import regard
from regard.cohort.atlas import Atlas
from regard.core.errors import InputError
from regard.core.explanation import Explanation
from regard.core.quantity import Quantity, Sign
from regard.core.volume import Volume

matplotlib.use("Agg")

AFFINE = np.array([[-2.0, 0, 0, 40], [0, 2, 0, -30], [0, 0, 3, 10], [0, 0, 0, 1]])


@pytest.fixture
def made() -> Explanation:
    """Two bumps of different sign in a body of 1 in air of 0."""
    values = torch.zeros(1, 20, 24, 16)
    values[0, 4:7, 5:8, 6] = 2.0
    values[0, 5, 6, 6] = 4.0
    values[0, 14:16, 15, 10] = -3.0
    values[0, 0] = torch.nan
    body = torch.zeros(1, 20, 24, 16)
    body[0, 2:18, 2:22, 2:14] = 1.0
    return Explanation(
        relevance=Volume(values, AFFINE), scan=Volume(body, AFFINE), case="c", method="gradient",
        quantity=Quantity.CONTRIBUTION, sign=Sign.RAISED, unit="mg", prediction=1.0, target="output:0",
    )  # fmt: skip


def test_the_array_and_other_packages_hold_the_map_and_its_place(made: Explanation) -> None:
    assert np.array_equal(np.asarray(made), made.numpy(), equal_nan=True)
    image = made.to_nibabel()
    assert np.array_equal(image.affine, AFFINE)
    assert np.array_equal(np.asanyarray(image.dataobj), made.numpy(), equal_nan=True)
    meta = made.to_metatensor()
    assert tuple(meta.shape) == (1, 20, 24, 16)
    assert np.allclose(meta.affine, AFFINE)
    pytest.importorskip("xarray")
    array = made.to_xarray()
    assert array.dims == ("i", "j", "k")
    assert array.attrs["unit"] == "mg"


def test_the_table_has_each_cluster_once_with_its_peak_in_mm(made: Explanation) -> None:
    labels = np.zeros((20, 24, 16), dtype=np.int64)
    labels[:10] = 7
    table = made.table(atlas=Atlas(labels, {7: "left half"}))
    assert list(table["value"]) == [4.0, -3.0]
    assert list(table.loc[0, ["i", "j", "k"]]) == [5, 6, 6]
    assert np.allclose(table.loc[0, ["x", "y", "z"]].astype(float), (AFFINE @ [5, 6, 6, 1])[:3])
    assert list(table["voxels"]) == [9, 2]
    assert list(table["sum"]) == [20.0, -6.0]
    assert list(table["volume_mm3"]) == [9 * 12.0, 2 * 12.0]
    assert list(table["region"]) == ["left half", ""]
    assert list(made.table(threshold=3.5)["value"]) == [4.0]
    assert len(made.table(n=1)) == 1
    with pytest.raises(InputError, match="above 0"):
        made.table(threshold=-1)


def test_an_empty_map_gives_an_empty_table(made: Explanation) -> None:
    empty = replace(made, relevance=made.relevance.with_tensor(torch.zeros_like(made.relevance.tensor)))
    assert isinstance(empty.table(), pd.DataFrame)
    assert len(empty.table()) == 0


def test_planes_and_slices_are_drawn_with_a_side_that_is_named(made: Explanation) -> None:
    axes = made.plot()
    assert len(axes) == 3
    letters = [t.get_text() for t in axes[0].texts]
    assert letters[:2] == ["R", "L"]
    # What was not seen is striped, and stripes do not turn.
    made = replace(made, relevance=made.relevance.with_tensor(made.relevance.tensor.nan_to_num(0.0)))
    axes, mirrored = made.plot(), made.plot(convention="neurological")
    assert [t.get_text() for t in mirrored[0].texts][:2] == ["L", "R"]
    pictures = [[np.asarray(a.images[0].get_array()) for a in drawn[:3]] for drawn in (axes, mirrored)]
    for plain, turned in zip(*[p[:2] for p in pictures], strict=True):
        np.testing.assert_array_equal(plain[:, ::-1], turned)
    np.testing.assert_array_equal(pictures[0][2], pictures[1][2])  # sagittal: no side to turn
    assert len(made.plot(lightbox=6)) == 6
    with pytest.raises(InputError, match="radiological or neurological"):
        made.plot(convention="left")
    with pytest.raises(InputError, match="slices"):
        made.plot(lightbox=0)


@pytest.mark.parametrize("lightbox", [None, 4])
def test_an_outline_is_drawn_where_the_region_is(made: Explanation, lightbox: int | None) -> None:
    inside = np.zeros((20, 24, 16), bool)
    inside[4:8, 5:9, 3:13] = True
    axes = made.plot(outline=inside, lightbox=lightbox)
    drawn = [c for c in axes[0 if lightbox is None else 1].collections if len(c.get_paths())]
    assert drawn
    points = np.concatenate([p.vertices for c in drawn for p in c.get_paths() if len(p.vertices)])
    # Display axes run to the patient's left and back: with this affine columns are i, and rows run against j.
    assert np.allclose(points[:, 0].min(), 4 * 2, atol=1.01)
    assert np.allclose(points[:, 0].max(), 8 * 2, atol=1.01)
    assert np.allclose(points[:, 1].min(), (24 - 9) * 2, atol=1.01)
    assert np.allclose(points[:, 1].max(), (24 - 5) * 2, atol=1.01)


def test_a_notebook_cell_holds_its_viewer_and_nothing_from_elsewhere(made: Explanation) -> None:
    cell = made._repr_html_()
    page = unescape(re.search(r'srcdoc="(.*?)" title', cell, re.S).group(1))  # type: ignore[union-attr]
    assert 'class="frame"' in page
    assert "default-src" in page
    assert not re.search(r'(src|href)="https?:', page)
    assert "gradient" in page


def test_methods_are_a_table() -> None:
    table = regard.methods()
    assert table.loc["occlusion", "quantity"] == "effect"
    assert len(table) >= 28
