"""From a scan with an affine to a map on the scan's own grid."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import regard
from regard.case.explaining import explain_case
from regard.core.errors import GeometryError, InputError, ReferenceInputError, TargetError
from regard.core.explainer import Query
from regard.core.first_pass import first_pass, offered
from regard.core.inputs import Inputs
from regard.core.quantity import Quantity
from regard.models import ModelCard


def card(**changes: object) -> ModelCard:
    """A 3D regressor that takes 2 mm RAS volumes in HU, window 0 to 100, cropped or padded to a box."""
    entry = {
        "name": "image", "channels": 1, "orientation": "RAS", "spacing_mm": [2.0, 2.0, 2.0], "shape": [10, 12, 8],
        "fit": "crop-pad", "unit": "HU", "window": [0.0, 100.0], "normalise": {"low": 0.0, "high": 1.0},
    }  # fmt: skip
    output = {"kind": "regression", "names": ["density"], "units": ["mg/cm3"], "activation": "none"}
    for key, value in changes.items():
        if key in entry:
            entry[key] = value  # type: ignore[assignment]
        elif key in output:
            output[key] = value  # type: ignore[assignment]
    trained = changes.get("trained_on", {"n": 5, "ranges": {"output": [0.0, 100.0]}})
    return ModelCard.model_validate({"name": "m", "inputs": [entry], "output": output, "trained_on": trained})


class Linear(nn.Module):
    """f(x) = sum of weights times intensities, plus 5."""

    def __init__(self, size: tuple[int, ...] = (10, 12, 8), seed: int = 0) -> None:
        super().__init__()
        values = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.weights = nn.Parameter(values)

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 0].to(self.weights) * self.weights).flatten(1).sum(1, keepdim=True) + 5


class Curved(Linear):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(super().forward(x) / 20) * 30 + 40


def scan(affine: np.ndarray, shape: tuple[int, int, int] = (14, 15, 9), seed: int = 1) -> regard.Volume:
    values = torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed)) * 90 + 5
    return regard.Volume(values, affine, "HU")


def test_the_map_lies_on_the_scans_grid(oblique: np.ndarray) -> None:
    volume = scan(oblique)
    found = regard.explain(regard.Model(Linear(), card()), volume, "gradient")
    assert found.relevance.shape == volume.shape
    np.testing.assert_array_equal(found.relevance.affine, volume.affine)
    assert found.unit == "mg/cm3 per HU"
    assert found.sign == "raising the intensity here raises the output"


def test_a_contribution_keeps_its_total_with_what_fell_outside(oblique: np.ndarray) -> None:
    """Law: sum over the scan + outside = f(x) - f(reference), to 1e-5, though the box is larger than the scan."""
    model = regard.Model(Curved(), card(shape=[30, 30, 16]))
    model.network = Curved((30, 30, 16))
    found = regard.explain(model, scan(oblique), "integrated-gradients:n_steps=64", reference=0.3)
    assert found.quantity is Quantity.CONTRIBUTION
    assert abs(found.outside) > 1e-3
    want = found.prediction - found.reference["value"]
    assert found.total + found.outside == pytest.approx(want + found.completeness_error, rel=1e-5)
    assert abs(found.completeness_error) < 1e-5 * abs(want) + 1e-4


def test_nothing_is_outside_when_the_network_sees_only_the_scan() -> None:
    volume = scan(np.diag([2.0, 2, 2, 1]), (20, 20, 20))
    found = regard.explain(regard.Model(Linear(), card()), volume, "input-x-gradient")
    assert found.outside == pytest.approx(0, abs=1e-9)
    assert found.total == pytest.approx(found.prediction - 5, rel=1e-5)
    assert bool(torch.isnan(found.relevance.tensor[0, 0, 0, 0]))
    assert int(torch.isfinite(found.relevance.tensor).sum()) == 10 * 12 * 8


def test_a_sensitivity_is_per_unit_of_the_scans_own_intensity() -> None:
    """One HU is a hundredth of the network's range; checked by changing the scan."""
    volume = scan(np.diag([-2.0, 2, -2, 1]), (10, 12, 8))
    model = regard.Model(Linear(), card())
    found = regard.explain(model, volume, "gradient")
    changed = volume.tensor.clone()
    changed[0, 3, 4, 5] += 2.0
    other = regard.explain(model, volume.with_tensor(changed), "gradient")
    slope = (other.prediction - found.prediction) / 2.0
    assert float(found.relevance.tensor[0, 3, 4, 5]) == pytest.approx(slope, rel=1e-4)


