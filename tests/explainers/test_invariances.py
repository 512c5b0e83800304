"""Invariances against closed forms: linear functions, planted blind spots, networks that hide nothing."""

import math
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regard.core.errors import InputError, ShapeError, UnknownNameError
from regard.core.recording import at_layer
from regard.core.spatial import blur
from regard.explainers.generative.controls import equal_blur, gaussian_filter, identity
from regard.explainers.generative.detectability import Detectability
from regard.explainers.generative.invariances import Invariances, calibrate, find_invariances
from regard.explainers.generative.jacobian import Jacobian, principal_angles, singular_directions
from regard.explainers.generative.level_set import onto_level_set
from regard.explainers.generative.noise import NoiseModel, estimate_noise
from regard.explainers.generative.null_space import cosines, follow_null_space, hidden_amplitude, null_space


def white(size: int, deviation: float = 1.0) -> NoiseModel:
    return NoiseModel(torch.full((size, size), deviation), 1, 1, "given")


def blob(size: int, row: float, column: float, width: float) -> Tensor:
    axis = torch.arange(size, dtype=torch.float32)
    far = (axis - row).square()[:, None] + (axis - column).square()[None]
    return torch.exp(-far / (2 * width**2))[None, None]


def test_noise_is_estimated_with_its_spectrum() -> None:
    image = torch.zeros(1, 1, 96, 96)
    image[..., :40] = 300.0
    true = NoiseModel(torch.full((96, 96), 10.0), 1, 1, "given")
    found = estimate_noise(image + true.draw(image, range(1)))
    assert found.deviation == pytest.approx(10.0, rel=0.1)
    smooth = blur(true.draw(image, range(1), seed=3), 1.0)
    found = estimate_noise(image + smooth)
    assert found.deviation == pytest.approx(float(smooth.std()), rel=0.2)
    draws = found.draw(image, range(20))
    ratio = float(blur(draws, 1.0).std() / blur(smooth, 1.0).std())
    assert ratio == pytest.approx(1.0, abs=0.25)
    assert torch.equal(found.draw(image, range(3, 5))[1], found.draw(image, range(4, 5))[0])
    with pytest.raises(InputError, match="one value"):
        estimate_noise(torch.zeros(1, 1, 32, 32))


def test_noise_of_a_repeated_channel_is_repeated() -> None:
    image = torch.randn(1, 1, 32, 32).expand(1, 3, -1, -1)
    drawn = estimate_noise(image).draw(image, range(2))
    assert drawn.shape == (2, 3, 32, 32)
    assert torch.equal(drawn[:, 0], drawn[:, 2])


def test_detectability_is_that_of_a_matched_filter_in_white_noise() -> None:
    noise = white(64, 2.0).draw(torch.zeros(1, 1, 64, 64), range(64))
    seen = Detectability.of_noise(noise, (0.0, 3.0))
    signal = 5.0 * blob(64, 32, 32, 3.0)
    # Of a known signal in white noise: the root of its energy over the noise's deviation.
    ideal = float(signal.square().sum().sqrt()) / 2.0
    assert float(seen.largest(signal)[0]) == pytest.approx(ideal, rel=0.05)
    assert float(seen.at(0.0).largest(signal)[0]) == pytest.approx(2.5, rel=0.05)
    place = seen.map(signal)[0, 0].argmax().item()
    assert divmod(place, 64) == (32, 32)


class Linear(nn.Module):
    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.matrix.T


@pytest.mark.parametrize("n", [24, 160])
def test_the_null_space_of_a_linear_function_is_found(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(n - 5, n, generator=generator, dtype=torch.float64)
    x = torch.randn(1, n, generator=generator, dtype=torch.float64)
    jacobian = Jacobian(Linear(matrix), x)
    v, w = torch.randn(n, dtype=torch.float64), torch.randn(n - 5, dtype=torch.float64)
    assert torch.allclose(jacobian.forward(v), matrix @ v)
    assert torch.allclose(jacobian.adjoint(w), matrix.T @ w)
    found = singular_directions(jacobian, 5)
    _, values, vectors = torch.linalg.svd(matrix, full_matrices=True)
    assert float(found.values.max()) < 1e-4 * float(values[0])
    assert float(principal_angles(found.vectors, vectors[n - 5 :]).max()) < 1e-3
    largest = singular_directions(jacobian, 3, smallest=False)
    assert torch.allclose(largest.values, values[:3], rtol=1e-5)


def test_the_jacobian_of_a_network_is_that_of_autograd() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(3, 1, 3)).double()
    x = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    exact = torch.autograd.functional.jacobian(network, x).reshape(16, 36)
    assert torch.allclose(Jacobian(network, x).dense(), exact)
    basis = torch.randn(4, 1, 6, 6, dtype=torch.float64)
    restricted = Jacobian(network, x, basis)
    assert torch.allclose(restricted.dense(), exact @ basis.reshape(4, 36).T)
    assert torch.allclose(restricted.adjoint(torch.ones(16).double()), basis.reshape(4, 36) @ exact.sum(0))


