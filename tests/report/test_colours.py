import numpy as np
import torch
from markers import explanation

from regard.core.quantity import Quantity, Sign
from regard.core.volume import Volume
from regard.report.colours import DENSEST, UNRESOLVED, common_scales, is_signed, paint, scale_key, scale_of, table


def ramp(factor: float = 1.0, n: int = 1001):
    return Volume.from_array(torch.linspace(-factor, factor, n))


def test_zero_is_transparent_and_opacity_grows_with_size():
    for signed, zero in ((True, 127), (False, 0)):
        alpha = table(signed)[:, 3].astype(int)
        assert alpha[zero] == 0
        assert (np.diff(alpha[zero:]) >= 0).all()
        assert alpha[-1] == round(255 * DENSEST)
    assert (table(True)[::-1, 3] == table(True)[:, 3]).all()


def test_hue_tells_the_sign():
    red_less_blue = table(True)[:, 0].astype(int) - table(True)[:, 2].astype(int)
    assert (red_less_blue[:120] < -50).all()
    assert (red_less_blue[134:] > 50).all()


def test_scale_is_the_percentile_of_the_finite_sizes():
    values = torch.cat([torch.arange(1.0, 1001.0) * -1, torch.tensor([torch.nan])])
    assert np.isclose(scale_of(explanation(Volume.from_array(values))), np.percentile(np.arange(1.0, 1001.0), 99.5))


def test_faint_tails_do_not_set_the_scale_of_a_map_of_one_small_place():
    values = torch.full((100, 100), 1e-6)
    values[40:43, 50:53] = torch.arange(1.0, 10.0).reshape(3, 3)
    expected = np.percentile(np.arange(1.0, 10.0), 99.5)
    assert np.isclose(scale_of(explanation(Volume.from_array(values))), expected)


def test_sparse_empty_and_unseen_maps_have_a_scale():
    one = torch.zeros(5000)
    one[7] = -3.0
    assert scale_of(explanation(Volume.from_array(one))) == 3.0
    assert scale_of(explanation(Volume.from_array(torch.zeros(9)))) == 1.0
    assert scale_of(explanation(Volume.from_array(torch.full((9,), torch.nan)))) == 1.0


def test_maps_of_one_quantity_share_a_scale_and_scores_of_two_methods_do_not():
    weak = explanation(ramp(1), unit="years", quantity=Quantity.EFFECT, method="occlusion")
    strong = explanation(ramp(4), unit="years", quantity=Quantity.EFFECT, method="rise")
    share = explanation(ramp(8), unit="years", quantity=Quantity.CONTRIBUTION, method="integrated-gradients")
    cam = explanation(ramp(9), unit="a.u.", quantity=Quantity.SCORE, method="grad-cam")
    other = explanation(ramp(2), unit="a.u.", quantity=Quantity.SCORE, method="eigen-grad-cam")
    scales = common_scales([weak, strong, share, cam, other])
    assert scales[scale_key(weak)] == scales[scale_key(strong)] == scale_of(strong)
    assert scales[scale_key(share)] == scale_of(share)
    assert scales[scale_key(cam)] == scale_of(cam)
    assert scales[scale_key(other)] == scale_of(other)


def test_contributions_of_a_layer_and_of_voxels_do_not_share_a_scale():
    facts = {"unit": "logit", "quantity": Quantity.CONTRIBUTION}
    spread = explanation(ramp(1e-5), method="grad-ramp", layer="layer4", **facts)
    voxels = explanation(ramp(1), method="integrated-gradients", **facts)
    scales = common_scales([spread, voxels])
    assert scales[scale_key(spread)] == scale_of(spread)
    assert scales[scale_key(voxels)] == scale_of(voxels)


def test_unsigned_map_with_negative_values_keeps_both_halves():
    assert not is_signed(explanation(Volume.from_array(torch.rand(9)), sign=Sign.UNSIGNED))
    assert is_signed(explanation(ramp(), sign=Sign.UNSIGNED))
    assert is_signed(explanation(Volume.from_array(torch.rand(9))))


def test_painting_by_hand():
    base = np.full((1, 4), 0.5)
    relevance = np.array([[0.0, 2.0, -2.0, 50.0]])
    picture = paint(base, relevance, 2.0, signed=True)
    np.testing.assert_allclose(picture[0, 0], 0.5)
    for column, row in ((1, 254), (2, 0), (3, 254)):
        colour = table(True)[row] / 255.0
        np.testing.assert_allclose(picture[0, column], 0.5 * (1 - colour[3]) + colour[:3] * colour[3])


def test_nan_is_striped_and_never_zero():
    base = np.full((16, 16), 0.1)
    picture = paint(base, np.full((16, 16), np.nan), 1.0, signed=True)
    striped = np.abs(picture - 0.1).max(-1) > 0.2
    assert striped.mean() == 0.25
    np.testing.assert_allclose(paint(base, np.zeros((16, 16)), 1.0, signed=True), 0.1)


def test_unresolved_sign_is_grey():
    base, relevance = np.zeros((1, 2)), np.array([[1.0, 1.0]])
    picture = paint(base, relevance, 1.0, signed=True, resolved=np.array([[True, False]]))
    assert picture[0, 0, 0] - picture[0, 0, 2] > 0.3
    np.testing.assert_allclose(picture[0, 1] / picture[0, 1, 0], np.array(UNRESOLVED) / UNRESOLVED[0])
