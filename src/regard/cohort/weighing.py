"""Weighing as a function over cases: each case is explained, its maps and their controls are measured.

Controls that need other cases (another patient's map, the cohort's mean) are left to `regard weigh`.
"""

from dataclasses import asdict, dataclass

from regard.cohort import moments
from regard.cohort.engine import Cohort
from regard.cohort.moments import State
from regard.cohort.part import Part
from regard.cohort.question import OpenQuestion, Question, prediction_row
from regard.evidence.comparison import WeighedMap
from regard.evidence.files import weighed_map
from regard.evidence.stored import open_case
from regard.evidence.weigh import Plan, weigh_case
from regard.io import Case
from regard.io.maps import StoredMap, sidecar

__all__ = ["Weighing", "weighed_maps"]


@dataclass(frozen=True)
class Weighing:
    """Explains and weighs each case.

    Parameters
    ----------
    question
        What is asked.
    measures
        Names of the measures; by default those that a verdict asks for.
    n_null
        Surrogates in all, shared among the patients.
    n_patients
        Of the cohort.
    """

    question: Question
    measures: tuple[str, ...] = ()
    n_null: int = 99
    n_patients: int = 1

    def open(self) -> "_OpenWeighing":
        plan = Plan.of(
            self.measures, truth=False, n_null=self.n_null, n_patients=self.n_patients, seed=self.question.seed
        )
        return _OpenWeighing(self.question.open(), plan)

    def combine(self, a: State, b: State) -> State:
        return moments.combine(a, b)


@dataclass(frozen=True)
class _OpenWeighing:
    asked: OpenQuestion
    plan: Plan

    def part(self, case: Case) -> Part:
        asked, question = self.asked, self.asked.question
        scans = asked.scans(case)
        found = asked.explain(case, scans)
        opened = open_case(
            asked.model, scans, target=asked.target, reference=asked.reference(case),
            layer=question.layer, reshape=question.reshape,
            case=case.case, seed=question.seed, batch_size=question.batch_size,  # type: ignore[arg-type]
        )  # fmt: skip
        exhibits, notes = {}, {}
        specs = {spec.label: spec for spec in asked.specs}
        for explanation in found.explanations:
            name = f"{explanation.name} ({explanation.input})" if explanation.input else explanation.name
            stored = StoredMap(explanation.relevance, sidecar(explanation), on_network=explanation.on_network)
            exhibits[name], notes[name] = opened.exhibit(stored, specs[explanation.name])
        target = found.explanations[0].target
        weighed = weigh_case(
            exhibits, self.plan, target=target, patient=case.patient, columns=case.columns, notes=notes
        )
        return Part({}, {**prediction_row(case, found), "weighed": [asdict(w) for w in weighed]})


def weighed_maps(cohort: Cohort) -> list[WeighedMap]:
    """What was measured of every case, for `regard.evidence.weigh.comparisons`."""
    return [weighed_map(said) for row in cohort.rows.values() for said in row["weighed"]]
