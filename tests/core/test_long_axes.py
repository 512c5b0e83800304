"""What is computed along a long axis, as of a recording of hours, is what a whole matrix gives."""

import numpy as np
import pytest
import torch

from regard.core import spatial
from regard.core.geometry import AxisResampling
from regard.core.volume import Grid, Volume


@pytest.fixture
def short_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spatial, "_MOST_DENSE", 0)


@pytest.mark.parametrize(("n_out", "n_in"), [(7, 40), (40, 7), (30, 30), (1, 9)])
@pytest.mark.parametrize("offset", [-3.2, 0.0, 2.5])
def test_a_sparse_matrix_has_the_weights_of_the_whole_one(
    n_out: int, n_in: int, offset: float, monkeypatch: pytest.MonkeyPatch
):
    whole = spatial.axis_matrix(n_out, n_in, n_in / n_out, offset)
    assert not whole.is_sparse
    monkeypatch.setattr(spatial, "_MOST_DENSE", 0)
    sparse = spatial.axis_matrix(n_out, n_in, n_in / n_out, offset)
    assert sparse.is_sparse
    torch.testing.assert_close(sparse.to_dense(), whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(spatial.row_sums(sparse), whole.sum(1), rtol=0, atol=1e-12)
    x = torch.rand(2, 3, n_in, 4, dtype=torch.float64)
    expected = torch.einsum("oi,abic->aboc", whole, x)
    torch.testing.assert_close(spatial.along(x, sparse, 2), expected, rtol=0, atol=1e-12)


def test_the_adjoint_of_a_long_resampling_is_its_adjoint(short_is_long: None):
    source = Volume.of_signal(np.zeros(90), 500).grid
    affine = source.affine.copy()
    affine[0, 0] *= 2.3
    resampling = AxisResampling(source, Grid((50, 1, 1), affine))
    x, y = torch.randn(2, 90, 1, 1, dtype=torch.float64), torch.randn(2, 50, 1, 1, dtype=torch.float64)
    home, outside = resampling.adjoint(y)
    assert float((resampling.apply(x) * y).sum()) == pytest.approx(float((x * home).sum()), abs=1e-12)
    torch.testing.assert_close(home.sum((1, 2, 3)) + outside, y.sum((1, 2, 3)))


@pytest.mark.parametrize("width", [1, 4, 9])
def test_means_and_blurs_along_a_long_axis_are_those_of_a_short_one(width: int, monkeypatch: pytest.MonkeyPatch):
    x = torch.randn(1, 2, 60, dtype=torch.float64)
    mean, blurred = spatial.box_mean(x, width), spatial.blur(x, width / 2)
    monkeypatch.setattr(spatial, "_MOST_DENSE", 0)
    torch.testing.assert_close(spatial.box_mean(x, width), mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(spatial.blur(x, width / 2), blurred, rtol=0, atol=1e-12)
    torch.testing.assert_close(spatial.blur_in_double(x, width / 2), blurred, rtol=0, atol=1e-12)
