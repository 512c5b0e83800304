"""The meta-analysis: published figures, closed forms, a brute-force likelihood, and all of it by the command line."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from regard.cli import main
from regard.core.errors import CardError, FolderError, InputError
from regard.evidence.accuracy.bivariate import fit_binomial, fit_normal, log_likelihood
from regard.evidence.accuracy.checks import (
    deeks,
    heterogeneity,
    left_out,
    naive,
    odds_ratio,
    repeated,
    subgroups,
)
from regard.evidence.accuracy.curve import area, hsroc, inside, moses_littenberg, region
from regard.evidence.accuracy.simulated import TRUTHS, Truth, covered, simulated
from regard.evidence.accuracy.tables import Tables, read_tables, wilson
from regard.evidence.statistics import exact_interval
from regard.studies.diagnostic_meta_analysis.placing import placed_in

AUDIT_C = """TP,FN,FP,TN
47,9,101,738
126,51,272,1543
19,10,12,192
36,3,78,276
130,19,211,959
84,2,68,89
68,0,112,423
752,0,3226,2977
59,5,55,136
142,50,571,2788
137,24,107,358
57,3,103,437
34,1,21,56
152,51,88,264
"""
"""Counts of fourteen studies of a questionnaire on drinking: Kriston et al. 2008, Ann Intern Med 149(12)."""


@pytest.fixture
def audit(tmp_path: Path) -> Path:
    path = tmp_path / "audit.csv"
    path.write_text(AUDIT_C)
    return path


def tables(*rows: tuple[float, float, float, float], **columns: tuple[str, ...]) -> Tables:
    return Tables(tuple(f"s{n}" for n in range(len(rows))), np.array(rows, float), dict(columns))


def test_the_published_fit_to_the_printed_digits(audit: Path) -> None:
    """The restricted fit of these counts as the vignette of an established package prints it."""
    fit = fit_normal(read_tables(audit))
    assert [f"{v:.4f}" for v in fit.effects] == ["2.0997", "-1.2637"]
    assert [f"{v:.3f}" for v in fit.errors] == ["0.338", "0.174"]
    assert [f"{v:.3f}" for v in fit.deviations] == ["1.175", "0.638"]
    assert f"{fit.correlation:.3f}" == "0.854"
    assert [[f"{v:.3f}" for v in row] for row in fit.rates()] == [
        ["0.891", "0.808", "0.941"],
        ["0.220", "0.167", "0.285"],
    ]
    odds = odds_ratio(read_tables(audit))
    assert [f"{v:.3f}" for v in (odds.value, odds.low, odds.high, odds.variance)] == [
        "26.337",
        "17.971",
        "38.596",
        "0.311",
    ]
    low, high = wilson(np.array([47.5]), np.array([57.0]))
    assert (f"{low[0]:.3f}", f"{high[0]:.3f}") == ("0.716", "0.908")
    assert area(hsroc(fit)) == pytest.approx(0.887, abs=2e-3), "theirs is a sum over a hundred points"


def test_studies_of_one_size_have_their_mean() -> None:
    """With one variance within all studies the restricted estimates are the plain mean and covariance of the logits."""
    rng = np.random.default_rng(0)
    logits = rng.multivariate_normal([2, -2], [[1.0, 0.5], [0.5, 0.8]], size=12)

    class Alike(Tables):
        @property
        def logits(self) -> np.ndarray:
            return logits

        @property
        def variances(self) -> np.ndarray:
            return np.full((12, 2), 0.05)

    fit = fit_normal(Alike(tuple("abcdefghijkl"), np.ones((12, 4))))
    np.testing.assert_allclose(fit.effects, logits.mean(0), atol=1e-8)
    np.testing.assert_allclose(fit.between + 0.05 * np.eye(2), np.cov(logits.T), atol=1e-4)
    np.testing.assert_allclose(fit.covariance, np.cov(logits.T) / 12, atol=1e-5)


def test_a_design_of_two_groups_is_two_means(audit: Path) -> None:
    """A column of 0 and 1 beside the constant says the same as a column for each group."""
    studies = read_tables(audit)
    second = (np.arange(14) >= 7).astype(float)
    one = fit_normal(studies, design=np.stack([np.ones(14), second], 1))
    other = fit_normal(studies, design=np.stack([1 - second, second], 1))
    np.testing.assert_allclose(one.effects[0] + one.effects[1], other.effects[1], atol=1e-4)
    np.testing.assert_allclose(one.effects[2], other.effects[2], atol=1e-4)
    # A likelihood that does not depend on how the design is written; the restricted one neither, by its constant.
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-6)


def test_what_is_called_ill_does_not_matter(audit: Path) -> None:
    """With ill and well exchanged, sensitivity and specificity change places."""
    studies = read_tables(audit)
    turned = Tables(studies.names, studies.counts[:, [3, 2, 1, 0]])
    for fit in (fit_normal, fit_binomial):
        one, other = fit(studies), fit(turned)
        np.testing.assert_allclose(other.effects, -one.effects[::-1], atol=2e-3)
        np.testing.assert_allclose(other.deviations, one.deviations[::-1], atol=2e-3)
        assert other.correlation == pytest.approx(one.correlation, abs=2e-3)


def test_the_order_of_the_studies_does_not_matter(audit: Path) -> None:
    studies = read_tables(audit)
    order = np.random.default_rng(0).permutation(14).tolist()
    np.testing.assert_allclose(fit_normal(studies.only(order)).effects, fit_normal(studies).effects, atol=1e-5)


@pytest.mark.parametrize("counts", [(9, 1, 2, 18), (5, 0, 0, 40), (3, 12, 30, 5)])
def test_the_quadrature_is_the_integral(counts: tuple[int, ...]) -> None:
    """The likelihood of one study, summed by brute force over a fine grid of both logits."""
    tp, fn, fp, tn = counts
    means, between = np.array([1.2, -1.5]), np.array([[0.9, 0.3], [0.3, 0.6]])
    density = stats.multivariate_normal(means, between).pdf

    a, b = (np.linspace(m - 10, m + 10, 1201) for m in means)
    hits = np.outer(stats.binom.pmf(tp, tp + fn, special.expit(a)), stats.binom.pmf(fp, fp + tn, special.expit(b)))
    value = float((hits * density(np.stack(np.meshgrid(a, b, indexing="ij"), -1))).sum()) * (20 / 1200) ** 2
    found, n = np.array([[tp, fp]], float), np.array([[tp + fn, fp + tn]], float)
    assert log_likelihood(found, n, means, between) == pytest.approx(math.log(value), abs=1e-5)


def test_the_binomial_fit_needs_no_correction_and_agrees_on_large_studies() -> None:
    truth = Truth(0.85, 0.2, (0.5, 0.5), 0.3)
    many = simulated(truth, 25, 0, "large")
    large = Tables(many.names, many.counts * 200)
    np.testing.assert_allclose(fit_binomial(large).effects, fit_normal(large, likelihood="full").effects, atol=0.01)
    empty = tables((10, 0, 3, 40), (20, 1, 0, 35), (15, 0, 2, 60), (8, 2, 1, 30), (30, 1, 4, 80))
    assert empty.corrected
    # A half for each empty cell pulls a sensitivity near 1 down.
    assert fit_binomial(empty).rates()[0, 0] > fit_normal(empty).rates()[0, 0]


def test_a_correlation_of_one_is_said_and_draws_no_ellipse() -> None:
    shift = np.linspace(-2, 2, 9)
    rows = [(round(60 * special.expit(1 + s)), 60 - round(60 * special.expit(1 + s)),
             round(60 * special.expit(-1 + s)), 60 - round(60 * special.expit(-1 + s))) for s in shift]  # fmt: skip
    fit = fit_normal(tables(*rows))
    assert fit.at_boundary
    with pytest.raises(InputError, match=r"a correlation of 1\.000 between studies"):
        region(fit)


def test_three_studies_are_not_pooled(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 studies; expected at least 4 to pool"):
        fit_normal(tables((9, 1, 2, 18), (8, 2, 1, 19), (7, 3, 2, 18)))
    path = tmp_path / "three.csv"
    path.write_text("study,tp,fn,fp,tn\na,9,1,2,18\nb,8,2,1,19\nc,7,3,2,18\n")
    words = [
        "study",
        "run",
        "diagnostic-meta-analysis",
        "--size",
        "smoke",
        "--data",
        str(path),
        "-o",
        str(tmp_path / "r"),
    ]
    assert main(words) == 0
    scores = json.loads((tmp_path / "r" / "scores.json").read_text())["scores"]
    assert "bivariate" not in scores
    assert "too few to pool" in (tmp_path / "r" / "report.html").read_text()


def test_regions_hold_their_share() -> None:
    """Of points drawn from the pooled point's own distribution, a region by F holds a little more than its level."""
    fit = fit_normal(simulated(Truth(0.9, 0.1), 40, 3, "region"))
    assert not fit.at_boundary
    draws = np.random.default_rng(0).multivariate_normal(fit.effects, fit.covariance, size=4000)
    share = np.mean([inside(fit, d) for d in draws])
    expected = stats.chi2.cdf(2 * stats.f.ppf(0.95, 2, 38), 2)
    assert share == pytest.approx(expected, abs=0.012)
    border = special.logit(region(fit)[:, ::-1])
    assert inside(fit, 0.999 * (border[7] - fit.effects) + fit.effects)
    assert not inside(fit, 1.001 * (border[7] - fit.effects) + fit.effects)


