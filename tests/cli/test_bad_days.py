"""``regard explain`` on a bad day: one sentence, the right exit code, and nothing that was done is lost."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import MAPS, Regard, failures, state, written
from PIL import Image

# Images


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _noise(path: Path) -> None:
    path.write_bytes(b"this is no picture" * 10)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "readme.txt").write_text("no DICOM here")


@pytest.mark.parametrize("spoil", [_truncated, _noise, _empty, _folder])
def test_a_bad_image_alone_is_a_mistake(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, spoil: Callable
) -> None:
    scan, out = picture(), tmp_path / "run"
    spoil(scan)
    assert regard("explain", model, scan, "-m", "gradient", "-o", out).refused("scan.png")
    assert state(out) == "failed"
    assert [r["stage"] for r in failures(out)] == ["explain"]
    assert not list(out.glob("maps/*"))
    assert not (out / ".regard.lock").exists()


def test_nan_a_wrong_unit_and_a_wrong_shape(
    regard: Regard, model: Path, nifti: Callable, picture: Callable, tmp_path: Path
) -> None:
    values = np.random.default_rng(0).normal(size=(16, 16, 1))
    values[3, 4] = np.nan
    base = ("explain", model, "-m", "gradient", "-o", tmp_path / "run")
    flat = np.diag([-1.0, -1.0, 1.0, 1.0])
    assert regard(*base, nifti("nan.nii.gz", values=values, affine=flat)).refused("NaN")
    assert regard(*base, nifti("deep.nii.gz")).refused("slice")
    assert regard(*base, tmp_path / "nothere.png").refused("nothere.png")


def test_one_bad_case_among_several(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    good, bad, last = picture("good.png", seed=1), picture("bad.png", seed=2), picture("last.png", seed=3)
    whole = bad.read_bytes()
    _truncated(bad)
    out = tmp_path / "run"
    base = ("explain", model, good, bad, last, "-m", "gradient", "-m", "grad-ram", "-o", out)
    said = regard(*base, "--json")
    assert said.code == 3
    assert said.json["failed"] == ["bad"]
    assert {r["case"] for r in said.json["maps"]} == {"good", "last"}
    assert said.err.startswith("regard: bad: ")
    assert said.err.count("\n") == 1
    (row,) = failures(out)
    assert list(row) == ["case", "stage", "error_type", "message"]
    assert (row["case"], row["stage"], row["error_type"]) == ("bad", "explain", "FileError")
    assert "bad.png" in row["message"]
    assert state(out) == "some_failed"
    assert (out / "report.html").exists()
    before = written(out)
    assert len(before) == 12

    bad.write_bytes(whole)
    assert regard(*base).code == 0
    assert state(out) == "done"
    assert failures(out) == []
    after = written(out)
    assert len(after) == 18
    assert {k: after[k] for k in before} == before


def test_the_same_mistake_in_every_case_is_one_mistake(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    base = ("explain", model, picture("a.png"), picture("b.png"), "-m", "grad-cam", "-q", "-o", tmp_path / "run")
    assert regard(*base, "--layer", "nosuch").refused("nosuch")
    assert len(failures(tmp_path / "run")) == 2
    # The corrected command is not a run of another configuration: nothing was made.
    assert regard(*base, "--layer", "features.block0").code == 0
    assert failures(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "case"),
        ("case\timage\n", "row"),
        ("name\timage\na\tscan.png\n", "case"),
        ("case\tfile\na\tscan.png\n", "image"),
        ("case\timage\na\tscan.png\na\tscan.png\n", "'a'"),
        ("case\timage\na\tnothere.png\n", "nothere.png"),
        ("case\timage\n\tscan.png\n", "case id"),
        ("case\timage\na\t\n", "row 2"),
        ("case\timage\na\tscan.png\tmore\n", "row 2"),
        ("case\timage\n\udcff\tscan.png\n", "UTF-8"),
    ],
)
def test_bad_tables(regard: Regard, model: Path, picture: Callable, tmp_path: Path, text: str, word: str) -> None:
    picture()
    table = tmp_path / "cases.tsv"
    table.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert regard("explain", model, table, "-m", "gradient", "-o", tmp_path / "run").refused(word)
    assert not (tmp_path / "run").exists()


def test_bad_models(regard: Regard, write_model: Callable, picture: Callable, tmp_path: Path) -> None:
    base = ("-m", "gradient", "-o", tmp_path / "run")
    scan = picture()
    assert regard("explain", "nosuch", scan, *base).refused("nosuch")
    assert regard("explain", tmp_path, scan, *base).refused("card.yaml")
    wrong = write_model("wrong", colour="red")
    assert regard("explain", wrong, scan, *base).refused("colour")
    _truncated(write_model("short") / "weights.safetensors")
    assert regard("explain", tmp_path / "short", scan, *base).refused("weights.safetensors")
    (write_model("lost") / "weights.safetensors").unlink()
    assert regard("explain", tmp_path / "lost", scan, *base).refused("weights.safetensors")
    assert not (tmp_path / "run").exists()


# Folders


def test_another_configuration_is_refused_by_its_key(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    scan, out = picture(), tmp_path / "run"
    base = ("explain", model, scan, "-m", "gradient", "-o", out)
    assert regard(*base).code == 0
    before = written(out)
    for options, key in (
        (("--seed", 1), "seed is 1 and was 0"),
        (("-m", "grad-ram"), "methods"),
        (("--layer", "features.block0"), "layer"),
        (("-t", "output:0"), "target"),
        (("--batch-size", 3), "batch_size"),
        (("--reference", scan), "reference"),
    ):
        assert regard(*base, *options).refused(key, "--overwrite")
    other = picture("elsewhere/scan.png", seed=9)  # another file of the same case id
    assert regard("explain", model, other, "-m", "gradient", "-o", out).refused(
        "elsewhere/scan.png", "case 'scan'", "has changed"
    )
    assert written(out) == before
    assert regard(*base).code == 0
    assert written(out) == before


def test_weights_that_changed_are_another_configuration(
    regard: Regard, model: Path, write_model: Callable, picture: Callable, tmp_path: Path
) -> None:
    base = ("explain", model, picture(), "-m", "gradient", "-o", tmp_path / "run")
    assert regard(*base).code == 0
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "weights.safetensors")
    save_file({k: v + 1 if v.is_floating_point() else v for k, v in weights.items()}, model / "weights.safetensors")
    assert regard(*base).refused("the weights have changed")


def test_the_same_run_from_another_folder_resumes(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture()
    monkeypatch.chdir(tmp_path)
    assert regard("explain", "model", "scan.png", "-m", "gradient", "-o", "run").code == 0
    before = written(tmp_path / "run")
    monkeypatch.chdir(model)
    assert regard("explain", ".", "../scan.png", "-m", "gradient", "-o", "../run").code == 0
    assert written(tmp_path / "run") == before


def test_overwrite_removes_what_regard_made_and_nothing_else(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    base = ("explain", model, picture(), "-o", tmp_path / "run", "-m")
    assert regard(*base, "gradient").code == 0
    assert regard(*base, "grad-ram", "--overwrite").code == 0
    assert {p.name.split("_desc-")[1].split("_")[0] for p in (tmp_path / "run").glob(MAPS)} == {"gradram"}
    mine = tmp_path / "run" / "maps" / "notes.txt"
    mine.write_text("mine")
    before = written(tmp_path / "run")
    assert regard(*base, "gradient", "--overwrite").code == 0
    assert mine.read_text() == "mine"
    assert not set(before) & set(written(tmp_path / "run"))


def test_a_folder_of_somebody_else(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter.tex").write_text("mine")
    base = ("explain", model, picture(), "-m", "gradient", "-o")
    assert regard(*base, out).refused("chapter.tex")
    assert regard(*base, out, "--overwrite").refused("chapter.tex")
    assert [p.name for p in out.iterdir()] == ["chapter.tex"]
    assert regard(*base, out / "chapter.tex").refused("is a file")
    assert regard(*base, out / "chapter.tex" / "below").refused("cannot make the folder")


def test_a_folder_that_cannot_be_written_to(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    place = tmp_path / "closed"
    place.mkdir()
    place.chmod(0o500)
    try:
        if os.access(place, os.W_OK):  # the superuser may write anywhere but to the system's own tables
            place = Path("/proc/self")
        assert regard("explain", model, picture(), "-m", "gradient", "-o", place / "run").refused(
            "cannot make the folder"
        )
    finally:
        (tmp_path / "closed").chmod(0o700)


# A full disk


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Refuse to bring files of an ending to their place, as a full disk does; an empty ending makes room."""
    real, full = os.replace, [""]

    def replace(source: str, target: str) -> None:
        if full[0] and str(target).endswith(full[0]):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    return lambda ending: full.__setitem__(0, ending)


