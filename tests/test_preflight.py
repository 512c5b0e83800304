"""A user's own network is probed before its first map: no false alarm on good ones, a sentence on bad ones."""

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks import nets
from torch import Tensor, nn
from torch.nn import functional

import regard
from regard.case.explaining import explain_case
from regard.core.errors import CapabilityError, InputError, ReferenceInputError, TargetError
from regard.core.spatial import interpolate
from regard.models import ModelCard
from regard.probing import Preflight
from regard.probing.example import random_scans
from regard.probing.record import read_record, write_record


def image(*size: int, channels: int = 1, seed: int = 0) -> Tensor:
    """Blobs inside an ellipsoid on an empty, slightly noisy background, (1, channel, \\*space)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, *[max(2, n // 4) for n in size], generator=generator)
    grids = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in size], indexing="ij")
    inside = sum((g / 0.85) ** 2 for g in grids) < 1
    x = (interpolate(coarse, size) + 0.3) * inside
    return x + 0.02 * torch.rand(x.shape, generator=generator)


Made = tuple[Callable[[], nn.Module], Tensor, Any]
MEAN = regard.Mean()

CLASSIFIERS: dict[str, Made] = {
    "DenseNet121 3D": (lambda: nets.DenseNet121(3, 1, 2), image(64, 64, 64), 0),
    "DenseNet121 2D": (lambda: nets.DenseNet121(2, 1, 2), image(96, 96), 1),
    "DenseNet121 1D": (lambda: nets.DenseNet121(1, 1, 2), image(512), 0),
    "DenseNet169 RGB": (lambda: nets.DenseNet169(2, 3, 4), image(96, 96, channels=3), 3),
    "ResNet10 2D": (lambda: nets.resnet10(spatial_dims=2, n_input_channels=1, num_classes=1), image(96, 96), None),
    "ResNet18 1D": (
        lambda: nets.resnet18(spatial_dims=1, n_input_channels=2, num_classes=1),
        image(512, channels=2),
        None,
    ),
    "ResNet50 2D": (
        lambda: nets.resnet50(spatial_dims=2, n_input_channels=3, num_classes=5),
        image(128, 128, channels=3),
        4,
    ),
    "SEResNet50": (lambda: nets.SEResNet50(spatial_dims=2, in_channels=1, num_classes=2), image(96, 96), 1),
    "EfficientNet": (
        lambda: nets.EfficientNetBN("efficientnet-b0", spatial_dims=2, in_channels=1, num_classes=2, pretrained=False),
        image(96, 96),
        1,
    ),
    "Regressor": (lambda: nets.Regressor((1, 64, 64), (1,), (8, 16, 32), (2, 2, 2)), image(64, 64), None),
    "Classifier": (lambda: nets.Classifier((1, 64, 64), 3, (8, 16, 32), (2, 2, 2)), image(64, 64), 2),
    "Discriminator": (lambda: nets.Discriminator((1, 64, 64), (8, 16, 32), (2, 2, 2)), image(64, 64), None),
    "Critic": (lambda: nets.Critic((1, 64, 64), (8, 16), (2, 2)), image(64, 64), None),
    "FullyConnectedNet": (lambda: nets.FullyConnectedNet(10, 1, (8, 8)), torch.linspace(0, 1, 10)[None], None),
}
IMAGES: dict[str, Made] = {
    "UNet 2D": (lambda: nets.UNet(2, 1, 1, (8, 16, 32), (2, 2)), image(64, 64), MEAN),
    "UNet 3D": (lambda: nets.UNet(3, 1, 2, (8, 16, 32), (2, 2), num_res_units=2), image(32, 32, 32), MEAN),
    "BasicUNet": (lambda: nets.BasicUNet(2, 1, 2, features=(8, 8, 16, 16, 32, 8)), image(64, 64), MEAN),
    "AttentionUnet": (lambda: nets.AttentionUnet(2, 1, 2, (8, 16, 32), (2, 2)), image(64, 64), MEAN),
    "SegResNet": (lambda: nets.SegResNet(2, 8, 1, 2), image(64, 64), MEAN),
    "DynUNet": (lambda: nets.DynUNet(2, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2]), image(64, 64), MEAN),
    "UNETR": (
        lambda: nets.UNETR(1, 2, (32, 32, 32), feature_size=4, hidden_size=48, mlp_dim=64, num_heads=4),
        image(32, 32, 32),
        MEAN,
    ),
    "SwinUNETR": (
        lambda: nets.SwinUNETR(in_channels=1, out_channels=2, feature_size=12, spatial_dims=2),
        image(64, 64),
        MEAN,
    ),
    "AutoEncoder": (lambda: nets.AutoEncoder(2, 1, 1, (8, 16), (2, 2)), image(64, 64), MEAN),
}
# A transformer's layers are tokens, which have no places by themselves; a vector has none at all.
NO_LAYER = {"FullyConnectedNet", "UNETR", "SwinUNETR"}


def probed(made: Made, methods: tuple[str, ...] = ()) -> Preflight:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        network = made[0]().eval()
    return regard.preflight(network, made[1], made[2], methods=methods)


def alarms(said: Preflight) -> list[str]:
    return [f"{p.name}: {p.sentence}" for p in said if p.state in ("told", "refused")]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_no_false_alarm_on_a_network_that_measures_or_classifies(name: str) -> None:
    # A vector's own blur and mean are the vector itself: its filling is told, see below.
    said = probed(CLASSIFIERS[name], ("gradient", "occlusion:filler=0") if name in NO_LAYER else ("grad-cam", "rise"))
    assert alarms(said) == []
    assert {p.name for p in said} >= {"output", "gradient", "response", "same twice", "cases apart"}
    assert not said.alone


@pytest.mark.parametrize("name", IMAGES)
def test_no_false_alarm_on_a_network_that_gives_images(name: str) -> None:
    """With skip connections most of the output goes round a deep layer: that is so, and is said."""
    said = probed(IMAGES[name], ("gradient", "occlusion") if name in NO_LAYER else ("grad-cam", "occlusion"))
    assert [a for a in alarms(said) if not a.startswith("layer, passed by")] == []
    if name not in NO_LAYER:
        assert said["layer, passed by"].state == ("ok" if name == "AutoEncoder" else "told")


def test_a_vision_transformer_of_several_outputs_is_probed_through_a_function() -> None:
    def logit(output: Any) -> Tensor:
        return output[0][:, 1]

    def make() -> nn.Module:
        return nets.ViT(
            1, (64, 64), (8, 8), hidden_size=48, mlp_dim=64, num_layers=2, num_heads=4, classification=True,
            num_classes=2, spatial_dims=2,
        )  # fmt: skip

    assert alarms(probed((make, image(64, 64), logit), ("gradient", "rise"))) == []
    assert "one tensor" in probed((make, image(64, 64), 1), ("gradient",))["output"].sentence


class Small(nn.Module):
    """One convolution and a head; what its subclasses do wrong is all that is wrong."""

    def __init__(self, n_outputs: int = 2) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv2d(1, 8, 3, 2, padding=1)
        self.norm: nn.Module = nn.Identity()
        self.head = nn.Linear(8, n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.body(x)).relu().mean((2, 3)))


class NoStatistics(Small):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8, track_running_stats=False)


class Sequence(nn.Module):
    """A transformer over a signal; without ``batch_first`` it takes the batch for the sequence."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv1d(1, 16, 8, 4)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
        self.mix = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.body(x).transpose(1, 2)).mean(1))


