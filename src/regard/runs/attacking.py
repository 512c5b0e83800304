"""Attacks on the maps of cases, as ``regard attack`` makes them: images, maps, a table, pictures and a page."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regard.core.errors import InputError
from regard.core.volume import Volume
from regard.evidence.attacked import success_table
from regard.explainers.attack import AttackedCase, AttackPlan, attack_case
from regard.explainers.attack.differentiable import is_differentiable
from regard.explainers.spec import MethodSpec, parse_methods
from regard.io import Case, RunFolder, read, save_volume
from regard.io.atomic import write_json, write_tsv
from regard.io.contents import named_contents
from regard.io.names import letters_and_digits, safe_name
from regard.io.schema import read_json
from regard.models import Model, load_model
from regard.runs.computing import batch_size_of, computing
from regard.runs.opening import as_explained, cases_of, folder_of, raise_one_reason
from regard.runs.progress import shown
from regard.runs.question import Question, configuration, read_question, scans_of
from regard.runs.requests.attack import AttackRequest
from regard.runs.result import RunResult

__all__ = ["AttackRunResult", "attack"]

logger = logging.getLogger(__name__)

_SHOWN = ("goal", "attacked", "method", "kind", "budget", "n", "n_success", "share", "low", "high")


@dataclass(frozen=True, kw_only=True)
class AttackRunResult(RunResult):
    """What `attack` gives back.

    Parameters
    ----------
    attacks
        Lines of ``attacks.tsv``: an attack or a control, seen by one method.
    success
        How often each succeeded, with Clopper and Pearson's interval.
    warnings
        What a reader must know, by case.
    """

    attacks: tuple[dict[str, Any], ...] = ()
    success: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it in plain values."""
        return {**super().to_dict(), "success": list(self.success), "attacks": list(self.attacks)}

    def table(self) -> Any:
        """The attacks as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each attack or control, case, budget and method that sees it.
        """
        import pandas as pd

        return pd.DataFrame(list(self.attacks))

    def __str__(self) -> str:
        lines = [f"warning: {sentence}" for sentence in self.warnings]
        lines += [_sentence(row) for row in self.success]
        return "\n".join([*lines, *self._last_lines()])


def _sentence(row: Mapping[str, Any]) -> str:
    of = f"{row['goal']} of {row['attacked']}" if row["kind"] == "attack" else f"{row['kind']}, seen by {row['method']}"
    seen = f", seen by {row['method']}" if row["kind"] == "attack" and row["method"] != row["attacked"] else ""
    share = f"{row['n_success']} of {row['n']} ({row['low']:.2f} to {row['high']:.2f})"
    moved = f"prediction by {row['median_drift']:.3g}, correlation of the maps {row['median_spearman']:.2f}"
    return f"budget {row['budget']:g} {row['unit']}: {of}{seen}: {share}; {moved}"


@dataclass(frozen=True)
class _Run:
    request: AttackRequest
    folder: RunFolder
    model: Model
    question: Question
    specs: Sequence[MethodSpec]
    plan: AttackPlan
    surrogate: MethodSpec | None
    towards: Volume | None
    errors: list[Exception] = field(default_factory=list)

    def record(self, case: Case) -> Path:
        """Where what came of a case is kept; written last."""
        return self.folder.path / "checkpoints" / f"attacked-{safe_name(case.case)}.json"


def attack(request: AttackRequest) -> AttackRunResult:
    """Attack the maps of cases as ``regard attack`` does.

    Parameters
    ----------
    request
        What is asked; its fields are the options of the verb.

    Raises
    ------
    RegardError
        If something is wrong for every case. What is wrong with one case is a row of ``failures.tsv``.
    """
    with computing(request) as device:
        return _attack_all(request, device)


