import pytest

from regard.evidence.comparison import Comparison
from regard.evidence.verdict import BEATEN_BY_FAITH, BEATEN_BY_PLACE, FAITHFUL, PLACED, RESEMBLES, THRESHOLDS, judge

NAN = float("nan")


def row(measure, control, *, n=12, p=0.001, worse=0.999, difference=1.0, everywhere=1.0, null=0.0):
    return Comparison(
        "*", "*", "m", "output:0", measure, control, "faithful", "1", "higher", n, n, 1.0, NAN, NAN, null, difference,
        NAN, NAN, 1.0, everywhere, p, worse, min(1.0, 2 * p), "sign flips",
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
    many = {control: row(FAITHFUL, control, n=24, p=0.2, worse=0.8)}
    found = judge(good(24, **many))
    assert found.verdict == "not supported"
    assert f"no better than {control}" in found.reasons[0]
    worse = {control: row(FAITHFUL, control, p=0.99, worse=0.01, difference=-1.0)}
    assert "worse than" in judge(good(**worse)).reasons[0]


def test_a_map_that_forgets_the_weights_is_not_supported():
    alike = row(RESEMBLES, "surrogate", difference=-0.6, p=0.99, worse=0.001)
    found = judge(good(weights=alike))
    assert found.verdict == "not supported"
    assert "hardly depends on the weights" in found.reasons[1]
    slightly = row(RESEMBLES, "surrogate", difference=-0.05, p=0.99, worse=0.001)
    assert judge(good(weights=slightly)).verdict == "supported"


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