class ForcedDropout(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.dropout(self.body(x).relu().mean((2, 3)), 0.3, training=True))


class Decided(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).argmax(1, keepdim=True)


class Dead(Small):
    def __init__(self) -> None:
        super().__init__()
        nn.init.constant_(self.body.bias, -1000.0)


class Squeezed(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze()


class TwoViews(nn.Module):
    """Two encoders that are joined late."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.pa, self.lateral = nn.Conv2d(1, 8, 3, 2), nn.Conv2d(1, 8, 3, 2)
        self.head = nn.Linear(16, 1)

    def forward(self, pa: Tensor, lateral: Tensor) -> Tensor:
        views = [self.pa(pa).relu().mean((2, 3)), self.lateral(lateral).relu().mean((2, 3))]
        return self.head(torch.cat(views, 1))


class ChannelsLast(nn.Module):
    """(N, H, W, C) before the head, as Swin has it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.norm, self.head = nn.Conv2d(1, 12, 4, 4), nn.LayerNorm(12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.gelu(self.norm(self.body(x).permute(0, 2, 3, 1))).mean((1, 2)))


def difference_beside_another(network: nn.Module, x: Tensor) -> float:
    """|f([x, y])[0] - f([x])[0]| for any other input y; 0 where cases do not mix."""
    with torch.no_grad():
        return float((network(torch.cat([x, torch.rand_like(x)]))[:1] - network(x)).abs().max())


@pytest.mark.parametrize(
    ("network", "x"), [(NoStatistics(), image(64, 64)), (Sequence(False), image(256))], ids=["norm", "batch_first"]
)
def test_cases_that_mix_in_a_batch_are_told(network: nn.Module, x: Tensor) -> None:
    assert difference_beside_another(network.eval(), x) > 1e-3
    said = regard.preflight(network, x, 0, methods=["gradient"])
    assert said["cases apart"].state == "told"
    assert said["cases apart"].figure > 1e-4
    assert said.alone
    assert "batch size 1" in said.warnings[0]


def test_the_same_transformer_with_batch_first_passes() -> None:
    network, x = Sequence(True).eval(), image(256)
    assert difference_beside_another(network, x) < 1e-6
    assert regard.preflight(network, x, methods=["gradient"])["cases apart"].state == "ok"


def card(n_inputs: int = 1, kind: str = "regression") -> ModelCard:
    one = {"channels": 1, "orientation": "PL", "shape": [32, 32], "fit": "crop-pad"}
    names = ["image"] if n_inputs == 1 else ["pa", "lateral"]
    output = {"kind": kind, "names": ["a"], "units": ["a.u."]}
    return ModelCard.model_validate({"name": "m", "inputs": [one | {"name": n} for n in names], "output": output})


class NormAlone(Small):
    """What batch normalisation without statistics is for a batch of one: normalisation of the case alone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(8)


@pytest.mark.parametrize(
    "method",
    ["gradient", "occlusion:window=8,stride=8", "occlusion:window=8,stride=8,incremental=never", "lime:n_samples=40",
     "rise:n_masks=40", "smoothgrad:n_samples=4", "integrated-gradients:n_steps=4", "lam:n_steps=4",
     "guided-backpropagation", "score-cam", "ablation-cam", "crm", "grad-cam", "shapley:n_samples=2"],
)  # fmt: skip
def test_a_network_whose_cases_mix_is_explained_one_evaluation_at_a_time(method: str) -> None:
    """The right value: the same network with a normalisation that never looks at other cases."""
    scans = random_scans(card())
    right = explain_case(regard.Model(NormAlone().eval(), card()), scans, [method], target=0, layer="body")
    found = explain_case(regard.Model(NoStatistics().eval(), card()), scans, [method], target=0, layer="body")
    want, got = right.explanations[0], found.explanations[0]
    torch.testing.assert_close(got.relevance.tensor, want.relevance.tensor, atol=1e-5, rtol=1e-3, equal_nan=True)
    assert any("another case stands in the batch" in w for w in got.warnings)
    assert not any("batch" in w for w in want.warnings)
    assert (want.made["batch_size"], got.made["batch_size"]) == ("auto", 1)


def test_the_tensor_api_probes_when_asked() -> None:
    network, x = NoStatistics().eval(), torch.cat([image(32, 32), image(32, 32, seed=1)])
    right = regard.Gradient(NormAlone().eval()).attribute(x, target=0)
    asked = regard.Gradient(network).attribute(x, target=0, preflight=True)
    torch.testing.assert_close(asked, right, atol=1e-7, rtol=1e-4)
    assert float((regard.Gradient(network).attribute(x, target=0) - right).abs().max()) > 0.01 * float(
        right.abs().max()
    )
    noted = regard.Gradient(network).compute(x, 0, preflight=True).notes["preflight"]
    assert "another case stands in the batch" in noted[0]
    with pytest.raises(CapabilityError, match="no gradient ties"):
        regard.Gradient(Decided()).attribute(x, preflight=True)


def test_a_network_that_draws_at_random_is_told_with_how_far_it_strays() -> None:
    network, x = ForcedDropout().eval(), image(64, 64)
    with torch.no_grad():
        draws = torch.stack([network(x)[0, 0] for _ in range(200)])
    said = regard.preflight(network, x, 0, methods=["occlusion"])["same twice"]
    assert said.state == "told"
    assert 0 < said.figure < float(draws.max() - draws.min()) * 1.5
    assert "a seed cannot help" in said.sentence


def test_an_output_without_a_gradient_is_refused_for_methods_that_need_one() -> None:
    dynamic = torch.ao.quantization.quantize_dynamic(
        nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
        {nn.Linear},
        dtype=torch.qint8,
    ).eval()
    for network, target in ((dynamic, 0), (Decided().eval(), None)):
        said = regard.preflight(network, image(64, 64), target, methods=["integrated-gradients", "grad-cam"])
        assert [p.name for p in said if p.state == "refused"] == ["gradient"]
        with pytest.raises(CapabilityError, match="no gradient ties .*expected.*occlusion"):
            said.check()
    # Its linear layer is scaled by the range of the whole batch, and that is told.
    (mixes,) = alarms(regard.preflight(dynamic, image(64, 64), 0, methods=["occlusion"]))
    assert mixes.startswith("cases apart: ")


def test_a_network_that_answers_to_nothing_is_told() -> None:
    said = regard.preflight(Dead().eval(), image(64, 64), 0, methods=["gradient"])
    assert said["gradient"].state == said["response"].state == "told"
    assert said["gradient"].figure == 0


def test_a_row_that_is_not_a_case_is_refused() -> None:
    said = regard.preflight(Squeezed().eval(), image(64, 64), 0)
    with pytest.raises(TargetError, match=r"\(2,\).*one row per input case"):
        said.check()


def test_a_layer_that_looks_at_one_input_only_is_told() -> None:
    views = (image(64, 64), image(64, 64, seed=3))
    said = regard.preflight(TwoViews().eval(), views, layer="lateral", methods=["grad-cam"])
    assert said["layer, places of input 1"].state == "told"
    assert "does not depend on input 1" in said["layer, places of input 1"].sentence
    assert said["layer, places of input 2"].state == "ok"
    assert said["layer, passed by"].state == "told"


def test_the_share_that_goes_round_a_layer_is_that_of_the_closed_form() -> None:
    """f = sum of two branches of the same map, one of them through the layer: half of any change goes round it."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.through = nn.Conv2d(1, 1, 1, bias=False)
            nn.init.constant_(self.through.weight, 1.0)

        def forward(self, x: Tensor) -> Tensor:
            return (self.through(x) + x).mean((2, 3))

    said = regard.preflight(Halves().eval(), image(32, 32), layer="through", methods=["grad-cam"])
    assert said["layer, passed by"].figure == pytest.approx(0.5, rel=1e-4)
    assert "50 %" in said["layer, passed by"].sentence


def test_axes_of_features_are_not_taken_for_places() -> None:
    """Read as (N, C, H, W), a channels-last layer has a width and features for axes."""
    from regard.core.explainer import Query
    from regard.core.inputs import Inputs
    from regard.explainers.cam.recorded import Recorded
    from regard.probing.answers import pair, with_gradient
    from regard.probing.layer import layer_probes

    network, x = ChannelsLast().eval(), image(64, 64)
    answers = with_gradient(Query(network, Inputs.of(x), regard.Output(0)), differentiable=True, layer=network.norm)
    answers.again = answers.value
    pair(answers, network.norm)
    with torch.no_grad():
        output = network.norm(network.body(x).permute(0, 2, 3, 1))

    def said(reshape: Any) -> str:
        placed = output if reshape is None else reshape(output)
        recorded = Recorded("norm", network.norm, output, placed, placed, torch.zeros(1), reshape)
        return {p.name: p.state for p in layer_probes(answers, recorded)}["layer, places"]

    assert said(None) == "refused"
    assert said(lambda t: t.permute(0, 3, 1, 2)) == "ok"
    assert said(lambda t: t.permute(0, 3, 2, 1)) == "refused"  # width and height the wrong way round


def test_a_weight_is_not_an_activation() -> None:
    """A kernel (1, 1, 3, 3) has the shape of a map of one case."""
    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 3, padding=1))
    network = nn.Sequential(normed, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1)).eval()
    said = regard.preflight(network, image(32, 32), layer="0.parametrizations.weight", methods=["grad-cam"])
    assert said["layer"].state == "refused"
    assert "weight" in said["layer"].sentence


