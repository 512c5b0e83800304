"""Progress where there is no terminal: a line now and then, with how long the rest takes."""

import pytest

from regard.runs import progress
from regard.runs.progress import Shown, shown, span


class Clock:
    """A clock that is set."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_nothing_is_said_of_short_work(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    with shown() as told:
        for n in range(5):
            clock.now += 1
            told.stage(f"explaining c{n}", n, 5)
            told.step("occlusion", 10, 10)
    assert capsys.readouterr().err == ""


def test_a_line_says_how_far_and_how_long(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    told = Shown(None)
    told.stage("explaining a", 0, 4)
    clock.now += 31
    told.step("occlusion", 1, 2)
    assert capsys.readouterr().err == "explaining a: 0 of 4 done, 31 s gone\n", "nothing is known of a first case"
    clock.now += 9
    told.stage("explaining b", 1, 4)
    assert capsys.readouterr().err == "", "not yet"
    clock.now += 60
    told.stage("explaining c", 2, 4)
    assert capsys.readouterr().err == "explaining c: 2 of 4 done, 2 min gone, about 2 min to go\n"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str], clock: Clock) -> None:
    told = Shown(None, quiet=True)
    clock.now += 100
    told.stage("explaining a", 1, 4)
    told.say("a sentence")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (180, "3 min"), (4800, "80 min"), (5460, "1 h 31 min")])
def test_a_length_of_time_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words