def test_the_summary_curve_passes_through_the_pooled_point(audit: Path) -> None:
    fit = fit_normal(read_tables(audit))
    at = fit.rates()[1, 0]
    assert float(hsroc(fit).sensitivity(np.array([at]))[0]) == pytest.approx(fit.rates()[0, 0], abs=1e-9)
    parameters = hsroc(fit)
    # The covariance between studies comes back from the hierarchical parameters.
    a, b = fit.deviations
    covariance = parameters.variance_threshold - parameters.variance_accuracy / 4
    assert covariance == pytest.approx(fit.between[0, 1], abs=1e-9)
    assert parameters.variance_threshold + parameters.variance_accuracy / 4 == pytest.approx(a * b, abs=1e-9)


def test_a_symmetrical_curve_has_the_area_of_its_odds_ratio() -> None:
    """With one odds ratio at every threshold the area is known in closed form (Walter 2002, Stat Med 21(9))."""
    from regard.evidence.accuracy.curve import HSROC

    odds = 12.0
    exact_area = odds / (odds - 1) ** 2 * ((odds - 1) - math.log(odds))
    assert area(HSROC(math.log(odds), 0.0, 0.0, 0.0, 0.0)) == pytest.approx(exact_area, abs=1e-5)


def test_moses_and_littenberg_on_one_odds_ratio() -> None:
    logits = np.array([[math.log(9), 0.0], [math.log(4), math.log(0.25)]])
    intercept, slope = moses_littenberg(tables((90, 10, 50, 50), (80, 20, 400, 1600)))
    x, y = logits.sum(1), logits @ [1, -1]
    assert intercept + slope * x == pytest.approx(y)