def test_the_output_is_not_a_layer_of_its_own() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1)).eval()
    said = regard.preflight(network, image(32, 32), regard.Mean(), layer="2", methods=["grad-cam"])
    assert any(p.name == "layer" and p.state in ("told", "refused") for p in said)


def test_a_network_exported_for_one_case_is_explained_one_evaluation_at_a_time() -> None:
    network, x = Small().eval(), image(32, 32)
    exported = torch.export.export(network, (x,)).module()
    said = regard.preflight(exported, x, 0, methods=["occlusion"])
    assert said["cases apart"].state == "told"
    assert said.alone
    scans = random_scans(card())
    method = "occlusion:window=8,stride=8"
    right = explain_case(regard.Model(network, card()), scans, [method], target=0).explanations[0].relevance.tensor
    found = explain_case(regard.Model(exported, card()), scans, [method], target=0).explanations[0].relevance.tensor
    torch.testing.assert_close(found, right, atol=1e-6, rtol=1e-4)


def test_rounding_that_drowns_the_output_is_told() -> None:
    class Offset(Small):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 1e-4 + 1e4

    said = regard.preflight(Offset().eval(), image(64, 64), 0, methods=["occlusion"])
    assert said["response"].state == "told"
    assert "float64" in said["response"].sentence
    exact = regard.preflight(Offset().double().eval(), image(64, 64).double(), 0, methods=["occlusion"])
    assert exact["response"].state == "ok"


