"""Layers of networks as users have them: which is looked at, how its axes lie, what the map shows."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

import regard
from regard.core.choosing import watch
from regard.core.errors import CapabilityError, InputError
from regard.core.places import parse_layout
from regard.core.spatial import interpolate, spread
from regard.explainers import METHODS

from .stand_ins import (
    Bag,
    ConvNeXt,
    DeepSupervision,
    Hybrid,
    MeanOfMembers,
    Regressor,
    Slices,
    Swin,
    TwoScales,
    TwoViews,
    ViT,
)

CAMS = [name for name in METHODS if ".cam." in METHODS.entry(name)[0]]


def image(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def compute(name: str, network: Any, inputs: Any, layer: Any = None, target: Any = None, **knobs: Any) -> Any:
    return METHODS.load(name)(network, layer, **knobs).compute(inputs, target)


PICTURE = (2, 1, 16, 24)
TURNED: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, ...], Callable[[Tensor], Tensor]]] = {
    "Swin": (Swin, "norm", PICTURE, lambda t: t.permute(0, 3, 1, 2)),
    "Swin, merged": (Swin, "merge", PICTURE, lambda t: t.permute(0, 3, 1, 2)),
    "ConvNeXt": (ConvNeXt, "norm", PICTURE, lambda t: t.permute(0, 3, 1, 2)),
    "ConvNeXt, inside": (ConvNeXt, "stage.1.mlp", PICTURE, lambda t: t.permute(0, 3, 1, 2)),
    "ViT, 1D": (lambda: ViT(1), "blocks.0", (2, 1, 16), lambda t: t[:, 1:].mT),
    "ViT, 2D": (lambda: ViT(2), "blocks.0", PICTURE, lambda t: t[:, 1:].mT.unflatten(2, (4, 6))),
    "ViT, 3D": (lambda: ViT(3), "blocks.0", (2, 1, 16, 24, 8), lambda t: t[:, 1:].mT.unflatten(2, (4, 6, 2))),
    "ViT, registers": (
        lambda: ViT(2, registers=4, patches="reshape", fused=False),
        "blocks.1.norm1",
        PICTURE,
        lambda t: t[:, 5:].mT.unflatten(2, (4, 6)),
    ),
    "ViT, mean": (lambda: ViT(2, pool="mean"), "norm", PICTURE, lambda t: t.mT.unflatten(2, (4, 6))),
    "encoder, 1D": (Hybrid, "encoder", (2, 1, 16), lambda t: t.mT),
    "encoder, 2D": (lambda: Hybrid(2), "encoder.layers.1.norm1", PICTURE, lambda t: t.mT.unflatten(2, (8, 12))),
    "encoder, 3D": (lambda: Hybrid(3), "encoder", (2, 1, 8, 6, 4), lambda t: t.mT.unflatten(2, (4, 3, 2))),
    "encoder, tokens first": (
        lambda: Hybrid(2, batch_first=False),
        "encoder.layers.1.linear2",
        PICTURE,
        lambda t: t.permute(1, 2, 0).unflatten(2, (8, 12)),
    ),
}


@pytest.mark.parametrize("name", ["grad-cam", "hires-cam", "eigen-grad-cam", "crm", "ablation-cam", "score-cam"])
@pytest.mark.parametrize("which", TURNED)
def test_a_layer_that_is_not_channels_first_is_turned_as_by_hand(which: str, name: str) -> None:
    make, layer, shape, by_hand = TURNED[which]
    network, x = make(), image(*shape)[: 1 if name in ("crm", "ablation-cam", "score-cam") and "first" in which else 2]
    found = compute(name, network, x, layer)
    expected = compute(name, network, x, layer, reshape=by_hand).relevance[0]
    assert float(expected.abs().max()) > 1e-12
    assert torch.equal(found.relevance[0], expected)
    # What is recorded, written by a user, is the same again.
    assert torch.equal(compute(name, network, x, layer, reshape=found.notes["reshape"]).relevance[0], expected)


def test_channels_last_before_pooling_and_a_linear_head_is_the_class_activation_map() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(1, 16, 3, padding=1), nn.LayerNorm(16), nn.Linear(16, 1)
            self.double()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.conv(x).permute(0, 2, 3, 1)).mean((1, 2)))

    network, x = Last(), image(1, 1, 16, 16)
    with torch.no_grad():
        places = network.norm(network.conv(x).permute(0, 2, 3, 1)) @ network.head.weight[0] / 256
    found = compute("grad-cam", network, x)
    assert found.notes["layer"] == "norm"
    torch.testing.assert_close(found.relevance[0][0, 0], places[0].float() / 256 * 256, rtol=1e-5, atol=1e-9)


AUTOMATIC = [
    (lambda: ViT(2), "blocks.1.norm1", "tokens:4x6+1"),
    (lambda: ViT(2, registers=4), "blocks.1.norm1", "tokens:4x6+5"),
    (lambda: ViT(2, pool="mean", registers=2), "norm", "tokens:4x6+2"),
    (Swin, "norm", "channels-last"),
    (ConvNeXt, "norm", "channels-last"),
    (lambda: Hybrid(2), "encoder", "tokens:8x12"),
    (lambda: Hybrid(2, batch_first=False), "encoder", "tokens:8x12:batch-second"),
]


@pytest.mark.parametrize(("make", "layer", "reshape"), AUTOMATIC)
def test_the_layer_of_a_transformer_is_one_whose_places_are_looked_at(make: Any, layer: str, reshape: str) -> None:
    found = compute("grad-ram", make(), image(*PICTURE))
    assert (found.notes["layer"], found.notes["reshape"]) == (layer, reshape)
    assert float(found.relevance[0].std()) > 0


@pytest.mark.parametrize("name", CAMS)
def test_a_layer_after_which_only_the_class_token_counts_is_refused(name: str) -> None:
    with pytest.raises(CapabilityError, match="layer 'norm', after which the output depends on no place"):
        compute(name, ViT(2), image(*PICTURE), "norm")


def parts(network: nn.Module) -> int:
    """Counts the runs of the network's first part."""
    runs = []
    first = next(m for m in network.modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d)))
    first.register_forward_hook(lambda *_: runs.append(1))
    network.runs = runs  # type: ignore[assignment]
    return 0