def test_deeks_finds_a_slope_that_is_there_and_is_quiet_without() -> None:
    def studies(slope: float) -> Tables:
        rows, rng = [], np.random.default_rng(1)
        for n in np.geomspace(30, 3000, 24):
            log_odds = 3 + slope / math.sqrt(2 * n) + 0.1 * rng.normal()
            hit = special.expit(log_odds / 2)
            rows.append((n * hit, n * (1 - hit), n * (1 - hit), n * hit))
        return tables(*rows)

    assert deeks(studies(20.0)).p < 1e-3
    assert deeks(studies(20.0)).slope == pytest.approx(20, rel=0.3)
    assert deeks(studies(0.0)).p > 0.05


def test_subgroups_are_compared_and_small_ones_are_not_pooled() -> None:
    one, other = simulated(Truth(0.95, 0.05), 12, 0, "one"), simulated(Truth(0.7, 0.3), 12, 0, "other")
    counts = np.concatenate([one.counts, other.counts, one.counts[:3]])
    kinds = ("CT",) * 12 + ("X-ray",) * 12 + ("MRI",) * 3
    both = Tables(tuple(f"s{n}" for n in range(27)), counts, {"modality": kinds})
    groups = subgroups(both, "modality")
    assert set(groups.fits) == {"CT", "X-ray"}
    assert groups.too_few == {"MRI": 3}
    assert (groups.df, groups.p < 1e-4) == (2, True)
    same = Tables(one.names, one.counts, {"modality": ("a", "b") * 6})
    assert subgroups(same, "modality").p > 0.01


def test_naive_pooling_adds_up_and_rows_of_one_study_are_told() -> None:
    studies = Tables(("a", "b", "a"), np.array([[9, 1, 2, 18], [1, 9, 5, 15], [5, 5, 0, 20.0]]))
    assert naive(studies).tolist() == [0.5, 7 / 60]
    assert repeated(studies) == {"a": 2}


def test_the_joint_spread_is_none_where_studies_agree() -> None:
    """Studies whose counts are exact copies differ by nothing but chance, and not even by that."""
    fit = fit_normal(tables(*[(90, 10, 20, 80)] * 8))
    assert heterogeneity(tables(*[(90, 10, 20, 80)] * 8), fit) < 1


