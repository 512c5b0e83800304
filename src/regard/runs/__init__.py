"""What the verbs do, as functions of one typed request each: run folder, resume, progress, failures, report.

.. code-block:: python

    from regard import runs

    request = runs.ExplainRequest(model="brain-age", paths="sub-01_T1w.nii.gz", methods="grad-ram", output="run/")
    print(runs.explain(request))

Each name is loaded when it is first used.
"""

import importlib
from typing import Any

_HOMES = {
    "AttackRequest": "regard.runs.requests.attack",
    "AttackRunResult": "regard.runs.attacking",
    "CohortRequest": "regard.runs.requests.cohort",
    "CohortResult": "regard.runs.of_cohort",
    "DoctorRequest": "regard.runs.requests.doctor",
    "DoctorResult": "regard.runs.doctor",
    "ExplainRequest": "regard.runs.requests.explain",
    "ExplainResult": "regard.runs.explaining",
    "InvariancesRequest": "regard.runs.requests.invariances",
    "InvariancesResult": "regard.runs.searching",
    "RetrainRequest": "regard.runs.requests.retrain",
    "RetrainResult": "regard.runs.retraining",
    "RunResult": "regard.runs.result",
    "WeighRequest": "regard.runs.requests.weigh",
    "WeighResult": "regard.runs.weighing",
    "attack": "regard.runs.attacking",
    "cohort": "regard.runs.of_cohort",
    "explain": "regard.runs.explaining",
    "invariances": "regard.runs.searching",
    "retrain": "regard.runs.retraining",
    "weigh": "regard.runs.weighing",
}

__all__ = sorted(_HOMES, key=str.lower)


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'regard.runs' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
