"""What other people wrote into names and files steers no terminal and no report, and one bad file costs one case."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import Regard, failures, state
from PIL import Image

from regard.cli import main
from regard.cohort.part import do_case
from regard.cohort.question import Question
from regard.core.errors import CardError, FileError
from regard.core.plain_text import LONGEST, without_controls
from regard.io import Case, decoder, read_table
from regard.io.limits import limited

CLEAR = "\x1b[2J\x1b]0;title\x07"
STEERING = [CLEAR, "\x9b31m", "a\rb", "\u202egnp.exe", "\x00", "\x7f", "a\x08b", "\u2028"]


@pytest.mark.parametrize("text", STEERING)
def test_a_control_character_is_written_out(text: str) -> None:
    shown = without_controls(text)
    assert shown.isprintable()
    assert without_controls(shown) == shown


@pytest.mark.parametrize("text", ["sub-01", "Jürgen", "年齢 61.5", "a\tb\nc", "é", "\\x1b"])
def test_other_text_is_left_as_it_is(text: str) -> None:
    assert without_controls(text) == text


def test_the_sentence_of_an_error_has_no_control_character_and_an_end() -> None:
    error = FileError(f"'{CLEAR}'", "b" * 10**6, f"\x1b{'c' * 10}")
    assert str(error).isprintable()
    assert len(str(error)) < 3 * LONGEST
    assert str(error).endswith("c" * 10)


@pytest.mark.parametrize("text", [f"{CLEAR}x.nii", "x\x1b[31m.nii"])
def test_a_file_name_with_escapes_does_not_reach_the_terminal(regard: Regard, model: Path, text: str) -> None:
    said = regard("explain", model, text, "-m", "gradient", "-o", model.parent / "run")
    assert said.refused("no file")
    assert "\x1b" not in said.err + said.out
    assert "\\x1b" in said.err


def test_neither_does_one_that_is_explained(
    regard: Regard, model: Path, picture: Callable[..., Path], tmp_path: Path
) -> None:
    name = "scan\x1b]0;owned\x07\u202e.png"
    try:
        picture("scan.png").rename(tmp_path / name)
    except OSError:
        pytest.skip(reason="the file system refuses such a name")
    out = tmp_path / "run"
    said = regard("explain", model, tmp_path / name, "-m", "gradient", "-o", out)
    assert said.code == 0, said
    texts = [said.out, said.err, *(p.read_text() for p in (out / "report.html", out / "run.log", out / "failures.tsv"))]
    assert all(c not in text for text in texts for c in "\x1b\x07\u202e")


def test_a_case_id_with_escapes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nii").write_bytes(b"x")
    (tmp_path / "t.tsv").write_text(f"case\timage\nok\tx.nii\n{CLEAR}\tx.nii\n")
    with pytest.raises(CardError, match="row 3 .*with control characters") as told:
        read_table(tmp_path / "t.tsv")
    assert "\x1b" not in str(told.value)


def test_a_printed_name_is_written_out_and_the_streams_come_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    def verb(*_: object, **__: object) -> int:
        sys.stdout.write(f"case {CLEAR}\n")
        sys.stderr.write(f"error {CLEAR}\n")
        return 0

    monkeypatch.setattr("regard.cli.app.app", verb)
    before = sys.stdout, sys.stderr
    assert main(["methods"]) == 0
    assert (sys.stdout, sys.stderr) == before
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert "\\x1b[2J" in said.out
    assert "\\x1b[2J" in said.err


@pytest.mark.parametrize("option", ["MODEL", "--reference", "-t"])
def test_a_name_that_no_file_can_have_is_one_line(
    regard: Regard, model: Path, picture: Callable[..., Path], option: str
) -> None:
    long = "x" * 300
    words = [long if option == "MODEL" else model, picture("a.png"), "-m", "gradient", "-o", model.parent / "run"]
    extra = {"MODEL": [], "--reference": ["--reference", long + ".nii"], "-t": ["-t", f"mean:{long}.nii"]}[option]
    assert regard("explain", *words, *extra).refused("expected")


def test_a_file_that_ends_its_decoder_is_one_failure_of_its_case(
    regard: Regard, model: Path, picture: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "bad.tif", compression="tiff_lzw")
    script = tmp_path / "aborting.py"
    script.write_text("import os, sys\nsys.stdin.readline()\nos.abort()\n")
    monkeypatch.setattr(decoder, "_SCRIPT", script)
    decoder._SHARED.stop()
    table = tmp_path / "t.tsv"
    table.write_text(f"case\timage\na\t{picture('a.png').name}\nb\tbad.tif\nc\t{picture('c.png').name}\n")
    out = tmp_path / "run"
    try:
        said = regard("explain", model, table, "-m", "gradient", "-o", out)
    finally:
        decoder._SHARED.stop()
    assert said.code == 3
    assert state(out) == "some_failed"
    assert [(r["case"], "decoder ended" in r["message"]) for r in failures(out)] == [("b", True)]
    assert len([*(out / "maps").glob("*_relevance.nii.gz")]) >= 2


def test_no_limits_reads_what_the_limits_refuse(
    regard: Regard, model: Path, picture: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regard.io.limits.LARGEST", 100)
    words = ["explain", model, picture("a.png"), "-m", "gradient", "-o"]
    assert regard(*words, tmp_path / "a").refused("--no-limits")
    assert regard(*words, tmp_path / "b", "--no-limits").code == 0
    assert limited()


@pytest.mark.parametrize("limits", [True, False])
def test_a_worker_of_a_cohort_keeps_to_the_limits_of_its_question(limits: bool) -> None:
    seen = []

    class Function:
        question = Question("m", limits=limits)

        def open(self) -> "Function":
            return self

        def part(self, _: Case) -> None:
            seen.append(limited())

    do_case(Function(), Case("a", {}))  # type: ignore[arg-type]
    assert seen == [limits]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.timeout(60)
def test_a_pipe_as_a_scan_is_refused(regard: Regard, model: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.nii")
    assert regard("explain", model, tmp_path / "x.nii", "-m", "gradient", "-o", tmp_path / "run").refused("a pipe")