def test_an_l_shaped_marker_is_found_at_its_corner(oblique: np.ndarray) -> None:
    """A network that reads two arms of unequal length; the map has its corner where the scan has it."""
    volume = scan(oblique, (24, 20, 10))
    marker = torch.zeros(volume.shape, dtype=torch.float64)
    marker[5:15, 7, 4] = 1
    marker[5, 7:12, 4] = 1

    class Marker(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, 0].flatten(1).double() @ weights.flatten()[:, None]

    spec = card(spacing_mm=None, shape=None, orientation="LIP")
    prepared = regard.models.Preparation(spec.inputs[0]).prepare(volume)
    weights = prepared.resampling.apply(marker[None])[0]
    found = regard.explain(regard.Model(Marker(), spec), volume, "gradient").relevance.tensor[0]
    assert bool(((found > found.max() / 2) == (marker > 0)).all())


def test_another_reference_gives_another_map_and_adding_a_constant_does_not(oblique: np.ndarray) -> None:
    model, volume = regard.Model(Curved(), card()), scan(oblique)
    one = regard.explain(model, volume, "integrated-gradients", reference=scan(oblique, seed=2))
    other = regard.explain(model, volume, "integrated-gradients", reference=scan(oblique, seed=3))
    assert one.reference["label"] == "another scan"
    assert one.reference["value"] != other.reference["value"]
    assert float((one.relevance.tensor - other.relevance.tensor).nan_to_num().abs().max()) > 1e-4

    class Raised(Curved):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1000

    raised = regard.explain(
        regard.Model(Raised(), card()), volume, "integrated-gradients", reference=scan(oblique, seed=2)
    )
    torch.testing.assert_close(raised.relevance.tensor, one.relevance.tensor, equal_nan=True, atol=1e-6, rtol=1e-4)


