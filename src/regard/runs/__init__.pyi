"""Public names of `regard.runs`, for type checkers; at run time each is loaded when it is first used."""

from regard.runs.attacking import AttackRunResult as AttackRunResult
from regard.runs.attacking import attack as attack
from regard.runs.doctor import DoctorResult as DoctorResult
from regard.runs.explaining import ExplainResult as ExplainResult
from regard.runs.explaining import explain as explain
from regard.runs.of_cohort import CohortResult as CohortResult
from regard.runs.of_cohort import cohort as cohort
from regard.runs.requests.attack import AttackRequest as AttackRequest
from regard.runs.requests.cohort import CohortRequest as CohortRequest
from regard.runs.requests.doctor import DoctorRequest as DoctorRequest
from regard.runs.requests.explain import ExplainRequest as ExplainRequest
from regard.runs.requests.invariances import InvariancesRequest as InvariancesRequest
from regard.runs.requests.retrain import RetrainRequest as RetrainRequest
from regard.runs.requests.weigh import WeighRequest as WeighRequest
from regard.runs.result import RunResult as RunResult
from regard.runs.retraining import RetrainResult as RetrainResult
from regard.runs.retraining import retrain as retrain
from regard.runs.searching import InvariancesResult as InvariancesResult
from regard.runs.searching import invariances as invariances
from regard.runs.weighing import WeighResult as WeighResult
from regard.runs.weighing import weigh as weigh
