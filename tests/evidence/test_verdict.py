from dataclasses import replace

import pytest

from regard.evidence.comparison import Comparison
from regard.evidence.verdict import (
    BEATEN_BY_FAITH,
    BEATEN_BY_PLACE,
    FAITHFUL,
    PLACED,
    QUICK,
    RANDOMISED,
    RESEMBLES,
    THRESHOLDS,
    judge,
)

NAN = float("nan")


def row(
    measure, control, *, n=12, p=0.001, worse=0.999, difference=1.0, everywhere=1.0, null=0.0, attainable=1.0,
    share=1.0, steady=NAN, family="faithful",
):  # fmt: skip
    return Comparison(
        "*", "*", "m", "output:0", measure, control, family, "1", "higher", n, n, 1.0, NAN, NAN, null, difference,
        NAN, NAN, 1.0, everywhere, p, worse, min(1.0, 2 * p), "sign flips", attainable, share, steady,
    )  # fmt: skip


def good(n=12, **changed):
    rows = {c: row(FAITHFUL, c, n=n) for c in BEATEN_BY_FAITH}
    rows |= {f"{c}/place": row(PLACED, c, n=n) for c in BEATEN_BY_PLACE}
    rows["weights"] = row(RESEMBLES, "surrogate", n=n, difference=0.0, p=0.5, worse=0.5)
    return [changed.get(name, r) for name, r in rows.items()]


def test_all_criteria_hold():
    found = judge(good())
    assert found.verdict == "supported"
    assert found.scope == "for 12 patients and 1 network"
    assert len(found.reasons) == 3


@pytest.mark.parametrize("control", BEATEN_BY_FAITH)
def test_one_control_that_is_not_beaten_is_enough(control):
    close = {control: row(FAITHFUL, control, p=0.2, worse=0.8)}
    assert judge(good(**close)).verdict == "undetermined"
    little = {"surrogate": row(FAITHFUL, "surrogate", n=24, share=0.2)}
    many = little | {control: row(FAITHFUL, control, n=24, p=0.2, worse=0.8, share=0.2)}
    found = judge(good(24, **many))
    assert found.verdict == "not supported"
    assert f"no better than {control}" in found.reasons[0]
    worse = little | {control: row(FAITHFUL, control, p=0.99, worse=0.01, difference=-1.0, share=0.2)}
    assert "worse than" in judge(good(**worse)).reasons[0]


def test_a_map_with_all_that_is_attainable_is_not_refuted_by_a_control_that_has_it_too():
    as_good = {"image": row(FAITHFUL, "image", n=24, p=0.6, worse=0.4)}
    found = judge(good(24, **as_good))
    assert found.verdict == "undetermined"
    assert "is as good here" in found.reasons[0]


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_more_than_chance_is_not_enough(share):
    """A map with half of its parts erased beats every control, and has about 0.7 of what is attainable."""
    found = judge(good(surrogate=row(FAITHFUL, "surrogate", share=share)))
    assert found.verdict == "undetermined"
    assert f"only {100 * share:.0f} %" in found.reasons[0]
    amounts = row(f"{QUICK}/own reference", "surrogate", family="filling", share=share, steady=0.9)
    assert judge([*good(), amounts]).verdict == "undetermined"
    unknown = row(FAITHFUL, "surrogate", share=NAN)
    assert "was not measured" in judge(good(surrogate=unknown)).reasons[0]


def test_either_measure_may_tell_a_map_from_a_control_and_neither_may_say_worse():
    close = {"other patient": row(FAITHFUL, "other patient", p=0.2, worse=0.8)}
    by_amount = [row(QUICK, c) for c in BEATEN_BY_FAITH]
    assert judge([*good(**close), *by_amount]).verdict == "supported"
    worse = {"other patient": row(FAITHFUL, "other patient", p=0.99, worse=0.01, difference=-1.0)}
    assert judge([*good(**worse), *by_amount]).verdict == "undetermined"


def test_an_effect_is_asked_for_less_as_its_windows_overlap():
    rows = good(surrogate=replace(row(FAITHFUL, "surrogate", share=0.89), quantity="effect"))
    assert judge(rows).verdict == "supported"
    assert judge(good(surrogate=row(FAITHFUL, "surrogate", share=0.89))).verdict == "undetermined"


def test_fillings_that_disagree_leave_it_open():
    own = row(f"{QUICK}/own reference", "surrogate", family="filling", steady=0.9)
    blur = row(f"{QUICK}/blur", "surrogate", family="filling", attainable=NAN, share=NAN, p=0.99, worse=0.01)
    found = judge([*good(), own, blur])
    assert found.verdict == "undetermined"
    assert "better than surrogates with own reference, worse with blur" in found.reasons[0]
    assert judge([*good(), own]).verdict == "supported"


