"""A preflight in the record of a run, so that a run that goes on does not probe again."""

import hashlib
from collections.abc import Mapping
from typing import Any

from regard.core.errors import RegardError
from regard.models.model import Model
from regard.probing.probe import Preflight

__all__ = ["read_record", "write_record"]


def _card_sha256(model: Model) -> str:
    return hashlib.sha256(model.card.model_dump_json().encode()).hexdigest()


def write_record(said: Preflight, model: Model, case: str) -> dict[str, Any]:
    """What ``run.yaml`` keeps of a preflight: of which network, target and case it is, and its lines."""
    return {
        "case": case,
        "target": said.target,
        "weights_sha256": model.weights_sha256,
        "card_sha256": _card_sha256(model),
        "probes": said.lines(),
    }


def read_record(record: Any, model: Model | None = None) -> Preflight | None:
    """The preflight that a run recorded; None where there is none, or it is that of other weights or another card.

    Parameters
    ----------
    record
        What `write_record` gave, as it was read.
    model
        The model that is used now; None takes any.
    """
    if not isinstance(record, Mapping):
        return None
    if model is not None:
        weights = model.weights_sha256
        if (
            weights is None
            or record.get("weights_sha256") != weights
            or record.get("card_sha256") != _card_sha256(model)
        ):
            return None
    try:
        return Preflight.of_lines(record["probes"], str(record.get("target", "")))
    except (KeyError, TypeError, AttributeError, RegardError):
        return None
