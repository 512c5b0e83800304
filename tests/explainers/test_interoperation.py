# ruff: noqa: NPY002
"""captum's attributions as methods of Regard, and methods of Regard where captum and Quantus expect theirs."""

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, IntegratedGradients, LayerGradCam, Saliency
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn

import regard
from regard.core.errors import InputError, ReferenceInputError, ShapeError, TargetError
from regard.core.quantity import Quantity, Sign
from regard.explainers import METHODS
from regard.explainers.as_captum import AsCaptum, read_target
from regard.explainers.as_quantus import ExplainFunction
from regard.explainers.captum_attribution import CaptumAttribution
from regard.explainers.spec import parse_methods
from regard.io.names import letters_and_digits
from regard.testing import check
from regard.testing.networks import TinyNetwork, example

SIZE = (6, 7)


@pytest.fixture
def x() -> Tensor:
    return example(SIZE, 2)


# --- captum's attribution as a method of Regard -------------------------------------------------------------------


def path(network: nn.Module) -> CaptumAttribution:
    return CaptumAttribution(network, IntegratedGradients, quantity="contribution", options={"n_steps": 30})


def test_captums_path_is_ours_with_the_same_nodes(x: Tensor) -> None:
    """captum's default rule is Gauss-Legendre too; the maps differ by nothing but rounding."""
    network = TinyNetwork(SIZE)
    ours = regard.IntegratedGradients(network, n_steps=30).attribute(x, reference=0.25)
    torch.testing.assert_close(path(network).attribute(x, reference=0.25), ours, rtol=1e-5, atol=1e-6)


def test_a_place_of_an_image_is_a_target_for_captum_too(x: Tensor) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 1)).double()
    explainer = CaptumAttribution(network, Saliency, quantity="sensitivity", sign=Sign.RAISES, options={"abs": False})
    found = explainer.attribute(x, lambda y: y[:, 0, 2, 3])
    torch.testing.assert_close(found, regard.Gradient(network).attribute(x, lambda y: y[:, 0, 2, 3]))
    assert explainer.meaning == (Quantity.SENSITIVITY, Sign.RAISES)
    assert network[1].inplace


def test_completeness_is_stated_against_captums_own_zeros(x: Tensor) -> None:
    network = TinyNetwork(SIZE).eval()
    found = path(network).compute(x[:1])
    with torch.no_grad():
        expected = network(x[:1]) - network(torch.zeros_like(x[:1]))
    assert found.notes["reference"] == "zeros, captum's own"
    total = found.relevance[0].double().sum()
    assert float(found.completeness_error) == pytest.approx(float(total - expected), abs=1e-9)


def test_an_incomplete_attribution_is_told(x: Tensor, caplog) -> None:
    class Half:
        def __init__(self, network: nn.Module) -> None:
            self.inner = IntegratedGradients(network)

        def attribute(self, inputs, baselines=None):
            return tuple(0.5 * m for m in self.inner.attribute(inputs, baselines=baselines))

    found = CaptumAttribution(TinyNetwork(SIZE), Half, quantity="contribution").compute(x[:1], reference=0.5)
    assert found.notes["completeness"].startswith("violated by ")
    assert "Half: the map misses f(x) - f(reference)" in caplog.text


def test_a_map_of_a_layer_comes_to_the_inputs_grid() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.AvgPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 1)
    ).double()
    x = example((6, 8))
    found = CaptumAttribution(network, lambda f: LayerGradCam(f, network[1])).attribute(x)
    torch.testing.assert_close(found, regard.GradCAM(network, layer="1").attribute(x))


def test_draws_are_keyed(x: Tensor) -> None:
    explainer = CaptumAttribution(TinyNetwork(SIZE), GradientShap, quantity="contribution")
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first = explainer.attribute(x[:1], reference=0.0, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.random.get_state()[1].tolist() == numpy_state
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(first, explainer.attribute(x[:1], reference=0.0, seed=3))
    assert not torch.equal(first, explainer.attribute(x[:1], reference=0.0, seed=4))


@pytest.mark.parametrize(
    "law", ["restores", "batch", "deterministic", "complete", "in-place", "several inputs", "leak-free"]
)
def test_it_keeps_the_laws(law: str) -> None:
    check(law, CaptumAttribution, {"method": IntegratedGradients, "quantity": "contribution"})


def test_what_captum_cannot_do_is_one_sentence(x: Tensor) -> None:
    network = TinyNetwork(SIZE)
    with pytest.raises(ReferenceInputError, match="Saliency, which cannot compare"):
        CaptumAttribution(network, Saliency).attribute(x, reference=0.0)
    with pytest.raises(InputError, match="option 'steps' of IntegratedGradients"):
        CaptumAttribution(network, IntegratedGradients, options={"steps": 3}).attribute(x)
    with pytest.raises(InputError, match="option 'target'"):
        CaptumAttribution(network, IntegratedGradients, options={"target": 3})
    with pytest.raises(InputError, match="method of type int"):
        CaptumAttribution(network, 3)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="attribution of shape"):
        CaptumAttribution(network, lambda f: LayerGradCam(f, network.head)).attribute(x)


