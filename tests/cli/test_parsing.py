"""Verbs, options and listings: what is printed where, and the exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Regard

VERBS = ("demo", "explain", "view", "models", "methods", "measures", "doctor")


def test_regard_alone_prints_the_help(regard: Regard) -> None:
    said = regard()
    assert said.code == 0
    assert said.err == ""
    assert said.out == regard("--help").out
    for verb in VERBS:
        assert f"\n  {verb} " in said.out
    assert "Example: regard demo" in said.out
    assert "..." not in said.out.split("Commands:")[1]


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_has_an_example_and_its_options(regard: Regard, verb: str) -> None:
    said = regard(verb, "--help")
    assert said.code == 0
    assert f"Example: regard {verb}" in said.out
    for option in ("-v, --verbose", "-q, --quiet", "--json", "--help"):
        assert option in said.out


def test_help_of_explain_has_every_option_of_the_contract(regard: Regard) -> None:
    text = regard("explain", "-h").out
    wanted = (
        "-o -m -t --reference --reference-cases --reference-tolerance --layer --reshape --mask --dicom --input "
        "--weights --trust --seed --device --threads --batch-size --overwrite --private --slice --no-limits"
    )
    for option in wanted.split():
        assert option in text
    assert "<" not in text.split("Options:")[1]  # each value is called by a word of ours


def test_version(regard: Regard) -> None:
    import regard as package

    said = regard("--version")
    assert (said.code, said.out, said.err) == (0, f"regard {package.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nosuch"], "nosuch"),
        (["--nosuch"], "--nosuch"),
        (["explain"], "MODEL"),
        (["explain", "m", "c", "-m", "grad-cam"], "--output"),
        (["explain", "m", "c", "-o", "x"], "--method"),
        (["explain", "m", "-m", "grad-cam", "-o", "x"], "CASE"),
        (["explain", "m", "c", "-m", "grad-cam", "-o", "x", "--seed", "one"], "--seed"),
        (["explain", "m", "c", "-m", "grad-cam", "-o", "x", "--threads", "0"], "--threads"),
        (["explain", "m", "c", "-m", "grad-cam", "-o", "x", "--nosuch"], "--nosuch"),
        (["explain", "m", "c", "-m"], "-m"),
        (["view"], "DIR"),
        (["view", "nothere"], "nothere"),
        (["view", ".", "--port", "70000"], "--port"),
        (["methods", "nosuch"], "nosuch"),
        (["demo", "--size", "huge"], "huge"),
    ],
)
def test_mistakes_are_one_line(
    regard: Regard, arguments: list[str], word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert regard(*arguments).refused(word, "expected")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["models", "methods", "measures", "doctor"])
def test_listings(regard: Regard, verb: str) -> None:
    table, rows = regard(verb, "-q"), regard(verb, "--json", "-v")
    assert table.code == rows.code == 0
    assert table.err == rows.err == ""
    for row in rows.json:
        first = next(iter(row.values()))
        assert any(line.startswith(first) for line in table.out.splitlines())
    assert len(table.out.splitlines()) == len(rows.json) + 1


def test_one_method(regard: Regard) -> None:
    said = regard("methods", "occlusion")
    facts = regard("methods", "occlusion", "--json").json
    assert said.code == 0
    assert "window" in said.out
    assert "window" in json.dumps(facts)
    assert regard("methods", "oclusion").refused("occlusion", "did you mean")


def test_an_unexpected_failure_is_one_line_and_a_traceback_only_with_verbose(
    regard: Regard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("no such\nthing")

    monkeypatch.setattr("regard.explainers.describe.describe", broken)
    assert regard("methods", "occlusion").refused("KeyError", "no such", code=1)
    said = regard("methods", "occlusion", "-v")
    assert said.code == 1
    assert "Traceback" in said.err


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_interrupted_is_130(regard: Regard, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None) -> None:
    class Abort(RuntimeError):
        """How parsers of older releases tell of Ctrl-C."""

    def stopped(*_: object) -> None:
        raise (error or Abort)()

    monkeypatch.setattr("regard.explainers.describe.describe", stopped)
    assert regard("methods", "occlusion").refused("interrupted", code=130)


def test_the_installed_command_returns_the_code() -> None:
    program = Path(sys.executable).parent / "regard"
    done = subprocess.run([program, "methods", "nosuch"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("regard: method 'nosuch'; expected one of")
    whole = subprocess.run(f"'{program}' methods | head -1", shell=True, capture_output=True, text=True)
    assert whole.stdout.startswith("method")
    assert whole.stderr == ""


@pytest.mark.parametrize("options", [[], ["-q"], ["--json"]])
def test_view_prints_its_address(
    regard: Regard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    def closed(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", closed)
    said = regard("view", tmp_path, "--no-browser", *options)
    assert said.code == 0
    address = said.json["address"] if "--json" in options else said.out.strip()
    assert address.startswith("http://127.0.0.1:")
    assert said.err == ""


@pytest.mark.parametrize(("options", "shown"), [((), False), (("--no-scans",), False), (("--scans",), True)])
def test_view_serves_scans_outside_the_folder_after_a_yes_only(
    regard: Regard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], shown: bool
) -> None:
    inside, outside = tmp_path / "run" / "scans" / "a.nii.gz", tmp_path / "elsewhere" / "b.nii.gz"
    for path in (inside, outside):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    rows = f"case\tinput\tpath\na\timage\t{inside}\nb\timage\t{outside}\n"
    (tmp_path / "run" / "inputs.tsv").write_text(rows)
    served: list[set[str]] = []

    def closed(server: object) -> None:
        served.append(set(server.site.scans))  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", closed)
    said = regard("view", tmp_path / "run", "--no-browser", *options)
    assert said.code == 0
    assert served == [{"a", "b"} if shown else {"a"}]
    assert ("--scans" in said.err) is (not options)


def test_what_steers_printing_may_stand_before_the_verb(regard: Regard) -> None:
    after, before = regard("methods", "occlusion", "--json"), regard("--json", "methods", "occlusion")
    assert (before.code, before.out) == (0, after.out)
    assert json.loads(regard("-v", "--json", "study", "list").out)
    assert regard("-q", "study", "show", "bmd").code == 0
    assert regard("-v", "methods", "occlusion").out == regard("methods", "occlusion").out
    refused = regard("-v", "methods", "no-such-method")
    assert refused.code == 2
    assert "Traceback" in refused.err, "as after the verb"


@pytest.mark.parametrize(
    ("words", "place", "offered"),
    [("regard exp", 1, {"explain"}), ("regard explain --ref", 2, {"--reference", "--reference-cases"})],
)
def test_the_shell_completes_verbs_and_options(words: str, place: int, offered: set[str]) -> None:
    code = "from regard.cli import main; main()"
    asked = {"_REGARD_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True)
    assert offered <= set(done.stdout.split())