@pytest.mark.parametrize(("make", "most"), [(Regressor, 2), (Swin, 2), (lambda: ViT(2, pool="mean"), 2), (ViT, 6)])
def test_choosing_a_layer_costs_few_passes(make: Callable[[], nn.Module], most: int) -> None:
    network = make()
    parts(network)
    compute("grad-cam", network, image(*PICTURE))
    # A class token: one to see it, one for the gradients at all layers, one to record, three for what goes round.
    assert len(network.runs) == most  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", [weight_norm, spectral_norm])
def test_a_weight_is_no_layer_and_neither_is_the_output(norm: Callable[[nn.Module], nn.Module]) -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), norm(nn.Conv2d(3, 3, 3)), nn.ReLU(), norm(nn.Conv2d(3, 1, 3))
    ).double()
    x = image(*PICTURE)
    network(x)
    assert compute("grad-cam", network, x, target=lambda o: o.mean((1, 2, 3))).notes["layer"] == "3"
    seen = watch(network, lambda: network(x[:1])).candidates
    assert [c.name for c in seen] == ["0", "1", "2", "3", "4"]
    with pytest.raises(CapabilityError, match="a weight or a table"):
        compute("grad-cam", network, x, "4.parametrizations.weight", lambda o: o.mean((1, 2, 3)))


@pytest.mark.parametrize("kind", ["list", "tuple", "dict"])
def test_an_output_among_others_is_no_layer(kind: Any) -> None:
    network, x = DeepSupervision(kind), image(*PICTURE)

    def wanted(output: Any) -> Tensor:
        return (output["out"] if isinstance(output, dict) else output[0])[:, 1].mean((1, 2))

    found = compute("grad-cam", network, x, target=wanted)
    assert found.notes["layer"] == "down2"
    assert found.notes["share_beside_layer"][0] > 0
    assert "does not pass through the layer 'down2'" in found.warnings[0]