def test_what_a_case_is_compared_with_must_differ_from_it() -> None:
    network, x = Small().eval(), image(32, 32)
    same = regard.preflight(network, x, 0, methods=["integrated-gradients"], reference=x)
    with pytest.raises(ReferenceInputError, match="the input itself"):
        same.check()
    other = regard.preflight(network, x, 0, methods=["integrated-gradients"], reference=0.0)
    assert other["reference"].state == "ok"

    class WithAge(Small):
        def forward(self, x: Tensor, age: Tensor) -> Tensor:
            return super().forward(x)[:, :1] + 2 * age[:, :1]

    said = regard.preflight(WithAge().eval(), {"x": x, "age": torch.tensor([[60.0]])}, methods=["occlusion"])
    assert said["filler auto"].state in ("told", "refused")


def test_a_constant_image_and_a_saturated_probability_are_told() -> None:
    flat = regard.preflight(Small().eval(), torch.full((1, 1, 32, 32), 0.3), 0, methods=["gradient"])
    assert flat["constant input"].state == "told"
    sure = regard.preflight(Small().eval(), image(32, 32) * 1e4, regard.Probability(0), methods=["gradient"])
    assert "-t logit:0" in sure["saturation"].sentence


class Counting(nn.Module):
    """Counts its calls, and the backward passes that reach its output."""

    def __init__(self, network: nn.Module, *, one_case: bool = False) -> None:
        super().__init__()
        self.network, self.one_case = network, one_case
        self.n_forwards = self.n_backwards = 0

    def forward(self, *inputs: Tensor) -> Tensor:
        self.n_forwards += 1
        if self.one_case and len(inputs[0]) > 1:
            raise RuntimeError("one case at a time")
        output = self.network(*inputs)
        if output.requires_grad:
            output.register_hook(self._count)
        return output

    def _count(self, _: Tensor) -> None:
        self.n_backwards += 1