def test_a_map_that_misses_much_of_the_change_says_so(oblique: np.ndarray) -> None:
    class Step(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sigmoid(1000 * (super().forward(x) - 5)) + 0.001 * super().forward(x)

    volume, reference = scan(oblique), scan(oblique, seed=2)
    coarse = regard.explain(regard.Model(Step(), card()), volume, "integrated-gradients:n_steps=3", reference=0.0)
    assert coarse.reference and coarse.completeness_error is not None
    change = abs(coarse.prediction - coarse.reference["value"])
    assert abs(coarse.completeness_error) > 0.1 * change
    assert any("misses" in w and "of the change" in w for w in coarse.warnings)
    smooth = regard.explain(regard.Model(Linear(), card()), volume, "integrated-gradients", reference=reference)
    assert not any("misses" in w for w in smooth.warnings)


def test_a_method_that_cannot_use_a_reference_refuses(oblique: np.ndarray) -> None:
    with pytest.raises(ReferenceInputError, match="gradient.*choose integrated-gradients"):
        regard.explain(regard.Model(Linear(), card()), scan(oblique), "gradient", reference=0.0)


def test_a_reference_by_value_is_the_nearest_case_within_tolerance(oblique: np.ndarray) -> None:
    model, volume = regard.Model(Curved(), card()), scan(oblique)
    others = [scan(oblique, seed=s) for s in range(2, 8)]
    values = [regard.explain_case(model, o, []).prediction for o in others]
    wanted = regard.ReferenceValue(values[3] + 1e-3, among=others, tolerance=0.01)
    found = regard.explain(model, volume, "integrated-gradients", reference=wanted)
    assert found.reference["value"] == pytest.approx(values[3], abs=1e-5)
    assert "nearest of 6 cases" in found.reference["label"]
    with pytest.raises(ReferenceInputError, match="at most 0.01 away"):
        regard.explain(model, volume, "occlusion", reference=regard.ReferenceValue(-500, others, 0.01))


def test_a_reference_by_value_is_found_by_search(oblique: np.ndarray) -> None:
    model = regard.Model(Curved(), card())
    found = regard.explain(model, scan(oblique), "integrated-gradients", reference=regard.ReferenceValue(50.0))
    assert found.reference["value"] == pytest.approx(50, abs=1.0)
    assert "search" in found.reference["label"]
    no_range = regard.Model(Curved(), card(trained_on={}))
    with pytest.raises(ReferenceInputError, match="--reference-tolerance"):
        regard.explain(no_range, scan(oblique), "integrated-gradients", reference=regard.ReferenceValue(50.0))


def test_an_ensemble_gives_mean_spread_and_agreement(oblique: np.ndarray) -> None:
    members = [regard.Model(Curved(seed=s), card()) for s in range(3)]
    volume = scan(oblique)
    singles = torch.stack([regard.explain(m, volume, "gradient").relevance.tensor for m in members])
    found = regard.explain(regard.Ensemble(members), volume, "gradient")
    torch.testing.assert_close(found.relevance.tensor, singles.mean(0), equal_nan=True)
    torch.testing.assert_close(found.spread.tensor, singles.std(0), equal_nan=True)
    share = (singles.sign() == singles.mean(0).sign()).float().mean(0)
    inside = torch.isfinite(found.relevance.tensor)
    torch.testing.assert_close(found.agreement.tensor[inside], share[inside])
    assert found.notes["members"] == 3


def test_a_chain_is_explained_through_all_of_it(oblique: np.ndarray) -> None:
    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.5 * x

    image_card = card(kind="image", names=["image"], units=["a.u."])
    chain = regard.Chain([regard.Model(Half(), image_card), regard.Model(Linear(), card())])
    volume = scan(oblique)
    alone = regard.explain(regard.Model(Linear(), card()), volume, "gradient")
    found = regard.explain(chain, volume, "gradient")
    torch.testing.assert_close(found.relevance.tensor, 0.5 * alone.relevance.tensor, equal_nan=True)


def test_a_black_box_takes_perturbation_methods_only(oblique: np.ndarray) -> None:
    weights = Linear().weights.detach().numpy()
    box = regard.BlackBox(lambda x: (x[:, 0] * weights).sum((1, 2, 3)) + 5, card())
    model, volume = regard.Model(Linear(), card()), scan(oblique)
    method = "occlusion:window=3,filler=mean"
    torch.testing.assert_close(
        regard.explain(box, volume, method).relevance.tensor,
        regard.explain(model, volume, method).relevance.tensor,
        equal_nan=True, atol=1e-5, rtol=1e-4,
    )  # fmt: skip
    with pytest.raises(InputError, match="no gradient"):
        regard.explain(box, volume, "gradient")


def test_the_whole_pipeline_can_be_explained() -> None:
    """With z-scores that follow the scan, the derivative is that of the pipeline; checked by changing the scan."""
    volume = scan(np.diag([2.0, 2, 2, 1]), (10, 12, 8))
    model = regard.Model(Curved(), card(window=None, normalise="zscore"))
    found = regard.explain(model, volume, "gradient", through_preparation=True)
    frozen = regard.explain(model, volume, "gradient")
    changed = volume.tensor.clone()
    changed[0, 3, 4, 5] += 0.5
    slope = (regard.explain_case(model, volume.with_tensor(changed), []).prediction - found.prediction) / 0.5
    assert float(found.relevance.tensor[0, 3, 4, 5]) == pytest.approx(slope, rel=2e-2)
    assert float((found.relevance.tensor - frozen.relevance.tensor).abs().max()) > 1e-6


class Blur(nn.Module):
    """Image to image: the mean of three neighbours along the first axis."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + x.roll(1, 2) + x.roll(-1, 2)) / 3


def test_a_region_in_scan_space_selects_the_same_place_of_the_output(oblique: np.ndarray) -> None:
    """The relevance of a voxel of the output vanishes outside the receptive field, in the scan's own index."""
    spec = card(kind="image", names=["image"], units=["HU"], spacing_mm=None, shape=None, window=None, normalise="none")
    model, volume = regard.Model(Blur(), spec), scan(oblique)
    found = regard.explain(model, volume, "gradient", target=regard.Voxel((6, 7, 4)))
    places = set(map(tuple, torch.nonzero(found.relevance.tensor[0].nan_to_num().abs() > 1e-6).tolist()))
    assert (6, 7, 4) in places
    assert len(places) == 3
    mask = torch.zeros(1, *volume.shape)
    mask[0, 6, 7, 4] = 1
    by_region = regard.explain(model, volume, "gradient", target=regard.Mean(regard.Volume(mask, oblique)))
    torch.testing.assert_close(by_region.relevance.tensor, found.relevance.tensor, atol=1e-6, rtol=1e-5)
    by_mm = regard.explain(model, volume, "gradient", target=regard.Voxel(mm=tuple(volume.grid.to_world((6, 7, 4)))))
    torch.testing.assert_close(by_mm.relevance.tensor, found.relevance.tensor)
    with pytest.raises(TargetError, match=r"mean:FILE"):
        regard.explain(model, volume, "gradient")


def test_the_output_image_comes_back_on_the_scans_grid(oblique: np.ndarray) -> None:
    spec = card(kind="image", names=["image"], units=["HU"], spacing_mm=None, shape=None, window=None, normalise="none")

    class Same(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    volume = scan(oblique)
    found = regard.explain_case(regard.Model(Same(), spec), volume, [], target=regard.Mean())
    torch.testing.assert_close(found.output.tensor, volume.tensor, atol=1e-4, rtol=1e-5)


def test_several_inputs_give_one_map_each(oblique: np.ndarray) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Linear(seed=0), Linear(seed=1)

        def forward(self, t1: Tensor, flair: Tensor) -> Tensor:
            return self.first(t1) - 2 * self.second(flair)

    one = card().model_dump()["inputs"][0]
    both = ModelCard.model_validate(
        {"name": "two", "inputs": [one | {"name": "t1"}, one | {"name": "flair"}], "output": card().output.model_dump()}
    )

    class ByName(Two):
        def forward(self, t1: Tensor, flair: Tensor) -> Tensor:
            return super().forward(t1, flair)

    scans = {"t1": scan(oblique), "flair": scan(oblique, seed=2)}
    found = regard.explain(regard.Model(ByName(), both), scans, "gradient")
    assert list(found) == ["t1", "flair"]
    alone = regard.explain(regard.Model(Linear(seed=1), card()), scans["flair"], "gradient")
    torch.testing.assert_close(found["flair"].relevance.tensor, -2 * alone.relevance.tensor, equal_nan=True)
    with pytest.raises(InputError, match="one for each input"):
        regard.explain(regard.Model(ByName(), both), scans["t1"], "gradient")


def test_a_mask_cuts_the_map_and_states_what_it_cut(oblique: np.ndarray) -> None:
    volume = scan(oblique)
    mask = torch.zeros(1, *volume.shape)
    mask[0, 4:9, 4:9, 2:6] = 1
    model = regard.Model(Linear(), card())
    whole = regard.explain(model, volume, "input-x-gradient")
    cut = regard.explain(model, volume, "input-x-gradient", mask=regard.Volume(mask, oblique))
    assert cut.total + cut.notes["outside_mask"] == pytest.approx(whole.total, rel=1e-5)
    assert bool(torch.isnan(cut.relevance.tensor[mask == 0]).all())
    with pytest.raises(InputError, match="no voxel inside the scan"):
        regard.explain(model, volume, "gradient", mask=regard.Volume(mask * 0, oblique))


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (0.7, 1.1, 1.0), (4.0, 4.0, 4.0)])
def test_occlusion_within_a_mask_is_occlusion_cut_to_it_with_fewer_windows(oblique, spacing) -> None:
    """The network's grid is coarser and finer than the scan's; nothing outside the mask leaks in on the way home."""
    volume = scan(np.diag([2.0, -2.0, 2.0, 1.0]))
    mask = torch.zeros(1, *volume.shape)
    mask[0, 4:9, 4:9, 2:6] = 1
    inside = mask > 0
    model = regard.Model(Curved(), card(spacing_mm=list(spacing)))
    whole = regard.explain(model, volume, "occlusion:window=2,stride=1")
    cut = regard.explain(model, volume, "occlusion:window=2,stride=1", mask=regard.Volume(mask, volume.affine))
    assert bool(torch.isnan(cut.relevance.tensor[~inside]).all())
    seen = inside & torch.isfinite(whole.relevance.tensor)
    torch.testing.assert_close(cut.relevance.tensor[seen], whole.relevance.tensor[seen], rtol=1e-5, atol=1e-6)
    assert int(seen.sum()) > 10
    assert cut.notes["n_windows"] <= whole.notes["n_windows"]
    assert "not evaluated" in cut.notes["mask"]
    if spacing == (2.0, 2.0, 2.0):
        # 5 x 5 x 4 voxels with one around them, met by so many windows of 2 voxels.
        assert cut.notes["n_windows"] == 8 * 8 * 7