def test_each_of_two_images_gets_the_map_of_its_own_branch() -> None:
    network, pa, lat = TwoViews(), image(*PICTURE), image(*PICTURE, seed=1)
    found = compute("hires-cam", network, {"pa": pa, "lat": lat})
    assert set(found.notes["layer"].split(", ")) == {"pa", "lat"}
    one, other = found.relevance
    assert not torch.equal(one, other)
    # The total of both, and what is left, is f(x): the hand-written sum of gradient times activation.
    a, b = (m(x).detach().requires_grad_() for m, x in ((network.pa, pa), (network.lat, lat)))
    y = network.head(torch.cat([a.mean((2, 3)), b.mean((2, 3))], 1))
    for grown, t, g in zip((one, other), (a, b), torch.autograd.grad(y.sum(), (a, b)), strict=True):
        torch.testing.assert_close(grown, spread((t * g).sum(1, keepdim=True).detach(), (16, 24)).float())
    total = one.sum((1, 2, 3)) + other.sum((1, 2, 3)) + torch.tensor(found.notes["remainder"])
    torch.testing.assert_close(total.double(), found.value.double(), rtol=1e-4, atol=1e-6)


def test_a_map_does_not_go_to_an_image_that_its_layer_does_not_see(caplog: pytest.LogCaptureFixture) -> None:
    network, inputs = TwoViews(), {"pa": image(*PICTURE), "lat": image(*PICTURE, seed=1)}
    found = compute("grad-cam", network, inputs, "lat")
    assert bool(torch.isnan(found.relevance[0]).all())
    assert bool(torch.isfinite(found.relevance[1]).all())
    assert any("'lat' does not depend on the input 'pa'" in w for w in found.warnings)
    with caplog.at_level(logging.WARNING):
        METHODS.load("grad-cam")(network, "lat").attribute(inputs)
    assert "does not depend on the input 'pa'" in caplog.text


def test_one_scale_of_two_is_said_to_be_one() -> None:
    found = compute("grad-cam", TwoScales(), image(*PICTURE))
    assert any("does not pass through the layer 'coarse'" in w for w in found.warnings)


@pytest.mark.parametrize("name", CAMS)
def test_the_map_of_a_mean_is_the_mean_of_the_members_maps(name: str) -> None:
    x = image(*PICTURE)
    each = torch.stack([compute(name, Regressor(n), x).relevance[0] for n in range(3)]).mean(0)
    found = compute(name, MeanOfMembers(), x)
    torch.testing.assert_close(found.relevance[0], each, rtol=1e-5, atol=1e-8)
    assert found.notes["members"] == 3
    if found.completeness_error is not None:
        left = found.relevance[0].double().sum((1, 2, 3)) - MeanOfMembers()(x)[:, 0]
        torch.testing.assert_close(found.completeness_error.double(), left.detach(), rtol=1e-4, atol=1e-7)


def test_an_ensemble_of_regard_is_all_its_members() -> None:
    from regard.models.model import _MeanModule

    x = image(*PICTURE)
    each = torch.stack([compute("grad-cam", Regressor(n), x).relevance[0] for n in range(2)]).mean(0)
    found = compute("grad-cam", _MeanModule([Regressor(0), Regressor(1)]), x)
    torch.testing.assert_close(found.relevance[0], each, rtol=1e-5, atol=1e-8)


