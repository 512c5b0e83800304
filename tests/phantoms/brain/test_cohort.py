"""Cohorts: truths of any network, planted effects, and what stands beside a network."""

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.core.errors import ShapeError, UnknownNameError
from regard.phantoms.brain import BrainPhantom, draw_subject, render, render_brain
from regard.phantoms.brain.effects import planted_effects
from regard.phantoms.brain.phantom import share_of_ages, years
from regard.phantoms.brain.predictors import FEATURES, LinearPredictor, hand_measurements
from regard.phantoms.truth import data_truth, model_truth, places_of


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render without averaging, several times faster: nothing here is about partial volumes."""
    monkeypatch.setattr(render, "FINE", 4.0)


ONE = {"hippocampi": 0.0, "cortex": 0.0, "lesions": 0.0}


def test_factors_are_shares_of_the_ages() -> None:
    phantom = BrainPhantom(decoy=0.3, doses={"cortex": 0.0})
    assert phantom.factors == ("ventricles", "hippocampi", "lesions", "decoy")
    assert phantom.causes == phantom.factors[:-1]
    drawn, subject = phantom.draw(3), phantom.drawn(3)
    assert years(drawn["ventricles"]) == pytest.approx(subject.structure_ages["ventricles"])
    assert share_of_ages(44) == 0
    assert share_of_ages(80) == 1
    with pytest.raises(UnknownNameError, match="cortex"):
        phantom.subject(3, factors={"cortex": 0.5})


def test_truths_of_a_network_that_reads_a_decoy() -> None:
    phantom = BrainPhantom(decoy=0.5, doses=ONE)
    ventricles, decoy = (places_of(phantom, 1, f) for f in ("ventricles", "decoy"))
    data = data_truth(phantom, 1)
    assert torch.equal(data.core, ventricles)
    assert torch.equal(data.decoy, decoy & ~ventricles & ~data.allowed)

    def fooled(images: Tensor) -> Tensor:
        return images[:, 0, decoy].mean(1)

    def honest(images: Tensor) -> Tensor:
        return -images[:, 0, ventricles].mean(1)

    wrong, right = (model_truth(f, phantom, 1) for f in (fooled, honest))
    assert abs(wrong.shapley["decoy"]) > 100 * abs(wrong.shapley["ventricles"])
    assert torch.equal(wrong.places.core, decoy)
    assert right.change["ventricles"] > 0
    assert torch.equal(right.places.core, ventricles)
    for truth in (wrong, right):
        assert sum(truth.shapley.values()) == pytest.approx(truth.value - truth.reference, abs=1e-6)


def test_what_is_planted_leads_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    # A ventricle is a few voxels wide: here partial volumes count.
    monkeypatch.setattr(render, "FINE", 1.0)
    rows = {r.region: r for r in planted_effects(BrainPhantom(doses=ONE), n=1)}
    densities = sorted(rows.values(), key=lambda row: -row.density)
    assert {row.region for row in densities[:3]} <= {
        "lateral ventricle, left",
        "lateral ventricle, right",
        "third ventricle",
        "deep grey matter, left",
        "deep grey matter, right",
    }
    ventricle = rows["lateral ventricle, left"]
    # By the mean volume of both ages, which the flow makes differ from the start's: 0.02 to first order.
    assert ventricle.relative_change == pytest.approx(0.02, rel=0.25)
    assert rows["cerebellum, left"].density < 0.02
    assert sum(row.share for row in rows.values()) == pytest.approx(1)
    monkeypatch.setattr(render, "FINE", 4.0)
    nothing = planted_effects(BrainPhantom(doses={**ONE, "ventricles": 0.0}), n=1)
    assert all(row.intensity_change == 0 and row.volume_change == 0 for row in nothing)


def test_a_linear_predictor_is_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=40) + 60
    found = LinearPredictor.fit(torch.tensor(x), torch.tensor(y), penalty=3.0)(torch.tensor(x)).numpy()
    z = (x - x.mean(0)) / x.std(0)
    tall = np.vstack([z, np.sqrt(3.0) * np.eye(5)])
    weights = np.linalg.lstsq(tall, np.concatenate([y - y.mean(), np.zeros(5)]), rcond=None)[0]
    assert np.allclose(found, z @ weights + y.mean())
    mean = LinearPredictor.fit(torch.zeros(3, 0), [50.0, 60.0, 73.0])
    assert mean(torch.zeros(2, 0)).tolist() == pytest.approx([61.0, 61.0])
    with pytest.raises(ShapeError, match="labels"):
        LinearPredictor.fit(torch.zeros(3, 2), [50.0])


def test_a_hand_measures_the_ventricles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "FINE", 1.0)
    subject = draw_subject(0, 7)
    measured, true = [], []
    for age in (48.0, 62.0, 76.0):
        brain = render_brain(subject, 2.0, factors={"ventricles": age})
        measured.append(hand_measurements(brain)["ventricles_ml"])
        true.append(sum(brain.anatomy.volume_ml(name) for name in ("lateral ventricle", "third ventricle")))
    assert measured == sorted(measured)
    assert measured[-1] / measured[0] == pytest.approx(true[-1] / true[0], rel=0.35)
    own = hand_measurements(render_brain(subject, 2.0, space="own"))["ventricles_ml"] / subject.head_size
    assert own == pytest.approx(hand_measurements(render_brain(subject, 2.0))["ventricles_ml"], rel=0.1)


def test_features_have_one_length_and_the_ceiling_is_the_truth() -> None:
    brain = render_brain(draw_subject(0, 8, doses={"lesions": 0.0}))
    lengths = {name: len(feature(brain)) for name, feature in FEATURES.items()}
    assert lengths == {"mean age": 0, "histogram": 32, "ventricle": 1, "hand": 3, "ceiling": 3}
    assert float(FEATURES["histogram"](brain).sum()) == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_the_ladder_of_predictors() -> None:
    brains = list(BrainPhantom().cohort(90))
    ages = torch.tensor([b.subject.age for b in brains])
    errors = {}
    for name, feature in FEATURES.items():
        seen = torch.stack([feature(b) for b in brains])
        fitted = LinearPredictor.fit(seen[:60], ages[:60])
        errors[name] = float((fitted(seen[60:]) - ages[60:]).abs().mean())
    assert errors["ceiling"] < 2.5 < errors["ventricle"] < errors["mean age"]
    assert errors["hand"] < errors["mean age"]