def _attack_all(request: AttackRequest, device: str) -> AttackRunResult:
    batch_size_of(request.batch_size)
    plan = AttackPlan(
        goal=request.goal, budgets=_budgets(request.budget), norm=request.norm, tolerance=request.tolerance,  # type: ignore[arg-type]
        n_steps=request.steps, n_restarts=request.restarts,
    )  # fmt: skip
    specs = parse_methods(request.methods)
    surrogate = None if request.surrogate is None else parse_methods([request.surrogate])[0]
    cases = cases_of(request)
    model = load_model(request.model, weights=request.weights, trust=request.trust, device=device)
    for spec in specs:
        if surrogate is None and not is_differentiable(spec.build(model.network)):
            raise InputError(
                f"-m {spec.label}, which no gradient passes through", "a method that the steps can follow",
                "name one with --surrogate, such as --surrogate integrated-gradients:n_steps=8",
            )  # fmt: skip
    asked = as_explained(request)
    question = read_question(asked, model)
    towards = None if request.towards is None else read(request.towards)
    config = {
        **configuration(asked, model, specs, cases, device), "goal": str(plan.goal), "budget": list(plan.budgets),
        "norm": plan.norm, "tolerance": plan.tolerance, "restarts": plan.n_restarts, "steps": plan.n_steps,
        "surrogate": None if surrogate is None else str(surrogate),
        "towards": named_contents(towards=request.towards),
    }  # fmt: skip
    with folder_of(request, "attack", config, cases, model) as folder:
        this = _Run(request, folder, model, question, specs, plan, surrogate, towards)
        for case in (c for c in cases if this.record(c).exists()):
            folder.check_inputs(case)
        with shown(quiet=request.quiet) as progress:
            for n, case in enumerate(cases):
                progress.stage(f"attacking {case.case}", n, len(cases))
                _try(this, case)
        done = [c for c in cases if this.record(c).exists()]
        if not done:
            raise_one_reason(this.errors)
            raise InputError(f"none of {len(cases)} cases could be attacked", "one at least", "see failures.tsv")
        result = _written(this, done, cases)
        folder.finish("some_failed" if result.failed else "done")
    return result


def _budgets(texts: Sequence[str]) -> list[float]:
    """Read ``FLOAT,FLOAT``."""
    found = []
    for part in (p.strip() for text in texts for p in text.split(",")):
        try:
            found.append(float(part))
        except ValueError:
            raise InputError(
                f"--budget {part}", "numbers above 0, in the image's unit", "such as --budget 2,4"
            ) from None
    return found


def _try(this: _Run, case: Case) -> None:
    """Attack one case; a failure is kept and costs the others nothing."""
    try:
        if not this.record(case).exists():
            _attack_case(this, case)
        this.folder.succeeded(case.case)
    except Exception as error:
        this.folder.add_failure(case.case, "attack", error)
        this.errors.append(error)
        logger.warning("%s: %s", case.case, this.folder.failures[-1]["message"])
        logger.debug("the whole of it", exc_info=error)


def _attack_case(this: _Run, case: Case) -> None:
    scans = scans_of(case, this.model, this.request.cut)
    this.folder.record_inputs(case)
    rows: list[dict[str, Any]] = []
    warnings: list[str] = []
    pictures: list[str] = []
    for spec in this.specs:
        others = [s for s in this.specs if s.label != spec.label]
        surrogate = None if this.surrogate is None or _followed(this, spec) else this.surrogate
        found = attack_case(
            this.model, scans, spec, this.plan, target=this.question.target, layer=this.request.layer,
            surrogate=surrogate, seen_by=others, towards=this.towards, seed=this.request.seed, case=case.case,
        )  # fmt: skip
        # The column says which map was to be moved; what the steps followed stands beside it.
        rows += [{**r, "attacked": spec.label, "followed": r["attacked"]} for r in found.result.rows()]
        warnings += found.result.warnings
        pictures.append(_save(this, case, spec, found))
    content = {"case": case.case, "rows": rows, "warnings": warnings, "pictures": pictures}
    write_json(this.record(case), "attacked", content)


def _followed(this: _Run, spec: MethodSpec) -> bool:
    return is_differentiable(spec.build(this.model.network))