def test_the_share_that_goes_round_a_layer_is_exact_where_the_parts_add_up() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self, x: Tensor, years: Tensor) -> Tensor:
            return 3 * self.layer(x[:, :, 2:5]).sum((1, 2, 3)) + 5 * x[:, :, 0].sum((1, 2)) + 2 * years[:, 0]

    x, years = image(3, 1, 6, 4), image(3, 1, seed=1)
    centred = x - x.mean((2, 3), keepdim=True)
    through = 3 * centred[:, :, 2:5].sum((1, 2, 3))
    beside = 5 * centred[:, :, 0].sum((1, 2)) + 2 * years[:, 0]
    found = compute("grad-cam", Sum(), (x, years), "layer", reshape=lambda t: t)
    expected = beside.abs() / (beside.abs() + through.abs())
    assert found.notes["share_beside_layer"] == pytest.approx(expected.tolist(), rel=1e-9)


@pytest.mark.parametrize("make", [Slices, Bag])
def test_slices_that_were_folded_into_the_batch_are_turned_back(make: type[nn.Module]) -> None:
    network = make()
    x = image(2, 1, 6, 12, 12) if make is Slices else image(2, 6, 1, 12, 12)
    for name in CAMS:
        found = compute(name, network, x)
        assert found.notes["layer"] == "cnn"
        assert found.notes["reshape"] == ("slices:6" if make is Slices else "instances:6")
        assert found.relevance[0].shape == x.shape
        alone = compute(name, network, x[1:]).relevance[0]
        torch.testing.assert_close(found.relevance[0][1:], alone, rtol=1e-5, atol=1e-9)
    effects = compute("crm", network, x[:1], ablate="always").relevance[0]
    features = network.cnn(x[0].reshape(6, 1, 12, 12)).detach()  # type: ignore[operator]

    def tail(t: Tensor) -> Tensor:
        if make is Slices:
            return network.head(network.lstm(t.mean((2, 3))[None])[0][:, -1])  # type: ignore[operator]
        pooled = t.mean((2, 3))[None]
        return network.head((network.score(pooled).softmax(1) * pooled).sum(1))  # type: ignore[operator]

    grid = torch.zeros(6, 1, *features.shape[2:], dtype=torch.float64)
    with torch.no_grad():
        for s in range(6):
            for i in range(grid.shape[2]):
                for j in range(grid.shape[3]):
                    without = features.clone()
                    without[s, :, i, j] = 0
                    grid[s, 0, i, j] = tail(features) - tail(without)
    flat = interpolate(grid, (12, 12)).reshape(effects.shape).float()
    torch.testing.assert_close(effects, flat, rtol=1e-4, atol=1e-8)


class Checkpointed(Regressor):
    """Runs its parts as checkpoints."""

    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.first, self.last = self.features[:2], self.features[2:]

    def forward(self, x: Tensor) -> Tensor:
        for part in (self.first, self.last):
            x = part(x) if self.reentrant is None else checkpoint(part, x, use_reentrant=self.reentrant)
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", [*CAMS, "gradient", "integrated-gradients", "guided-backpropagation"])
def test_checkpoints_change_nothing(name: str, reentrant: bool) -> None:
    x = image(*PICTURE)
    for layer in ("first.0", "last.2", None) if name in CAMS else (None,):
        of_layer = (layer,) if name in CAMS else ()
        plain = METHODS.load(name)(Checkpointed(None), *of_layer).attribute(x)
        found = METHODS.load(name)(Checkpointed(reentrant), *of_layer).attribute(x)
        torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-9)
    assert "apply" not in torch.utils.checkpoint.CheckpointFunction.__dict__


@pytest.mark.parametrize("how", ["wrapped", "in place"])
@pytest.mark.parametrize("name", ["grad-cam", "crm", "guided-backpropagation"])
def test_parts_that_were_compiled_are_looked_into(name: str, how: str) -> None:
    x, plain, network = image(*PICTURE), Regressor(), Regressor()
    if how == "wrapped":
        network.features = torch.compile(network.features, backend="eager")  # type: ignore[assignment]
    else:
        network.features.compile(backend="eager")
    network(x)
    of_layer = ("features.2",) if name in CAMS else ()
    expected = METHODS.load(name)(plain, *of_layer).attribute(x)
    found = METHODS.load(name)(network, *of_layer).compute(x)
    torch.testing.assert_close(found.relevance[0], expected, rtol=1e-5, atol=1e-9)
    if of_layer:
        assert found.notes["layer"] == "features.2"