@pytest.mark.parametrize(
    ("limits", "sentence"), [({"steady": 0.2}, "No filling is neutral"), ({"attainable": 0.1}, "cannot tell")]
)
def test_no_word_where_fillings_cannot_tell(limits, sentence):
    own = row(f"{QUICK}/own reference", "surrogate", family="filling", **({"steady": 0.9} | limits))
    bad = {"surrogate": row(FAITHFUL, "surrogate", p=0.99, worse=0.01, difference=-1.0, share=-0.5)}
    for rows in (good(), good(**bad)):
        found = judge([*rows, own])
        assert found.verdict == "undetermined"
        assert sentence in found.reasons[0]


def test_a_quick_measure_on_few_patients_supports_nothing():
    def quick(n):
        rows = [row(QUICK, c, n=n) for c in BEATEN_BY_FAITH]
        return judge([*rows, row(RESEMBLES, "surrogate", n=n, difference=0.0)])

    assert quick(12).verdict == "supported"
    for n in (1, 5, 11):
        assert quick(n).verdict == "undetermined"
        assert f"a quick measure on {n} patient" in quick(n).reasons[0]


def test_a_map_that_forgets_the_weights_is_not_supported():
    alike = row(RESEMBLES, "surrogate", difference=-0.6, p=0.99, worse=0.001)
    little = row(FAITHFUL, "surrogate", share=0.6)
    found = judge([r for r in good(weights=alike, surrogate=little) if r.control != RANDOMISED])
    assert found.verdict == "not supported"
    assert "hardly depends on the weights" in found.reasons[1]
    slightly = row(RESEMBLES, "surrogate", difference=-0.05, p=0.99, worse=0.001)
    assert judge(good(weights=slightly)).verdict == "supported"


def test_likeness_by_the_image_does_not_refute_a_map_that_is_more_faithful_than_a_randomised_networks():
    alike = row(RESEMBLES, "surrogate", difference=-0.6, p=0.99, worse=0.001)
    assert judge(good(weights=alike)).verdict == "supported"
    no_better = {RANDOMISED: row(FAITHFUL, RANDOMISED, p=0.3, worse=0.7)}
    assert judge(good(weights=alike, **no_better)).verdict == "undetermined"
    little = {"surrogate": row(FAITHFUL, "surrogate", share=0.6)}
    assert judge(good(weights=alike, **no_better, **little)).verdict == "not supported"


def test_a_quick_measure_on_few_patients_does_not_refute_what_it_may_not_support():
    """Of one image the likeness to one randomised network's map reaches p <= 0.05 for exact maps as well."""
    alike = row(RESEMBLES, "surrogate", n=1, difference=-0.12, p=0.99, worse=0.01)
    one = [row(QUICK, c, n=1) for c in BEATEN_BY_FAITH if c != "other patient"]
    assert judge([*one, alike]).verdict == "undetermined"


def test_what_was_not_measured_is_undetermined():
    assert judge([]).verdict == "undetermined"
    assert judge([r for r in good() if r.measure != RESEMBLES]).verdict == "undetermined"
    assert judge([r for r in good() if r.measure != PLACED]).verdict == "supported"
    assert judge([r for r in good() if r.measure != FAITHFUL]).verdict == "undetermined"


def test_one_image_needs_its_rank_and_every_control():
    rows = [row(FAITHFUL, c, n=1, p=NAN, worse=NAN) for c in BEATEN_BY_FAITH if c not in ("surrogate", "other patient")]
    rows += [row(FAITHFUL, "surrogate", n=1, p=0.01), row(RESEMBLES, "surrogate", n=1, difference=0.0)]
    found = judge(rows)
    assert (found.verdict, found.scope) == ("supported", "for this image only")
    beaten = [
        r if r.control != "edges" else row(FAITHFUL, "edges", n=1, p=NAN, worse=NAN, everywhere=0.0) for r in rows
    ]
    assert judge(beaten).verdict == "undetermined"


def test_place_fails_when_the_truth_is_missed():
    missed = {"edges/place": row(PLACED, "edges", p=0.99, worse=0.01, difference=-0.2)}
    assert judge(good(**missed)).verdict == "not supported"


def test_every_threshold_has_its_sentence():
    assert all(0 < value <= 20 and line.endswith(".") for value, line in THRESHOLDS.values())
