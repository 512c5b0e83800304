"""The study in its five acts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np

from regard.evidence.accuracy.bivariate import FEWEST, Fit, fit_binomial, fit_normal
from regard.evidence.accuracy.checks import (
    Subgroups,
    deeks,
    heterogeneity,
    left_out,
    naive,
    odds_ratio,
    subgroups,
)
from regard.evidence.accuracy.curve import area, hsroc
from regard.evidence.accuracy.simulated import ERROR, TRUTHS, Truth, covered, simulated
from regard.evidence.accuracy.tables import Tables, read_tables
from regard.evidence.statistics import exact_interval
from regard.studies.config import StudyConfig
from regard.studies.diagnostic_meta_analysis.config import SIZES, MetaConfig
from regard.studies.diagnostic_meta_analysis.page import write_page
from regard.studies.diagnostic_meta_analysis.placing import Placed, placed_in
from regard.studies.items import Item, read_items
from regard.studies.run import Scores, StudyRun
from regard.studies.scoring.bootstrap import Score, mean_score
from regard.studies.study import AbstractStudy

__all__ = ["MetaAnalysis", "Pooled"]

_NAN = float("nan")
_RATES = ("sensitivity", "false_positive_rate")


@dataclass(frozen=True)
class Pooled:
    """What the acts share.

    Parameters
    ----------
    tables
        The studies.
    simulated
        Whether they are simulated.
    networks
        Networks of one's own, from finished runs.
    """

    tables: Tables
    simulated: bool
    networks: tuple[Placed, ...]

    @cached_property
    def fit(self) -> Fit | None:
        """The pooled studies; None where they are too few."""
        return fit_normal(self.tables) if len(self.tables) >= FEWEST else None

    @cached_property
    def exact(self) -> Fit | None:
        """The same by the binomial model."""
        return fit_binomial(self.tables) if len(self.tables) >= FEWEST else None

    @property
    def n_patients(self) -> int:
        """Of all studies."""
        return int(self.tables.counts.sum())


class MetaAnalysis(AbstractStudy[Pooled]):
    """Sensitivity and specificity of many studies, pooled; and a network of one's own beside them."""

    name = "diagnostic-meta-analysis"
    title = "meta-analysis of diagnostic accuracy, and where a network of one's own lies in it"
    paper = (
        "Zhao R et al. The diagnostic value of image-based machine learning for osteoporosis: systematic review and "
        "meta-analysis. JMIR 2026, 28, e75965. 10.2196/75965"
    )
    sizes: ClassVar[Mapping[str, StudyConfig]] = SIZES
    shares: ClassVar[Mapping[str, float]] = {"data": 0.02, "train": 0.1, "score": 0.2, "explain": 0.03, "weigh": 0.65}
    acts: ClassVar[Mapping[str, str]] = {
        "data": "two-by-two tables of studies: simulated ones with known truth, or a CSV of TP, FN, FP and TN",
        "train": "the bivariate model by restricted likelihood, the binomial mixed model, and naive pooling beside",
        "score": "spread, odds ratio, summary curve, subgroups, studies left out one by one, small studies",
        "explain": "finished runs of your own (--from) as points in the same plane",
        "weigh": "how often intervals and regions hold the truth, in simulated meta-analyses",
    }
    items: ClassVar[tuple[Item, ...]] = read_items("regard.studies.diagnostic_meta_analysis")
    takes_runs = True

    def gather(self, run: StudyRun) -> Pooled:
        config = run.config
        assert isinstance(config, MetaConfig)
        networks = tuple(placed for folder in run.bases for placed in placed_in(folder))
        if run.data is not None:
            return Pooled(read_tables(run.data), simulated=False, networks=networks)
        parts = {g: simulated(t, config.data.n_studies, run.seed, g) for g, t in TRUTHS.items()}
        names = tuple(name for part in parts.values() for name in part.names)
        modality = tuple(g for g, part in parts.items() for _ in part.names)
        counts = np.concatenate([part.counts for part in parts.values()])
        return Pooled(Tables(names, counts, {"modality": modality}), simulated=True, networks=networks)

    def data(self, run: StudyRun) -> Scores:
        found = self.material(run)
        return {"studies": {"number": self._one(found, len(found.tables), unit="studies")}}

    def train(self, run: StudyRun) -> Scores:
        found = self.material(run)
        tables = found.tables
        scores: dict[str, dict[str, Score]] = {}
        if found.fit is not None:
            scores["bivariate"] = self._rates(found.fit, found)
            run.stage("the binomial mixed model", 1, 2)
            assert found.exact is not None
            scores["binomial"] = self._rates(found.exact, found)
        rough = naive(tables)
        scores["floor_all_counts_added"] = {
            name: self._one(found, float(value)) for name, value in zip(_RATES, rough, strict=True)
        }
        return scores

    def score(self, run: StudyRun) -> Scores:
        found = self.material(run)
        config = run.config
        assert isinstance(config, MetaConfig)
        if found.fit is None:
            return {}
        tables, fit = found.tables, found.fit
        assert found.exact is not None
        odds, small, curve = odds_ratio(tables), deeks(tables), hsroc(found.exact)
        seen = tables.rates[:, 1]
        scores: dict[str, dict[str, Score]] = {
            "spread": {
                "standard_deviation_of_logit_sensitivity": self._one(found, float(fit.deviations[0])),
                "standard_deviation_of_logit_false_positive_rate": self._one(found, float(fit.deviations[1])),
                "correlation": self._one(found, fit.correlation),
                "i2_joint": self._one(found, heterogeneity(tables, fit), unit="%"),
                "odds_ratio": self._one(found, odds.value, odds.low, odds.high),
                "i2_odds_ratio": self._one(found, odds.i2, unit="%"),
                "p_small_studies": self._one(found, small.p),
            },
            "curve": {
                "area": self._one(found, area(curve)),
                "area_where_studies_lie": self._one(found, area(curve, float(seen.min()), float(seen.max()))),
            },
        }
        for column in (c for c in config.score.by if c in tables.columns):
            scores |= self._by(subgroups(tables, column), found)
        run.stage("leaving studies out", 1, 2)
        if len(tables) > FEWEST:
            points = np.array([f.rates()[:, 0] for f in left_out(tables)])
            scores["one_study_left_out"] = {
                f"{name}_{word}": self._one(found, float(end(points[:, k])))
                for k, name in enumerate(_RATES)
                for word, end in (("least", np.min), ("most", np.max))
            }
        return scores

    def explain(self, run: StudyRun) -> Scores:
        scores: dict[str, dict[str, Score]] = {}
        for one in self.material(run).networks:
            tp, fn, fp, tn = one.counts
            scores[f"network {one.name}"] = {
                name: Score(hit / n, *exact_interval(hit, n), 0.95, n, n, "1", interval="Clopper-Pearson")
                for name, hit, n in (("sensitivity", tp, tp + fn), ("false_positive_rate", fp, fp + tn))
            }
        return scores

    def weigh(self, run: StudyRun) -> Scores:
        config = run.config
        assert isinstance(config, MetaConfig)
        truth = next(iter(TRUTHS.values()))
        scores: dict[str, dict[str, Score]] = {}
        models = {"normal": config.weigh.n_simulated, "binomial": config.weigh.n_binomial}
        pieces = [(k, model, n) for k in config.weigh.n_studies for model, n in models.items()]
        for place, (k, model, n) in enumerate(pieces):
            run.stage(f"{n} simulated meta-analyses of {k} studies", place, len(pieces))
            make = partial(self._draws, truth, k, n, run.seed, model == "binomial")
            held = run.record(f"weigh/coverage-{k}-{model}", make)["draws"]
            group = {self._name(x): self._share(sum(bool(h[x]) for h in held), n) for x in held[0] if x != ERROR}
            errors, names = [h[ERROR] for h in held], [str(draw) for draw in range(n)]
            group["mean_error_of_logit_sensitivity"] = mean_score(errors, names)
            scores[f"coverage_{k}_studies_{model}_model"] = group
        return scores

    @staticmethod
    def _name(name: str) -> str:
        return "fits_at_a_correlation_of_1" if name == "boundary" else f"held_{name.replace(' ', '_')}"

    @staticmethod
    def _share(hits: int, n: int) -> Score:
        return Score(hits / n, *exact_interval(hits, n), 0.95, n, n, "1", interval="Clopper-Pearson, over simulations")

    @staticmethod
    def _draws(truth: Truth, k: int, n: int, seed: int, exactly: bool) -> dict[str, Any]:
        return {"draws": [covered(truth, k, seed, draw, exactly=exactly) for draw in range(n)]}

    def report(self, run: StudyRun, scores: Scores) -> None:
        write_page(self, run, scores, self.material(run))

    def _one(self, found: Pooled, value: float, low: float = _NAN, high: float = _NAN, *, unit: str = "1") -> Score:
        return Score(value, low, high, 0.95, len(found.tables), found.n_patients, unit)

    def _rates(self, fit: Fit, found: Pooled) -> dict[str, Score]:
        scores = {
            name: self._one(found, float(row[0]), float(row[1]), float(row[2]))
            for name, row in zip(_RATES, fit.rates(), strict=True)
        }
        value, low, high = 1 - fit.rates()[1][[0, 2, 1]]
        return {**scores, "specificity": self._one(found, float(value), float(low), float(high))}

    def _by(self, groups: Subgroups, found: Pooled) -> dict[str, dict[str, Score]]:
        scores: dict[str, dict[str, Score]] = {}
        column = np.array(found.tables.columns[groups.column])
        for name, fit in groups.fits.items():
            n_patients = int(found.tables.counts[column == name].sum())
            scores[f"{groups.column} {name}"] = {
                k: Score(float(row[0]), float(row[1]), float(row[2]), 0.95, fit.n, n_patients, "1")
                for k, row in zip(_RATES, fit.rates(), strict=True)
            }
        if len(groups.fits) > 1:
            scores[f"{groups.column} groups"] = {"p_of_one_mean": self._one(found, groups.p)}
        return scores