def test_left_out_is_a_fit_without_each(audit: Path) -> None:
    studies = read_tables(audit)
    without = left_out(studies.only(range(6)))
    assert [f.n for f in without] == [5] * 6
    np.testing.assert_allclose(without[2].effects, fit_normal(studies.only([0, 1, 3, 4, 5])).effects, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", CardError, "without a line"),
        ("TP,FN,FP\n1,2,3\n", CardError, "add TN"),
        ("TP,FN,FP,TN\n", CardError, "the columns TP, FN, FP, TN"),
        ("TP,FN,FP,TN\n1,2,x,4\n", CardError, "FP 'x' in line 2"),
        ("TP,FN,FP,TN\n1,2,-1,4\n", CardError, "a whole number of patients"),
        ("TP,FN,FP,TN\n1,2,0.5,4\n", CardError, "a whole number of patients"),
        ("study,TP,FN,FP,TN\nA,0,0,1,4\n", InputError, "'A' in line 2 .*nobody with the condition"),
        ("study,TP,FN,FP,TN\nA,1,1,0,0\n", InputError, "nobody without the condition"),
    ],
)
def test_a_defective_table_is_one_sentence(tmp_path: Path, text: str, error: type, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(error, match=words):
        read_tables(path)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_are_read_as_people_write_them(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "t.csv"
    lines = ["\ufeffstudy,tp, fp ,Fn,TN,modality", "Miller 2020,9,2,1,18.0,CT", "Ito,8,1,2,19,MRI"]
    path.write_text("\n".join(line.replace(",", separator) for line in lines))
    read = read_tables(path)
    assert read.names == ("Miller 2020", "Ito")
    assert read.counts.tolist() == [[9, 1, 2, 18], [8, 2, 1, 19]]
    assert read.columns == {"modality": ("CT", "MRI")}


def test_a_simulated_study_does_not_depend_on_how_many_there_are() -> None:
    truth = next(iter(TRUTHS.values()))
    assert covered(truth, 6, 0, 1) == covered(truth, 6, 0, 1)
    assert set(covered(truth, 6, 0, 2)) == {
        "sensitivity", "false positive rate", "pooled point", "new study", "boundary", "error of logit sensitivity",
    }  # fmt: skip


def finished(folder: Path, **groups: dict[str, tuple[float, int]]) -> Path:
    """A finished run with scores."""
    folder.mkdir()
    scores = {g: {n: {"value": v, "n": k} for n, (v, k) in rows.items()} for g, rows in groups.items()}
    (folder / "scores.json").write_text(json.dumps({"schema": "regard.scores/1", "scores": scores}))
    (folder / "run.yaml").write_text("schema: regard.run/1\nverb: study\nstate: done\nstudy: tuberculosis\n")
    return folder


def test_a_run_is_placed_by_its_counts(tmp_path: Path) -> None:
    run = finished(
        tmp_path / "mine", plain={"sensitivity": (0.9, 40), "specificity": (0.8, 60)}, other={"auc": (0.9, 100)}
    )
    (placed,) = placed_in(run)
    assert placed.counts == (36, 4, 12, 48)
    low, high = exact_interval(36, 40)
    assert stats.binom.sf(35, 40, low) == pytest.approx(0.025)
    assert stats.binom.cdf(36, 40, high) == pytest.approx(0.025)
    with pytest.raises(FolderError, match="no group with sensitivity and specificity"):
        placed_in(finished(tmp_path / "theirs", a={"mae": (1.0, 3)}))


def test_all_of_it_with_two_runs_beside_and_resumed(
    tmp_path: Path, audit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        finished(tmp_path / name, network={"recall": (0.85, 20), "specificity": (v, 30)})
        for name, v in (("a", 0.9), ("b", 0.5))
    ]
    words = ["study", "run", "diagnostic-meta-analysis", "--size", "smoke", "--data", audit, "-o", tmp_path / "out"]
    words += [w for run in runs for w in ("--from", run)]
    assert main([str(w) for w in words]) == 0
    first = (tmp_path / "out" / "scores.json").read_bytes()
    scores = json.loads(first)["scores"]
    assert scores["network a: network"]["sensitivity"]["n"] == 20
    assert scores["network b: network"]["false_positive_rate"]["value"] == 0.5
    page = (tmp_path / "out" / "report.html").read_text()
    for sentence in ("The ROC plane", "Diamonds are networks of your own", "What the paper found", "empty cell"):
        assert sentence in page
    for name in ("plane", "forest", "funnel"):
        assert (tmp_path / "out" / "figures" / f"{name}.png").stat().st_size > 10_000
    for piece in (tmp_path / "out" / "checkpoints").glob("act-*.json"):
        piece.unlink()
    assert main([str(w) for w in words]) == 0
    assert (tmp_path / "out" / "scores.json").read_bytes() == first
    capsys.readouterr()


def test_one_run_only_where_a_study_takes_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [finished(tmp_path / name, g={"mae": (1.0, 3)}) for name in ("a", "b")]
    words = ["study", "run", "bmd", "--size", "smoke", "-o", tmp_path / "out", "--from", runs[0], "--from", runs[1]]
    assert main([str(w) for w in words]) == 2
    assert "expected one run for bmd" in capsys.readouterr().err


def test_quality_is_drawn_where_it_is_judged(tmp_path: Path) -> None:
    from regard.studies.diagnostic_meta_analysis.figures import draw_quality

    studies = tables((9, 1, 2, 18), (8, 2, 1, 19), **{"Patient selection": ("low", "HIGH")})
    assert draw_quality(studies, tmp_path / "q.png")
    assert not draw_quality(tables((9, 1, 2, 18)), tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