@pytest.mark.parametrize(
    "ending",
    ["b_desc-gradram_relevance.nii.gz", "b_desc-gradram_relevance.json", "b_desc-gradram_relevance.png", "report.html"],
)
def test_a_full_disk_loses_nothing(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, full_disk: Callable[[str], None], ending: str
) -> None:
    cases, out = [picture(f"{n}.png", seed=ord(n)) for n in "abc"], tmp_path / "run"
    base = ("explain", model, *cases, "-m", "gradient", "-m", "grad-ram", "-o", out)
    full_disk(ending)
    assert regard(*base).refused("no room left", "run again")
    assert state(out) == "failed"
    assert not list(out.rglob("*.tmp"))
    assert not list(out.rglob("*.part"))
    before = written(out)
    done = {k for k in before if k.endswith(".json")}
    assert "a_desc-gradram_relevance.json" in done
    full_disk("")
    assert regard(*base).code == 0
    after = written(out)
    assert len(after) == 18
    assert all(after[k] == before[k] for k in done)
    assert state(out) == "done"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB, where this user may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except FileNotFoundError:
        pytest.skip(reason="no program to mount a file system")
    if done.returncode:
        pytest.skip(reason="only the superuser may mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_is_really_full(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, small_disk: Path
) -> None:
    cases = [picture(f"{n}.png", seed=n) for n in range(9)]
    said = regard("explain", model, *cases, "-m", "gradient", "-m", "grad-ram", "-o", small_disk / "run")
    assert said.refused("no room left")
    for path in (small_disk / "run").glob(MAPS):
        assert path.stat().st_size > 0
    assert not list((small_disk / "run").rglob("*.tmp"))


