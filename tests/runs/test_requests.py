"""Requests: what fits a field is taken, what does not is refused, and a request says the same as a command line."""

import inspect
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from regard.bench.request import BenchRequest
from regard.cli.verbs import verb
from regard.core.errors import InputError
from regard.demo.request import DemoRequest
from regard.runs.requests.attack import AttackRequest
from regard.runs.requests.check import CheckRequest
from regard.runs.requests.cohort import CohortRequest
from regard.runs.requests.doctor import DoctorRequest
from regard.runs.requests.explain import ExplainRequest
from regard.runs.requests.fields import Option, Request, options_of, summary_of
from regard.runs.requests.invariances import InvariancesRequest
from regard.runs.requests.retrain import RetrainRequest
from regard.runs.requests.weigh import WeighRequest
from regard.studies.request import StudyRequest

REQUESTS = [
    ExplainRequest, WeighRequest, CohortRequest, InvariancesRequest, AttackRequest, RetrainRequest, DoctorRequest,
    CheckRequest, BenchRequest, StudyRequest, DemoRequest,
]  # fmt: skip

ASKED: list[Request] = []


class Echo:
    """Takes the place of a verb's function: keeps the request."""

    exit_code = 0

    def to_dict(self) -> dict[str, Any]:
        return {}

    def __str__(self) -> str:
        return ""


def keep(request: Request) -> Echo:
    ASKED.append(request)
    return Echo()


def example(option: Option) -> Any:
    """A value of an option that is not its default."""
    one = {str: "some text", int: 17, float: 2.5, Path: Path("folder/some file.nii.gz"), bool: True}[option.kind]
    return (one, one) if option.many and option.kind is not bool else one


@pytest.mark.parametrize("kind", REQUESTS)
def test_every_field_but_two_is_an_option_with_words(kind: type[Request]) -> None:
    options = {o.name: o for o in options_of(kind)}
    assert {f.name for f in fields(kind)} - set(options) == {"quiet", "argv"}
    for option in options.values():
        assert option.about, option.name
        assert option.kind in (str, int, float, bool, Path)
    assert "Parameters" not in summary_of(kind)
    assert "Example: regard" in summary_of(kind)


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("everything", [False, True], ids=["least", "everything"])
def test_a_request_comes_back_from_its_own_command_line(
    kind: type[Request], everything: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ASKED", [])
    monkeypatch.setattr(sys, "argv", ["regard"])
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    values = {o.name: example(o) for o in options_of(kind) if everything or o.name in needed}
    request = kind(**values)
    app = typer.Typer()
    app.command()(verb("asked", kind, f"{__name__}:keep"))
    words = request.words("asked")[1:]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (words, done.output)
    assert [request] == ASKED


def test_a_command_line_that_was_given_is_kept() -> None:
    request = WeighRequest(folder="run", argv=("weigh", "run/"))
    assert request.words("weigh") == ["weigh", "run/"]


def test_text_becomes_a_path_and_one_value_a_tuple() -> None:
    request = ExplainRequest(model=Path("m"), paths="scan.nii.gz", methods="gradient", output="run", batch_size=4)
    assert request.paths == (Path("scan.nii.gz"),)
    assert request.methods == ("gradient",)
    assert request.output == Path("run")
    assert (request.model, request.batch_size) == ("m", "4")
    assert ExplainRequest(model="m", paths=["a", Path("b")], methods=["x", "y"], output="run").paths == (
        Path("a"), Path("b"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "flag"),
    [("seed", "7", "--seed"), ("seed", True, "--seed"), ("trust", 1, "--trust"), ("output", 3, "--output"),
     ("threads", 1.5, "--threads"), ("reference_tolerance", "0.1", "--reference-tolerance"),
     ("methods", [["gradient"]], "--method"), ("mask", 3, "--mask")],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_field_and_by_flag(name: str, value: Any, flag: str) -> None:
    given = {"model": "m", "paths": "a.nii", "methods": "gradient", "output": "run", name: value}
    with pytest.raises(InputError, match=f"{name}=.*as {flag} takes it"):
        ExplainRequest(**given)


def test_what_must_be_given_comes_first_and_arguments_in_their_order() -> None:
    options = options_of(InvariancesRequest)
    needed = [o.name for o in options if o.default is ...]
    assert [o.name for o in options[: len(needed)]] == needed
    assert [o.name for o in options if o.flag.argument] == ["model", "paths"]


def test_a_verb_tells_the_parser_what_the_request_says() -> None:
    made = verb("weigh", WeighRequest, "regard.runs.weighing:weigh")
    parameters = inspect.signature(made).parameters
    assert parameters["folder"].default is inspect.Parameter.empty
    assert parameters["n_null"].default == 99
    assert made.__doc__ == summary_of(WeighRequest)