def test_a_scripted_part_is_refused_and_what_follows_it_is_not() -> None:
    network, x = Checkpointed(None), image(*PICTURE)
    expected = compute("grad-cam", network, x, "last").relevance[0]
    network.first = torch.jit.script(network.first)  # type: ignore[assignment]
    torch.testing.assert_close(compute("grad-cam", network, x).relevance[0], expected)
    with pytest.raises(CapabilityError, match="scripted layer"):
        compute("grad-cam", network, x, "first.0")


class Behind(nn.Module):
    """A layer behind an operation whose effect on the axes is not known."""

    def __init__(self, turn: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.layer, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Identity(), nn.Linear(4, 1)
        self.turn = turn
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        t = self.layer(self.turn(self.conv(x)))
        return self.head(torch.tanh(t).mean((2, 3)) if t.ndim == 4 else torch.tanh(t).mean(1))


def test_where_operations_do_not_tell_a_change_of_the_input_does() -> None:
    def opaque(t: Tensor) -> Tensor:
        return t.flatten(2)[:, :, torch.arange(t[0, 0].numel())].mT

    network, x = Behind(opaque), image(*PICTURE)
    found = compute("grad-cam", network, x, "layer")
    assert found.notes["reshape"] == "tokens:16x24"
    by_hand = compute("grad-cam", network, x, "layer", reshape=lambda t: t.mT.unflatten(2, (16, 24)))
    assert torch.equal(found.relevance[0], by_hand.relevance[0])


def test_axes_that_nothing_tells_are_a_warning() -> None:
    found = compute("grad-cam", Behind(lambda t: t.flip(2).flip(3)), image(*PICTURE), "layer")
    assert "taken as (batch, channel, *space)" in found.warnings[0]
    assert "--reshape" in found.warnings[0]


def test_a_layer_whose_rows_are_turned_is_turned_back() -> None:
    network, x = Behind(lambda t: t.transpose(2, 3)), image(*PICTURE)
    found = compute("grad-cam", network, x, "layer").relevance[0]
    straight = compute("grad-cam", Behind(lambda t: t * 1), x, "layer").relevance[0]
    torch.testing.assert_close(found, straight, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    "text", ["channels-last", "tokens:14x14", "tokens:7x8x9+1", "tokens:5+1+4", "tokens:4:batch-second", "slices:3"]
)
def test_layouts_are_written_as_they_are_read(text: str) -> None:
    assert str(parse_layout(text)) == text


@pytest.mark.parametrize("text", ["", "tokens", "tokens:0x3", "14y14", "slices:0", "channels-first", "tokens:3+1+2+1"])
def test_a_layout_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="channels-last, tokens:14x14"):
        parse_layout(text)


def test_unetr_is_looked_at_where_its_transformer_ends() -> None:
    from monai.networks.nets import UNETR

    torch.manual_seed(0)
    network = UNETR(1, 2, (32, 32, 32), feature_size=4, hidden_size=12, mlp_dim=16, num_heads=2)
    found = compute("grad-cam", network, image(1, 1, 32, 32, 32).float(), target=lambda o: o[:, 1].mean((1, 2, 3)))
    assert (found.notes["layer"], found.notes["reshape"]) == ("vit.norm", "tokens:2x2x2")


@pytest.mark.parametrize("make", [MeanOfMembers, TwoViews])
def test_branches_and_members_are_not_said_to_be_passed_by_each_other(make: type[nn.Module]) -> None:
    inputs = (image(1, 1, 16, 24), image(1, 1, 16, 24, seed=1))
    probed = regard.preflight(make(), inputs if make is TwoViews else inputs[0], methods=["grad-cam"])
    assert {p.state for p in probed.probes} == {"ok"}
    parts = "members.0, members.1, members.2" if make is MeanOfMembers else "lat, pa"
    assert f"a layer for each of {parts}" in [p.sentence for p in probed.probes]
