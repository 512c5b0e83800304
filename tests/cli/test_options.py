"""What each verb takes is a promise: names, types, defaults and words stay as they are written down here."""

import json

import pytest
from options_table import KEPT, options

PROMISED = json.loads(KEPT.read_text())


def test_the_verbs_are_those_that_are_promised() -> None:
    assert set(options()) == set(PROMISED)


@pytest.mark.parametrize("verb", PROMISED)
def test_a_verb_takes_what_is_promised(verb: str) -> None:
    assert options()[verb] == PROMISED[verb]