def conditional(matrix: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of c ~ N(0, I) given A c = y."""
    gain = matrix.T @ torch.linalg.inv(matrix @ matrix.T)
    return gain @ wanted, torch.eye(matrix.shape[1]).double() - gain @ matrix


def test_draws_on_the_level_set_of_a_linear_function_are_the_conditional_gaussian() -> None:
    """Images x = B c of 12 Gaussian coefficients, a linear f that fixes 5: mean, eigenvalues, angles, leakage."""
    generator = torch.Generator().manual_seed(1)
    basis = torch.stack([blob(16, *(16 * torch.rand(2, generator=generator)).tolist(), 2.0)[0, 0] for _ in range(12)])
    basis = basis.double().reshape(12, 256)
    filters = torch.randn(5, 256, generator=generator, dtype=torch.float64) / 16
    matrix = filters @ basis.T
    truth = torch.randn(1, 12, generator=generator, dtype=torch.float64)
    wanted = truth @ matrix.T
    mean, covariance = conditional(matrix, wanted[0])
    _, _, vectors = torch.linalg.svd(matrix, full_matrices=True)
    errors, angles = [], []
    for n in (50, 800):
        start = torch.randn(n, 12, generator=generator, dtype=torch.float64)
        found = onto_level_set(lambda c: c @ matrix.T, start, wanted, n_steps=1)
        images, reference = found @ basis, truth @ basis
        leakage = ((images - reference) @ filters.T).norm(dim=1) / (images - reference).norm(dim=1)
        assert float(leakage.max()) < 1e-10
        errors.append(float((found.mean(0) - mean).norm()))
        _, values, directions = torch.linalg.svd(found - found.mean(0), full_matrices=False)
        angles.append(float(principal_angles(directions[:7], vectors[5:]).max()))
        eigenvalues = values.square() / (n - 1)
        assert float(eigenvalues[7:].max()) < 1e-20
        exact = torch.linalg.eigvalsh(covariance).flip(0)
        # Sample eigenvalues of 7 of 1: within the Marchenko-Pastur edges, a little widened.
        spread = math.sqrt(7 / n)
        assert float(eigenvalues[0]) < (1 + spread) ** 2 * 1.15
        assert float(eigenvalues[6]) > (1 - spread) ** 2 * 0.85
        assert torch.allclose(exact[:7], torch.ones(7).double())
    assert max(angles) < 1e-6
    assert errors[1] < 4 * math.sqrt(7 / 800)
    assert errors[1] < errors[0]


def test_a_nonlinear_level_set_is_reached() -> None:
    start = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def ring(z: Tensor) -> Tensor:
        return torch.stack([z.square().sum(1), z[:, 0]], 1)

    found = onto_level_set(ring, start, torch.tensor([[4.0, 0.5]], dtype=torch.float64), n_steps=8)
    assert torch.allclose(ring(found), torch.tensor([4.0, 0.5], dtype=torch.float64).expand(6, 2), atol=1e-8)


def found_in(function: object, size: int = 48, n: int = 8, seed: int = 0, **more: object) -> Invariances:
    image = (
        100.0 + 0 * blob(size, 1, 1, 1.0) + white(size).draw(torch.zeros(1, 1, size, size), range(1), seed=seed + 99)
    )
    more = {"n_control": 3, "n_steps": 30, **more}
    return find_invariances(function, image, white(size), n=n, seed=seed, **more)  # type: ignore[arg-type]


def test_the_identity_hides_nothing() -> None:
    found = found_in(identity)
    assert bool(found.accepted.all())
    assert float(found.d_prime.max()) <= 1.0
    assert float(found.distance.max()) <= 1.05
    assert found.kinds == ("noise",) * 8
    assert float(found.leakage.min()) > 0.999
    assert float(found.spread_map("anatomy").max()) == 0.0


def test_a_blur_hides_no_structure_and_is_its_own_control() -> None:
    found = found_in(gaussian_filter(1.0))
    assert found.facts["width of the blur of equal noise reduction"] == pytest.approx(1.0, abs=0.05)
    # Noise may change more than blobs: a blur takes out its fine detail.
    assert float(found.distance[[s > 0 for s in found.scales]].max()) < 1.3
    assert found.kinds == ("noise",) * 8
    assert float(found.controls["gaussian"].max()) == pytest.approx(float(found.distance[:3].max()), rel=0.15)


def test_what_a_linear_filter_removes_is_found_in_its_null_space() -> None:
    def high_pass(x: Tensor) -> Tensor:
        return x - blur(x, 6.0)

    found = found_in(high_pass, n=3)
    structure = found.samples - found.image
    # A change of the widest blobs passes weakly, and grows until the output tells it; noise passes whole.
    assert float(found.distance.max()) > 1.5
    assert float(found.leakage[[s == 8.0 for s in found.scales]].max()) < 0.5
    assert float(structure.abs().max()) <= 3.0 + 1e-4


def ignoring(place: tuple[int, int], size: int) -> object:
    """A denoiser that blurs a little, and takes one structure out wherever it stands."""
    template = blob(size, *place, 3.0)
    template = template / template.norm()

    def denoise(x: Tensor) -> Tensor:
        return blur(x - template * ((x - 100.0) * template).flatten(1).sum(1)[:, None, None, None], 0.7)

    return denoise


def test_the_null_space_of_a_blind_filter_is_what_it_removes() -> None:
    """f takes one cosine away and halves another: gains 0, 0.5 and 1, whatever the image."""
    basis = cosines((24, 24), 4)
    assert torch.allclose(basis.flatten(1) @ basis.flatten(1).T, torch.eye(16, dtype=torch.float64), atol=1e-12)
    gone, halved = basis[5].float(), basis[9].float()

    def f(x: Tensor) -> Tensor:
        parts = [(x * b).sum((-2, -1), keepdim=True) * b * share for b, share in ((gone, 1.0), (halved, 0.5))]
        return x - parts[0] - parts[1]

    image = torch.randn(1, 1, 24, 24)
    found = null_space(f, image, n_cosines=4, k=2)
    assert found.gains == pytest.approx([0.0, 0.5] + [1.0] * 14, abs=1e-5)
    assert float((found.directions[0, 0] * gone).sum().abs() / found.directions[0].norm()) == pytest.approx(1, abs=1e-5)
    assert float(found.directions.abs().amax()) == pytest.approx(1.0)
    # In the half that is left, one goes twice as far as in the identity; in what is gone, to the very end.
    noise = white(24).draw(image, range(8))
    outside = Detectability.of_noise(noise, (0.0, 2.0))
    free, half = (hidden_amplitude(f, image, d, outside, 1.0, 30.0) for d in found.directions)
    assert abs(free) == 30.0
    own = hidden_amplitude(identity, image, found.directions[1], outside, 1.0, 30.0)
    assert abs(half) == pytest.approx(2 * abs(own), rel=1e-4)
    # A number that depends on one direction only leaves all others.
    gains = null_space(lambda x: (x * gone).sum((1, 2, 3)), image, n_cosines=4).gains
    assert gains == pytest.approx([0.0] * 15 + [1.0], abs=1e-5)
    with pytest.raises(ShapeError, match="at least 30"):
        null_space(f, image, n_cosines=30)
    with pytest.raises(InputError, match="17 directions"):
        null_space(f, image, n_cosines=4, k=17)
    # In three channels that are one, and three axes.
    assert null_space(f, image.expand(1, 3, 24, 24), n_cosines=4).gains[:3] == pytest.approx([0, 0.5, 1.0], abs=1e-5)
    assert null_space(identity, torch.randn(1, 1, 8, 8, 8)).gains == pytest.approx([1.0] * 216, abs=1e-5)


def test_the_null_space_is_followed_until_the_output_shows_it() -> None:
    basis = cosines((24, 24), 4)[5].float()

    def f(x: Tensor) -> Tensor:
        return x - 0.75 * (x * basis).sum((-2, -1), keepdim=True) * basis

    image = torch.randn(1, 1, 24, 24)
    found, space = follow_null_space(f, image, white(24), n=2, n_cosines=4)
    assert space.gains[:2] == pytest.approx([0.25, 1.0], abs=1e-5)
    assert bool(found.accepted.all())
    assert found.d_prime == pytest.approx([1.0, 1.0], abs=0.01)
    # Four times as visible in the image as in the output, where the identity hides nothing.
    assert float(found.controls["identity"][0]) == pytest.approx(1.0, abs=0.01)
    assert float(found.distance[0]) == pytest.approx(4.0, rel=0.15)
    assert float(found.leakage[0]) == pytest.approx(0.25, abs=1e-3)
    # A number: the direction that it reads is not among those that leave it.
    found, space = follow_null_space(
        lambda x: (x * basis).sum((1, 2, 3)) ** 2, image, white(24), n=3, n_cosines=4, tolerance=0.1, bounds=(-9, 9)
    )
    assert bool(found.accepted.all())
    assert not found.controls
    assert (found.samples.abs() <= 9).all()
    changes = (found.samples - image).flatten(1)
    assert (changes @ basis.flatten()).abs().max() < 1e-3


def test_the_ignored_structure_is_found_among_others_of_equal_contrast() -> None:
    size, places = 48, [(12, 12), (12, 36), (36, 12), (36, 36), (24, 24)]
    hidden, others = [], []
    for seed, place in enumerate(places):
        found = found_in(ignoring(place, size), size, n=8, seed=seed, n_control=0)
        assert bool(found.accepted.all())
        spread = (found.samples - found.image).square().mean(0, keepdim=True).sqrt()
        for other in places:
            score = float((spread * blob(size, *other, 3.0)).sum())
            (hidden if other == place else others).append(score)
    area = sum(h > o for h in hidden for o in others) / (len(hidden) * len(others))
    assert area >= 0.9


def test_what_is_found_is_checked_by_the_network_itself() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
    found = found_in(network, 32, n=4, n_control=2, curve=(0.5, 2.0))
    for sample, output, d_prime in zip(found.samples, found.outputs, found.d_prime, strict=True):
        assert torch.allclose(network(sample[None]), output[None], atol=1e-5)
        change = found.calibration.outside.largest(output[None] - found.output)  # type: ignore[union-attr]
        assert float(change) == pytest.approx(float(d_prime), rel=1e-3)
    assert list(found.curve) == [0.5, 2.0]
    assert float(found.curve[2.0].mean()) > float(found.curve[0.5].mean())
    again = found_in(network, 32, n=4, n_control=0, batch_size=1)
    assert torch.allclose(again.samples, found.samples, atol=1e-3)


def test_inputs_that_give_the_same_number() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1)
    )

    def value(x: Tensor) -> Tensor:
        return network((x - 100) / 3)[:, 0]  # type: ignore[no-any-return]

    found = found_in(value, 32, n=6)
    assert not found.is_image
    assert bool(found.accepted.all())
    assert float((found.outputs - found.output).abs().max()) <= found.tolerance
    assert float(found.tolerance) == pytest.approx(found.calibration.spread)
    assert "anatomy" in found.kinds
    assert float((found.samples - found.image).std()) > 0.5
    assert float((found.samples - found.image).abs().max()) <= 3.0 * 1.0001


def test_a_layer_that_sees_what_the_output_does_not_hides_nothing() -> None:
    """First a layer that keeps the image, twice; then one that keeps the means of blocks alone."""
    first = nn.Conv2d(1, 2, 1, bias=False)
    nn.init.constant_(first.weight, 1.0)
    network = nn.Sequential(OrderedDict(first=first, second=_Blocks()))
    image = 10 * blob(48, 24, 24, 8.0)
    given = {"n": 3, "n_steps": 30, "n_control": 0, "tolerance": 1.0}
    hidden = find_invariances(network, image, white(48), **given)
    seen = find_invariances(at_layer(network, "first"), image, white(48), **given)
    assert seen.outputs.shape == (3, 2, 48, 48) and bool(seen.accepted.all())
    assert float(seen.distance.max()) < 1.05
    assert float(hidden.distance.max()) > 3
    with pytest.raises(UnknownNameError, match="third"):
        at_layer(network, "third")


class _Blocks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(functional.avg_pool2d(x.mean(1, keepdim=True), 16), scale_factor=16.0)


def test_three_axes_are_as_two() -> None:
    image = torch.randn(1, 1, 10, 12, 14)
    noise = NoiseModel(torch.ones(10, 12, 14), 1, 1, "given")
    found = find_invariances(identity, image, noise, n=2, n_control=0, n_steps=10)
    assert float(found.distance.max()) <= 1.05


def test_the_equal_blur_leaves_as_much_noise() -> None:
    noise = torch.randn(8, 1, 48, 48)
    sigma = equal_blur(noise, 0.3)
    assert float(blur(noise, sigma).std() / noise.std()) == pytest.approx(0.3, rel=0.01)
    assert equal_blur(noise, 1.2) == 0.0


def test_what_cannot_be_asked_is_refused() -> None:
    image = torch.randn(1, 1, 16, 16)
    with pytest.raises(InputError, match="0 samples"):
        find_invariances(identity, image, white(16), n=0)
    with pytest.raises(InputError, match="noise does not change"):
        calibrate(lambda x: functional.relu(-x.abs() - 1), image, white(16))
    with pytest.raises(InputError, match="3 directions|directions"):
        singular_directions(Jacobian(identity, torch.zeros(1, 2)), 3)
