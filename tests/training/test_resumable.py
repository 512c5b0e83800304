"""Training goes on where it was cut off, and ends the same."""

from pathlib import Path

import pytest
import torch
from torch import nn

from regard.core.randomness import normal
from regard.training.augmentation import Augmentation
from regard.training.losses import RarityWeight, dice_loss, weighted_huber
from regard.training.resumable import Epochs, fit_resumable, seeded
from regard.training.supervised import Plateau, Supervised

IMAGES = torch.stack([normal(torch.zeros(1, 8, 8), 0, str(n), "x") for n in range(20)])
LABELS = IMAGES.mean((1, 2, 3)) + 1


class _Stop(Exception):
    pass


def _train(
    folder: Path | None, stop_in: int | None = None, n_epochs: int = 6, annealed: int | None = None
) -> tuple[dict, list]:
    moves = Augmentation()
    seen = []

    def learn(cases: list[int], epoch: int) -> tuple[torch.Tensor, ...]:
        if epoch == stop_in and len(seen) > 2:
            raise _Stop
        seen.append(epoch)
        return moves.apply(IMAGES[cases], seed=1, cases=cases, epoch=epoch), LABELS[cases]

    def held(cases: list[int], _: int) -> tuple[torch.Tensor, ...]:
        return IMAGES[[c + 14 for c in cases]], LABELS[[c + 14 for c in cases]]

    with seeded(3, "weights"):
        network = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 1)
        )
    module = Supervised(
        network,
        lambda out, y: weighted_huber(out[:, 0], y),
        learning_rate=0.03,
        plateau=None if annealed else Plateau(0, 0.5),
        n_annealed=annealed,
    )
    history = fit_resumable(
        module, Epochs(learn, 14), Epochs(held, 6), n_epochs=n_epochs, batch_size=5, seed=2, folder=folder, every_s=0
    )
    return network.state_dict(), history


@pytest.mark.parametrize(("stop_in", "annealed"), [(1, None), (3, None), (5, None), (3, 6)])
def test_a_training_that_was_cut_off_ends_the_same(tmp_path: Path, stop_in: int, annealed: int | None) -> None:
    whole, history = _train(None, annealed=annealed)
    before = torch.random.get_rng_state()
    with pytest.raises(_Stop):
        _train(tmp_path, stop_in, annealed=annealed)
    resumed, again = _train(tmp_path, annealed=annealed)
    assert torch.equal(before, torch.random.get_rng_state())
    assert again == history
    assert len(history) == 6
    assert len({h["val_loss"] for h in history}) > 1
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_the_rate_falls_along_half_a_cosine() -> None:
    seen = []

    class Watched(Supervised):
        def on_train_batch_start(self, batch: object, number: int) -> None:
            seen.append(self.optimizers().param_groups[0]["lr"])

    module = Watched(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), lambda out, y: (out[:, 0] - y).square().mean(),
                     learning_rate=0.1, n_annealed=4)  # fmt: skip
    fit_resumable(module, Epochs(lambda cases, _: (IMAGES[cases], LABELS[cases]), 5), n_epochs=4, batch_size=5)
    assert seen == pytest.approx([0.1, 0.1 * (2 + 2**0.5) / 4, 0.05, 0.1 * (2 - 2**0.5) / 4])


def test_the_best_epoch_is_kept_not_the_last() -> None:
    weights, history = _train(None)
    losses = [h["val_loss"] for h in history]
    best = min(range(6), key=losses.__getitem__)
    shorter, _ = _train(None, n_epochs=best + 1)
    assert all(torch.equal(weights[k], shorter[k]) for k in weights)


def test_weight_of_the_papers_histogram() -> None:
    """Kang 2023: w(y) = 12.411 y^2 - 22.954 y + 11.613 on bins of 0.1 from 0.4 to 1.4."""
    counts = [9, 31, 210, 474, 562, 542, 230, 132, 35, 14]
    weight = RarityWeight.of_histogram([0.45 + 0.1 * n for n in range(10)], counts)
    assert [round(c, 3) for c in weight.coefficients] == [12.411, -22.954, 11.613]
    found = weight(torch.tensor([0.45, 0.65, 0.92, 1.15, 1.35], dtype=torch.float64))
    assert [round(float(w), 2) for w in found] == [3.80, 1.94, 1.00, 1.63, 3.24]
    assert float(weight(torch.tensor([9.0]))) == pytest.approx(3.24, abs=0.01)  # no farther than the histogram


def test_huber_by_its_definition() -> None:
    predicted, labels = torch.tensor([1.0, 1.0]), torch.tensor([1.02, 0.7])
    literal = (0.02**2 / 2 + 0.05 * (0.3 - 0.025)) / 2
    assert float(weighted_huber(predicted, labels)) == pytest.approx(literal, rel=1e-5)


def test_dice_loss_is_0_for_the_same_and_1_for_apart() -> None:
    wanted = torch.zeros(1, 1, 8, 8)
    wanted[..., :4] = 1
    sure = 100 * (2 * wanted - 1)
    assert float(dice_loss(sure, wanted)) == pytest.approx(0, abs=1e-6)
    assert float(dice_loss(-sure, wanted, smooth=0.0)) == pytest.approx(1, abs=1e-6)
    assert float(dice_loss(torch.full((1, 1, 8, 8), -100.0), torch.zeros(1, 1, 8, 8))) == pytest.approx(0, abs=1e-6)


def test_augmentation_moves_by_what_it_says_and_depends_on_its_key_alone() -> None:
    image = torch.zeros(1, 1, 20, 20)
    image[0, 0, 10:12, 4:6] = 1.0
    one = Augmentation(rotation=0, flip=False, shift=0.1)
    moved = [one.apply(image, seed=0, cases=[3], epoch=e) for e in range(20)]
    rows = torch.arange(20.0)
    centres = torch.tensor(
        [
            [float((m[0, 0].sum(1) * rows).sum() / m.sum()), float((m[0, 0].sum(0) * rows).sum() / m.sum())]
            for m in moved
        ]
    )
    assert (centres - torch.tensor([10.5, 4.5])).abs().max() <= 2.01  # a tenth of 20
    assert (centres - torch.tensor([10.5, 4.5])).abs().max() > 1
    mirrored = Augmentation(rotation=0, flip=True, shift=0)
    shares = {float(mirrored.apply(image, seed=0, cases=[c], epoch=0)[0, 0, :, 14:16].sum()) for c in range(20)}
    assert {round(s) for s in shares} == {0, 4}
    both = Augmentation()
    together = both.apply(image.repeat(2, 1, 1, 1), seed=0, cases=[1, 7], epoch=2)
    assert torch.equal(together[1:], both.apply(image, seed=0, cases=[7], epoch=2))
    assert not torch.equal(together[:1], together[1:])


def test_what_enters_from_outside_is_the_filler() -> None:
    image = torch.full((1, 1, 16, 16), -500.0)
    assert torch.allclose(Augmentation(shift=0.3).apply(image, seed=0, cases=[0], epoch=0, filler=-500.0), image)