def _save(this: _Run, case: Case, spec: MethodSpec, found: AttackedCase) -> str:
    """Write images and maps of a method's attacks, and their picture; its name."""
    from regard.report.attack import Attacked, draw_attack
    from regard.report.invariances import save_figure

    rows, stem = [], f"{safe_name(case.case)}_desc-{letters_and_digits(spec.label)}"
    attempts = [a for a in found.result.attempts if a.kind == "attack" and a.method == spec.label]
    scan = found.prepared.parts[0].scan
    for number, attempt in enumerate(attempts, start=1):
        attacked, (before, after) = found.scan(attempt), found.maps(attempt)
        if number == 1:
            save_volume(before, this.folder.path / "maps" / f"{stem}_relevance.nii.gz", "regard map before an attack")
        name = f"{stem}_goal-{letters_and_digits(str(attempt.goal))}_budget-{number}"
        for word, volume in (("image", attacked), ("relevance", after)):
            save_volume(volume, this.folder.path / "attacked" / f"{name}_{word}.nii.gz", "regard attack")
        said = f"budget {attempt.budget:g} {attempt.unit}: {'reached' if attempt.success else 'not reached'}\n"
        said += f"f {attempt.before.value:.4g} to {attempt.after.value:.4g} {attempt.prediction_unit}\n"
        said += f"maps correlate at {attempt.likeness.spearman:.2f}"
        rows.append(Attacked(scan, attacked, before, after, said))
    name = f"{stem}_attacked.png"
    title = f"{case.case}, {spec.label}: {this.plan.goal} (prediction-map)"
    save_figure(draw_attack(rows, title), this.folder.path / "figures" / name)
    return name


def _written(this: _Run, done: Sequence[Case], cases: Sequence[Case]) -> AttackRunResult:
    """Write the table, the scores and the page of what is in the folder, made now or before."""
    from regard.report.invariances import embedded
    from regard.report.sections import Section, write_sections

    kept = {c.case: read_json(this.record(c), "attacked") for c in done}
    rows = [r for one in kept.values() for r in one["rows"]]
    columns = list(rows[0])
    path = this.folder.path
    write_tsv(path / "attacks.tsv", columns, ([r[c] for c in columns] for r in rows))
    success = success_table(rows)
    write_json(path / "scores.json", "scores", {"study": None, "size": None, "scores": _scores(success)})
    warnings = tuple(f"{case}: {w}" for case, one in kept.items() for w in dict.fromkeys(one["warnings"]))
    table = [tuple(_cell(row[c]) for c in _SHOWN) for row in success]
    sections = [Section("How often it succeeds", _ABOUT, (), _SHOWN, table)]
    if warnings:
        sections.insert(0, Section("Read this first", " ".join(f"{w.rstrip('.')}." for w in warnings)))
    for case, one in kept.items():
        pictures = tuple(embedded(path / "figures" / name) for name in one["pictures"])
        sections.append(Section(case, _PICTURE, pictures))
    meta = {"model": this.model.card.name, "goal": str(this.plan.goal), "cases": f"{len(done)} of {len(cases)}",
            "target": rows[0].get("prediction_unit", ""), "seed": str(this.request.seed)}  # fmt: skip
    report = write_sections(path / "report.html", f"{this.model.card.name}: attacks on its maps", sections, meta=meta)
    return AttackRunResult(
        folder=path, report=report, failed=tuple(c.case for c in cases if c not in done), attacks=tuple(rows),
        success=tuple(success), warnings=warnings,
    )  # fmt: skip


_ABOUT = (
    "Success is judged on the network itself: the prediction kept within its tolerance, or moved beyond it, and the "
    "map as the goal wants, by Spearman's correlation over the foreground. Intervals are exact, over cases. The others "
    "are changes of the same size that nobody searched for; what they reach, an attack has not shown."
)
_PICTURE = (
    "A row for each budget. The change stands beside the scan twice: on the scan's grey scale, and on one of its own. "
    "Both maps of a row share one scale."
)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _scores(success: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for row in success:
        name = f"{row['kind']} on {row['attacked']} seen by {row['method']}"
        groups.setdefault(name, {})[f"success at {row['budget']:g} {row['unit']}"] = {
            "value": row["share"], "low": row["low"], "high": row["high"], "level": 0.95, "n": row["n"],
            "n_patients": row["n"], "unit": "1",
        }  # fmt: skip
    return groups