def test_cams_of_one_layer_share_one_pass(oblique: np.ndarray) -> None:
    calls = []

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv3d(1, 3, 3, padding=1)
            self.head = nn.Linear(3, 1)

        def forward(self, x: Tensor) -> Tensor:
            calls.append(1)
            return self.head(self.body(x).relu().mean((2, 3, 4)))

    model, methods = regard.Model(Small(), card()), ["grad-cam", "grad-ram", "hires-cam", "grad-ramp"]
    regard.explain_case(model, scan(oblique), methods, layer="body")
    calls.clear()  # the network is probed once
    found = regard.explain_case(model, scan(oblique), methods, layer="body")
    assert [e.layer for e in found.explanations] == ["body"] * 4
    assert len(calls) == 2


class Counted(Curved):
    """Counts its passes."""

    n = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n += 1
        return super().forward(x)


@pytest.mark.parametrize(("methods", "passes"), [(["gradient"], 1), (["input-x-gradient", "gradient"], 3)])
def test_the_prediction_and_the_first_gradient_share_one_pass(
    oblique: np.ndarray, methods: list[str], passes: int
) -> None:
    network = Counted()
    model = regard.Model(network, card())
    explain_case(model, {"image": scan(oblique)}, methods)
    network.n = 0  # the network is probed once
    found = explain_case(model, {"image": scan(oblique)}, methods)
    # The input times gradient also asks the network at 0.
    assert network.n == passes
    assert all(p.requires_grad for p in network.parameters())
    for explanation, method in zip(found.explanations, methods, strict=True):
        alone = regard.explain(regard.Model(Curved(), card()), scan(oblique), method)
        torch.testing.assert_close(explanation.relevance.tensor, alone.relevance.tensor, rtol=0, atol=0, equal_nan=True)
    # Whoever asks for the gradient at another place, or a second time, gets their own.
    x = torch.rand(1, 1, 10, 12, 8, dtype=torch.float64)
    inputs = Inputs.of(x)
    begun = first_pass(network, inputs, graph=True)
    with offered(begun):
        network.n = 0
        other = Query(network, Inputs.of(x + 1)).gradient([x + 1])
        assert network.n == 1
        first = Query(network, inputs).gradient(inputs.tensors)
        assert network.n == 1
        second = Query(network, inputs).gradient(inputs.tensors)
        assert network.n == 2
    assert begun.leaves is None
    assert torch.equal(first[1][0], second[1][0])
    assert not torch.equal(first[1][0], other[1][0])


