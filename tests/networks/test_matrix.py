"""Every method on networks as users have them: right, refused in one sentence, or a warning of the condition."""

import logging
from typing import Any

import pytest
import torch

from regard.core.errors import CapabilityError, InputError, RegardError
from regard.core.explainer import Attribution, Query
from regard.explainers import METHODS
from regard.explainers.gradient.gradient import Gradient

from .judge import Cell, judge
from .refused import REFUSED
from .table import BY_NAME, ENTRIES

QUICK = [entry.name for entry in ENTRIES if entry.quick]
SLOW = [entry.name for entry in ENTRIES if not entry.quick]


def test_the_table_holds_what_it_says() -> None:
    assert len(ENTRIES) >= 40
    assert len(BY_NAME) == len(ENTRIES), "two rows of one name"
    assert sum(entry.source != "here" for entry in ENTRIES) >= 15
    assert len(QUICK) >= 12


def look_at(name: str) -> None:
    network = BY_NAME[name].make()
    cells = [judge(BY_NAME[name], method, network) for method in METHODS]
    wrong = [f"{c.method}: {c.sentence}" for c in cells if c.outcome == "failed"]
    assert not wrong, "\n".join(wrong)
    known = REFUSED.get(name, ())
    lost = [f"{c.method}: {c.sentence}" for c in cells if c.outcome == "refused" and c.method not in known]
    assert not lost, "refused, and was not before:\n" + "\n".join(lost)


@pytest.mark.parametrize("name", QUICK)
def test_every_method_on(name: str) -> None:
    look_at(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_every_method_also_on(name: str) -> None:
    look_at(name)


class Altered(Gradient):
    """A gradient that goes wrong in one of many ways."""

    way = ""

    def _attribute(self, query: Query) -> Attribution:
        if self.way == "bare":
            raise RuntimeError("shapes do not match")
        if self.way == "unhelpful":
            raise RegardError("this does not work")
        if self.way == "refused":
            raise CapabilityError("a network of five legs", "one of four", "take a horse")
        found = super()._attribute(query)
        (m,) = found.relevance
        if self.way == "first weight":
            next(query.network.parameters()).data.mul_(1.01)
        if self.way == "mode":
            query.network.gap = 1
        if self.way == "warned":
            logging.getLogger("regard").warning("the weather is bad")
        changes = {
            "sign": -m, "double": 2 * m, "shifted": m.roll(1, -1), "zero": 0 * m, "nan": m * torch.nan,
            "one nan": m.index_fill(-1, torch.tensor([0]), torch.nan), "cases": m / len(m),
            "drawn": m + 0.01 * m.abs().max() * torch.randn_like(m), "warned": -m,
        }  # fmt: skip
        return Attribution((changes.get(self.way, m),), found.value + (self.way == "value"))


def altered(monkeypatch: pytest.MonkeyPatch, way: str, entry: str = "Regressor", **rows: Any) -> Cell:
    method = type("Method", (Altered,), {"way": way})
    load = METHODS.load
    monkeypatch.setattr(METHODS, "load", lambda name: method if name == "gradient" else load(name))
    return judge(BY_NAME[entry], "gradient")


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("sign", "derivation"), ("double", "derivation"), ("shifted", "derivation"), ("zero", "0 at all places"),
        ("nan", "nobody says why"), ("one nan", "not finite"), ("cases", "beside another case"),
        ("drawn", "again"), ("warned", "derivation"), ("value", "f(x) is"), ("bare", "bare RuntimeError"),
        ("unhelpful", "bare RegardError"), ("first weight", "network was changed"), ("mode", "network was changed"),
    ],
)  # fmt: skip
def test_a_method_that_goes_wrong_fails_its_cell(monkeypatch: pytest.MonkeyPatch, way: str, said: str) -> None:
    cell = altered(monkeypatch, way)
    assert cell.outcome == "failed"
    assert said in cell.sentence


def test_the_unaltered_one_is_right_and_a_refusal_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert altered(monkeypatch, "").outcome == "right"
    refused = altered(monkeypatch, "refused")
    assert refused.outcome == "refused"
    assert "five legs" in refused.open_reason
    assert altered(monkeypatch, "refused", "squeezed").open_reason == ""


def test_a_warning_that_does_not_name_the_condition_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert altered(monkeypatch, "warned", "image and table").outcome == "failed"


def test_an_error_of_the_user_has_three_parts() -> None:
    assert "expected" in str(InputError("a", "b", "c"))