@pytest.mark.parametrize("one_case", [False, True])
@pytest.mark.parametrize("methods", [(), ("gradient",), ("occlusion",), ("grad-cam", "smoothgrad", "rise")])
def test_the_price_is_eight_forwards_and_two_backwards(methods: tuple[str, ...], one_case: bool) -> None:
    for mixing in (False, True):
        network = Counting((NoStatistics() if mixing else Small()).eval(), one_case=one_case)
        said = regard.preflight(network, image(64, 64), 0, methods=methods)
        assert said["cases apart"].state == ("told" if one_case or mixing else "ok")
        assert 0 < network.n_forwards <= 8
        assert network.n_backwards <= 2


@pytest.mark.parametrize("one_case", [False, True])
def test_the_price_of_a_further_input_is_two_forwards(one_case: bool) -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body, self.head = nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 1)

        def forward(self, *views: Tensor) -> Tensor:
            return self.head(self.body(torch.cat(views, 1)).relu().mean((2, 3)))

    network = Counting(Views().eval(), one_case=one_case)
    views = tuple(image(64, 64, seed=n) for n in range(3))
    said = regard.preflight(network, views, methods=["grad-cam"])
    assert [p.state for p in said if p.name.startswith("layer, places")] == ["ok"] * 3
    assert network.n_forwards <= 8 + 2 * 2
    assert network.n_backwards <= 2