def test_outside_the_training_data_is_said_before_any_map(oblique: np.ndarray) -> None:
    trained = {"n": 5, "ranges": {"spacing_mm": [0.5, 0.9], "output": [0, 1]}}
    found = regard.explain(regard.Model(Linear(), card(trained_on=trained)), scan(oblique), "gradient")
    assert any("spacing" in w for w in found.warnings)
    assert any("prediction" in w for w in found.warnings)


def test_a_volume_for_a_network_of_slices_says_what_to_do() -> None:
    flat = card(orientation="PL", spacing_mm=None, shape=[12, 10])
    volume = scan(np.diag([-2.0, -2, 2, 1]))
    with pytest.raises(GeometryError, match="slice"):
        regard.explain(regard.Model(Linear((12, 10)), flat), volume, "gradient")
    found = regard.explain(regard.Model(Linear((12, 10)), flat), volume.slice(2, 4), "gradient")
    assert found.relevance.shape == (14, 15, 1)


def test_nan_in_the_scan_and_wrong_unit_are_one_sentence(oblique: np.ndarray) -> None:
    volume = scan(oblique)
    with pytest.raises(InputError, match="NaN"):
        regard.explain(regard.Model(Linear(), card()), volume.with_tensor(volume.tensor * math.nan), "gradient")
    with pytest.raises(InputError, match="grey level"):
        regard.explain(regard.Model(Linear(), card()), volume.with_tensor(volume.tensor, unit="grey level"), "gradient")


def test_how_it_was_made_is_remembered(oblique: np.ndarray) -> None:
    found = regard.explain(regard.Model(Linear(), card()), scan(oblique), "smoothgrad:n_samples=8@smooth", seed=7)
    assert found.label == "smooth"
    assert found.knobs["n_samples"] == 8
    assert found.made["seed"] == 7
    assert len(found.made["inputs_sha256"]) == 64
    assert found.standard_error is not None


def test_the_same_method_twice_needs_a_label(oblique: np.ndarray) -> None:
    with pytest.raises(InputError, match="@LABEL"):
        regard.explain_case(regard.Model(Linear(), card()), scan(oblique), ["gradient", "gradient"])