# --- a method of Regard for captum --------------------------------------------------------------------------------


def test_captum_measures_a_method_of_ours(x: Tensor) -> None:
    """A linear network: the gradient never changes, and times the perturbation it is exact."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(42, 3)).double().eval()
    ours = AsCaptum(regard.Gradient(network))
    assert float(sensitivity_max(ours.attribute, x, target=1).max()) == pytest.approx(0, abs=1e-6)

    def moved(inputs: Tensor) -> tuple[Tensor, Tensor]:
        noise = 0.1 * torch.randn_like(inputs)
        return noise, inputs - noise

    found = ours.attribute(x, target=torch.tensor([0, 2])).double()
    assert float(infidelity(network, moved, x, found, target=torch.tensor([0, 2])).max()) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("method", [regard.Occlusion, regard.InputXGradient])
def test_maps_have_the_inputs_shape(method: type) -> None:
    """A contribution is shared among channels, an effect is that of all channels together."""
    network, x = TinyNetwork(SIZE, channels=2), example(SIZE, 1, channels=2)
    plain = method(network).attribute(x)
    wide = AsCaptum(method(network)).attribute(x)
    assert wide.shape == x.shape
    if plain.shape[1] == 1:
        assert torch.equal(wide[:, :1], plain)
        assert torch.equal(wide[:, 1:], plain)
    total = AsCaptum(regard.GradRAMP(network, layer="last")).attribute(x).sum()
    torch.testing.assert_close(total, regard.GradRAMP(network, layer="last").attribute(x).sum())


def test_targets_as_captum_writes_them(x: Tensor) -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(1, 2, 3, padding=1).double()
    ours, plain = AsCaptum(regard.Gradient(network)), regard.Gradient(network)
    expected = plain.attribute(x, lambda y: y[:, 1, 2, 3])
    assert torch.equal(ours.attribute(x, target=(1, 2, 3)), expected)
    assert torch.equal(ours.attribute(x, target=[(1, 2, 3), (1, 2, 3)]), expected)
    assert isinstance(ours.attribute((x,), target=(1, 2, 3)), tuple)
    assert read_target(torch.tensor([4])) == 4
    assert read_target(torch.tensor([4, 0])) == [4, 0]
    assert read_target([1, 2]) == [1, 2]
    assert read_target(None) is None
    with pytest.raises(TargetError, match="'one'"):
        read_target("one")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="additional_forward_args"):
        ours.attribute(x, additional_forward_args=3)  # type: ignore[arg-type]


def test_baselines_are_references(x: Tensor) -> None:
    network = TinyNetwork(SIZE)
    found = AsCaptum(regard.IntegratedGradients(network)).attribute(x, baselines=0.25)
    assert torch.equal(found, regard.IntegratedGradients(network).attribute(x, reference=0.25))


# --- a method of Regard for Quantus -------------------------------------------------------------------------------


def test_labels_say_which_output_of_a_classifier(x: Tensor) -> None:
    network = TinyNetwork(SIZE, n_outputs=3).float()
    images, labels = x.float().numpy(), np.array([2, 0])
    found = ExplainFunction("gradient")(network, images, labels, device="cpu", method="any")
    assert isinstance(found, np.ndarray)
    assert found.shape == (2, 1, *SIZE)
    for n, label in enumerate(labels):
        expected = regard.Gradient(network).attribute(x[n : n + 1].float(), int(label))
        np.testing.assert_allclose(found[n : n + 1], expected.numpy(), rtol=1e-5, atol=1e-6)


def test_a_label_of_a_regressor_names_no_output(x: Tensor) -> None:
    network = TinyNetwork(SIZE)

    class Wrapper:
        def get_model(self) -> nn.Module:
            return network

    found = ExplainFunction(lambda f: regard.Gradient(f))(Wrapper(), x.numpy(), np.array([61.5, 70.2]))
    assert torch.equal(torch.from_numpy(found), regard.Gradient(network).attribute(x))
    with pytest.raises(ShapeError, match="3 labels"):
        ExplainFunction("gradient")(network, x.numpy(), np.zeros(3))


def test_a_target_of_ones_own_stands_for_all(x: Tensor) -> None:
    network = nn.Conv2d(1, 1, 3, padding=1).double()
    with pytest.raises(TargetError):
        ExplainFunction("gradient")(network, x.numpy(), np.zeros(2))
    found = ExplainFunction("gradient", target=lambda y: y.flatten(1).sum(1))(network, x.numpy(), np.zeros(2))
    assert found.shape == (2, 1, *SIZE)


def test_all_methods_of_the_registry_go_together_in_one_run() -> None:
    specs = parse_methods(list(METHODS))
    assert len({letters_and_digits(spec.label).lower() for spec in specs}) == len(list(METHODS))
    with pytest.raises(InputError, match="'gradient' and 'grad-ient'"):
        parse_methods(["gradient", "occlusion@grad-ient"])