def test_a_network_is_probed_once_for_a_target_until_its_weights_change() -> None:
    network = Counting(Small().eval())
    model, scans = regard.Model(network, card(kind="classification")), random_scans(card())

    def price(target: int) -> int:
        network.n_forwards = 0
        found = explain_case(model, scans, ["gradient"], target=target)
        assert found.preflight["cases apart"].state == "ok"
        return network.n_forwards

    first, again = price(0), price(0)
    assert again == 1 < first
    assert price(1) == first
    assert price(1) == again
    with torch.no_grad():
        network.network.head.weight.add_(0.01)
    assert price(1) == first


def test_what_an_earlier_run_recorded_is_not_probed_again() -> None:
    network = Counting(NoStatistics().eval())
    model = regard.Model(network, card(), weights_sha256="a" * 64)
    said = explain_case(model, random_scans(card()), ["gradient"], target=0).preflight
    record = write_record(said, model, "case-1")
    known = read_record(record, model)
    assert known is not None
    assert known.alone
    assert known.warnings == said.warnings
    network.n_forwards = 0
    other = regard.Model(network, card(), weights_sha256="a" * 64)
    found = explain_case(other, random_scans(card()), ["gradient"], target=0, preflight=known)
    assert network.n_forwards == 1
    assert list(found.explanations[0].warnings) == list(said.warnings)
    assert read_record(record, regard.Model(network, card(), weights_sha256="b" * 64)) is None
    assert read_record(record, regard.Model(network, card(2), weights_sha256="a" * 64)) is None
    assert read_record(None) is None


def test_a_refusal_stops_the_map_and_leaves_the_network_as_it_was() -> None:
    network = Decided()
    network.train()
    model = regard.Model(network, card())
    before = {k: v.clone() for k, v in network.state_dict().items()}
    state = torch.get_rng_state()
    with pytest.raises(InputError, match="no gradient ties"):
        regard.explain(model, random_scans(card())["image"], "gradient")
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not network._forward_hooks
    assert not network.body._forward_hooks


def test_a_random_scan_lies_on_the_cards_grid() -> None:
    spec = {"orientation": "IPL", "shape": [8, 10, 12], "spacing_mm": [3.0, 2.0, 1.0], "fit": "crop-pad"}
    made = ModelCard.model_validate(
        {"name": "m", "inputs": [{"name": "image", **spec}], "output": {"kind": "regression"}}
    )
    scan = random_scans(made)["image"]
    prepared = regard.models.Preparation(made.inputs[0]).prepare(scan)
    assert tuple(prepared.tensor.shape) == (1, 1, 8, 10, 12)
    np.testing.assert_allclose(prepared.tensor[0].numpy(), scan.tensor.numpy(), atol=1e-6)
    assert scan.grid.orientation == "IPL"


class Graphs(nn.Module):
    """Counts the graphs through it that are alive at once."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.most = 0

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.network(x)
        if output.requires_grad:
            self.alive.add(output)
            self.most = max(self.most, len(self.alive))
        return output


@pytest.mark.parametrize("methods", [["gradient"], ["gradient", "occlusion"], ["grad-cam"], ["grad-cam", "gradient"]])
def test_no_two_graphs_of_a_network_live_at_once(methods: list[str]) -> None:
    network = Graphs(Small().eval())
    model = regard.Model(network, card(kind="classification"))
    made = explain_case(model, random_scans(card()), methods, target=0)
    assert made.preflight["cases apart"].state == "ok"
    assert network.most == 1


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 12 (Cannot)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)
@pytest.mark.parametrize("methods", [["gradient"], ["occlusion"], ["grad-cam"]])
def test_memory_that_a_probe_lacks_refuses_nothing(failure: Exception, methods: list[str]) -> None:
    class Full(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = Small()
            self.left = 1000

        def forward(self, x: Tensor) -> Tensor:
            self.left -= 1
            if self.left < 0:
                raise failure
            return self.network(x)

    for left in range(8):
        network = Full().eval()
        network.left = left
        said = regard.preflight(network, image(64, 64), 0, methods=methods)
        assert not [p for p in said if p.state == "refused"], left