# Failures of ours


def test_an_unexpected_failure(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import regard.runs.explaining as verb

    real = verb.explain_case

    def explain_case(*arguments: object, **options: object) -> object:
        if options["case"] == "a":
            raise KeyError("the patient's name")
        return real(*arguments, **options)

    monkeypatch.setattr(verb, "explain_case", explain_case)
    one, two = picture("a.png"), picture("b.png")
    base = ("-m", "gradient", "-o")
    assert regard("explain", model, one, *base, tmp_path / "one").refused("KeyError", code=1)
    said = regard("explain", model, one, *base, tmp_path / "one", "-v")
    assert said.code == 1
    assert "Traceback" in said.err
    both = regard("explain", model, one, two, *base, tmp_path / "both", "-q")
    assert both.code == 3
    assert "Traceback" not in both.err
    (row,) = failures(tmp_path / "both")
    assert row["error_type"] == "KeyError"
    assert "patient" not in row["message"]
    assert "patient" not in (tmp_path / "both" / "run.log").read_text()


def test_quiet_says_nothing_of_what_went_well(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    bad = picture("bad.png")
    _truncated(bad)
    said = regard("explain", model, picture("a.png"), bad, "-m", "gradient", "-o", tmp_path / "run", "-q")
    assert said.code == 3
    assert said.err == ""
    assert "failed: 1" in said.out
    assert Image.open(tmp_path / "run/maps/a_desc-gradient_relevance.png").format == "PNG"
