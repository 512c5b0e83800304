import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from file_samples import explanation_of

from regard.core.errors import CardError, FileError, FolderError, InputError
from regard.core.volume import Volume
from regard.io import lock
from regard.io.atomic import append_tsv, write_bytes, write_tsv
from regard.io.manifest import MANIFEST, Manifest
from regard.io.maps import read_map, save_map
from regard.io.own_files import adopt, clear, foreign_files
from regard.io.records import read_failures, read_inputs, read_run, run_state
from regard.io.run_folder import RunFolder
from regard.io.tables import Case

CONFIG: dict[str, Any] = {
    "model": "models/age", "case_ids": ["a", "b"], "methods": ["grad-ram"], "target": None, "reference": None,
    "seed": 0, "device": "cpu", "threads": 2, "batch_size": "auto",
}  # fmt: skip


def start(path: Path, **changes: Any) -> RunFolder:
    options = {k: changes.pop(k) for k in ("overwrite", "cases", "record", "versions") if k in changes}
    return RunFolder(path, "explain", {**CONFIG, **changes}, argv=["regard", "explain"], **options)


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    return tmp_path / "run"


def put_map(run: RunFolder, case: str, label: str) -> None:
    scan = Volume(torch.zeros(1, 2, 2, 2), torch.eye(4).double().numpy())
    save_map(explanation_of(scan, case=case), run.map_path(case, label))


def test_a_run_from_start_to_done(run_path: Path, tmp_path: Path) -> None:
    image = tmp_path / "a.nii.gz"
    with start(run_path, cases=[Case("a", {"image": image})], versions={"regard": "0.1.0"}) as run:
        assert run_state(run_path) == "running"
        assert not run.resumed
        assert not run.is_done("a", "grad-ram")
        put_map(run, "a", "grad-ram")
        assert run.is_done("a", "grad-ram")
        assert not run.is_done("a", "occlusion")
        assert not run.is_done("b", "grad-ram")
        run.note(hashes={"weights_sha256": "abc"})
    said = yaml.safe_load((run_path / "run.yaml").read_text())
    wanted = [
        "schema",
        "verb",
        "argv",
        "model",
        "case_ids",
        "methods",
        "target",
        "reference",
        "seed",
        "device",
        "threads",
        "batch_size",
        "versions",
        "hashes",
        "state",
    ]
    assert list(said)[: len(wanted)] == wanted
    assert (said["schema"], said["verb"], said["state"]) == ("regard.run/1", "explain", "done")
    assert said["hashes"]["weights_sha256"] == "abc"
    assert (run_path / "failures.tsv").read_text() == "case\tstage\terror_type\tmessage\n"
    assert (run_path / "inputs.tsv").read_text() == f"case\tinput\tpath\na\timage\t{image}\n"
    assert dict(read_inputs(run_path)[0].inputs) == {"image": image}
    assert (run_path / "figures").is_dir()
    assert not (run_path / lock.LOCK).exists()


def test_a_half_written_map_is_not_done(run_path: Path) -> None:
    with start(run_path) as run:
        put_map(run, "a", "grad-ram")
        sidecar = run.maps / "a_desc-gradram_relevance.json"
        whole = sidecar.read_text()
        sidecar.write_text(whole[:40])
        assert not run.is_done("a", "grad-ram")
        sidecar.write_text(json.dumps({**json.loads(whole), "case": "other"}))
        assert not run.is_done("a", "grad-ram")
        sidecar.write_text(whole)
        run.map_path("a", "grad-ram").unlink()
        assert not run.is_done("a", "grad-ram")


def test_the_same_configuration_resumes_and_another_says_what_differs(
    run_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with start(run_path, versions={"torch": "1"}) as run:
        put_map(run, "a", "grad-ram")
    with start(run_path, versions={"torch": "2"}) as run:
        assert run.resumed
        assert run.is_done("a", "grad-ram")
    assert "other package versions" in caplog.text
    with pytest.raises(
        FolderError, match=r"another configuration: seed is 1 and was 0; target is .output:1. and was not given"
    ):
        start(run_path, seed=1, target="output:1")
    with pytest.raises(FolderError, match="verb is .bench. and was .explain."):
        RunFolder(run_path, "bench", CONFIG)
    assert not (run_path / lock.LOCK).exists()
    assert run_state(run_path) == "done"


def test_a_folder_with_foreign_files_is_left_alone(run_path: Path) -> None:
    run_path.mkdir()
    (run_path / "thesis.docx").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(FolderError, match=r"holds 'thesis\.docx' and the like, and no run\.yaml"):
            start(run_path, overwrite=overwrite)
    assert [p.name for p in run_path.iterdir()] == ["thesis.docx"]
    with pytest.raises(FolderError, match="is a file"):
        start(run_path / "thesis.docx")


def test_overwrite_removes_only_what_regard_made(run_path: Path) -> None:
    with start(run_path) as run:
        put_map(run, "a", "grad-ram")
        run.add_failure("b", "read", FileError("x"))
        write_bytes(run.figures / "a.png", b"")
    mine = [run_path / "maps" / "mine.txt", run_path / "figures" / "mine.png", run_path / "scans" / "mine.nii.gz"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    (run_path / "report.html").symlink_to(mine[0])
    with pytest.raises(FolderError, match=r"report\.html', which is a link to"):
        start(run_path, seed=1, overwrite=True)
    assert (run_path / "maps" / "a_desc-gradram_relevance.nii.gz").exists()
    (run_path / "report.html").unlink()
    with start(run_path, seed=1, overwrite=True) as run:
        assert not run.resumed
        assert not run.is_done("a", "grad-ram")
        assert run.failures == []
        assert [p.name for p in run.figures.iterdir()] == ["mine.png"]
        with pytest.raises(FolderError, match=r"mine\.png', which this run did not write"):
            write_bytes(run.figures / "mine.png", b"ours")
    assert [p.read_text() for p in mine] == ["mine"] * 3
    assert read_run(run_path)["seed"] == 1


def test_a_folder_that_is_a_link_is_not_written_through(run_path: Path, tmp_path: Path) -> None:
    with start(run_path) as run:
        run.note(hashes={"a": "b"})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (run_path / "maps").rmdir()
    (run_path / "maps").symlink_to(elsewhere)
    for overwrite in (False, True):
        with pytest.raises(FolderError, match=r"maps', which is a link to"):
            start(run_path, overwrite=overwrite)
    (run_path / "maps").unlink()
    with start(run_path) as run:
        (run.figures / "deeper").symlink_to(elsewhere)
        with pytest.raises(FolderError, match=r"deeper', which is a link to"):
            write_bytes(run.figures / "deeper" / "a.png", b"x")
    assert list(elsewhere.iterdir()) == []


def test_a_map_that_was_damaged_is_made_again(run_path: Path) -> None:
    with start(run_path) as run:
        put_map(run, "a", "grad-ram")
        put_map(run, "b", "grad-ram")
    path = run.map_path("a", "grad-ram")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    run.map_path("b", "grad-ram").write_bytes(path.read_bytes()[:40])
    with start(run_path) as run:
        assert not run.is_done("a", "grad-ram")
        assert not run.is_done("b", "grad-ram")
        put_map(run, "a", "grad-ram")
        assert run.is_done("a", "grad-ram")
    with pytest.raises(FileError, match="not as it was saved"):
        read_map(run.map_path("b", "grad-ram"))


def test_a_folder_of_an_older_release_is_overwritten_by_its_names(run_path: Path) -> None:
    with start(run_path) as run:
        put_map(run, "a", "grad-ram")
    (run_path / MANIFEST).unlink()
    (run_path / "maps" / "notes.txt").write_text("mine")
    with start(run_path, seed=1, overwrite=True) as run:
        assert [p.name for p in run.maps.iterdir()] == ["notes.txt"]


def test_two_runs_into_one_folder(run_path: Path) -> None:
    with start(run_path):
        for overwrite in (False, True):
            with pytest.raises(FolderError, match=f"in use by process {os.getpid()} on "):
                start(run_path, overwrite=overwrite)
        assert run_state(run_path) == "running"
    start(run_path).close()


def test_the_lock_of_a_dead_process_is_taken_over(run_path: Path) -> None:
    script = (
        "import os, sys; from regard.io.run_folder import RunFolder\n"
        f"run = RunFolder({str(run_path)!r}, 'explain', {CONFIG!r}); run.add_failure('b', 'read', ValueError())\n"
        "(run.maps / '.regard-123.tmp').write_bytes(b'half')\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    assert (run_path / lock.LOCK).exists()
    assert yaml.safe_load((run_path / "run.yaml").read_text())["state"] == "running"
    assert run_state(run_path) == "interrupted"
    with start(run_path) as run:
        assert run.resumed
        assert not (run.maps / ".regard-123.tmp").exists()
        assert [r["case"] for r in run.failures] == ["b"]


def test_a_lock_from_another_machine_or_a_damaged_one_is_respected(run_path: Path) -> None:
    with start(run_path):
        pass
    held = {"pid": 1, "host": "elsewhere", "born": None}
    (run_path / lock.LOCK).write_text(json.dumps(held))
    with pytest.raises(FolderError, match=r"in use by process 1 on elsewhere.*delete .*\.regard\.lock"):
        start(run_path)
    (run_path / lock.LOCK).write_text("{")
    with pytest.raises(FolderError, match="in use by"):
        start(run_path)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="start times of processes are read from /proc")
def test_a_later_process_of_the_same_number_does_not_hold_the_lock(run_path: Path) -> None:
    with start(run_path):
        pass
    held = {"pid": os.getpid(), "host": socket.gethostname(), "born": "1"}
    (run_path / lock.LOCK).write_text(json.dumps(held))
    start(run_path).close()


def test_only_one_of_many_takes_a_stale_lock(run_path: Path) -> None:
    with start(run_path):
        pass
    (run_path / lock.LOCK).write_text(json.dumps({"pid": 2**22 + 1, "host": socket.gethostname(), "born": None}))
    script = (
        "import sys, time; from pathlib import Path\n"
        "from regard.io.lock import Lock; from regard.core.errors import FolderError\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "try:\n    Lock(Path(sys.argv[1])); print('taken'); sys.stdout.flush(); time.sleep(1.5)\n"
        "except FolderError: print('refused')"
    )
    at = str(time.time() + 2.5)
    command = [sys.executable, "-c", script, str(run_path), at]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = sorted(r.communicate()[0].strip() for r in racers)
    assert said == ["refused", "refused", "refused", "taken"]


def test_states_at_the_end(run_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), start(run_path):
        raise KeyboardInterrupt
    assert run_state(run_path) == "interrupted"
    with pytest.raises(RuntimeError), start(run_path):
        raise RuntimeError
    assert run_state(run_path) == "failed"
    with start(run_path) as run:
        run.add_failure("a", "explain", FileError("x"))
    assert run_state(run_path) == "some_failed"
    with start(run_path) as run:
        run.succeeded("a")
        assert run.finish() == "done"
    assert run_state(run_path) == "done"
    with start(run_path) as run, pytest.raises(CardError, match="the state 'great'"):
        run.finish("great")  # type: ignore[arg-type]


def test_failures_are_one_row_each_and_go_when_the_case_succeeds(run_path: Path) -> None:
    with start(run_path) as run:
        run.add_failure("a", "read", FileError("a\tb\nc", "one line", "fix \\ it"))
        run.add_failure("a", "read", FileError("again"))
        run.add_failure("a", "weigh", FileError("weighed"))
        run.add_failure("b", "explain", KeyError("a patient's name"))
    lines = (run_path / "failures.tsv").read_text().splitlines()
    assert len(lines) == 4
    assert "patient" not in "".join(lines)
    assert lines[3].startswith("b\texplain\tKeyError\tan unexpected KeyError")
    with start(run_path) as run:
        run.succeeded("a", "read")
        assert [(r["case"], r["stage"]) for r in run.failures] == [("a", "weigh"), ("b", "explain")]
        run.succeeded("a")
        run.add_failure("c", "read", FileError("a\tb\nc", "one line"))
    assert [r["case"] for r in read_failures(run_path)] == ["b", "c"]
    assert read_failures(run_path)[1]["message"] == "a\\tb\\nc; expected one line"


def test_the_log_of_a_run(run_path: Path) -> None:
    logger = logging.getLogger("regard.test")
    logger.setLevel(logging.INFO)
    with start(run_path):
        logger.info("inside, series 1.2.840.113619.2.55.3.1")
    logger.info("outside")
    text = (run_path / "run.log").read_text()
    assert "INFO regard.test: inside, series <uid>" in text
    assert "outside" not in text
    assert not [h for h in logging.getLogger("regard").handlers if isinstance(h, logging.FileHandler)]


def test_weighing_works_inside_a_finished_run(run_path: Path) -> None:
    with pytest.raises(FolderError, match=r"no run\.yaml"):
        RunFolder(run_path, "weigh", {"measures": []}, record="weigh")
    with start(run_path):
        pass
    with RunFolder(run_path, "weigh", {"n_null": 99}, record="weigh") as weighing:
        weighing.add_failure("a", "weigh", FileError("x"))
    assert read_run(run_path, "weigh")["schema"] == "regard.weigh/1"
    assert (run_state(run_path), run_state(run_path, "weigh")) == ("done", "some_failed")
    with pytest.raises(FolderError, match="n_null is 9 and was 99"):
        RunFolder(run_path, "weigh", {"n_null": 9}, record="weigh")
    with RunFolder(run_path, "weigh", {"n_null": 9}, record="weigh", overwrite=True) as weighing:
        assert not weighing.resumed
    assert run_state(run_path) == "done"


def test_folders_without_records(tmp_path: Path, run_path: Path) -> None:
    with pytest.raises(FileError, match=r"no run\.yaml"):
        read_run(tmp_path)
    with pytest.raises(FileError, match=r"no inputs\.tsv.*without --private"):
        read_inputs(tmp_path)
    assert read_failures(tmp_path) == []
    with start(run_path):
        pass
    (run_path / "failures.tsv").write_text("who\twhat\n")
    with pytest.raises(CardError, match="failures.tsv"):
        read_failures(run_path)


def test_a_disk_that_fills_during_a_run_keeps_what_is_done(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(FileError, match="no room left"), start(run_path) as run:
        put_map(run, "a", "grad-ram")
        monkeypatch.setattr(os, "fsync", full)
        put_map(run, "b", "grad-ram")
    monkeypatch.undo()
    assert run_state(run_path) == "interrupted"  # the record could not be written either
    with start(run_path) as run:
        assert run.is_done("a", "grad-ram")
        assert not run.is_done("b", "grad-ram")
        assert not list(run.maps.glob("b*"))


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("run.yaml", True),
        ("maps/a_desc-gradram_relevance.dcm", True),
        ("maps/a_output.nii.gz", True),
        ("models/age/weights.safetensors", True),
        ("maps.zarr/c/0/0", True),
        ("samples/a_sample-3.nii.gz", True),
        ("scan.nii.gz", False),
        ("maps/sub-01_T1w.nii.gz", False),
        ("maps/deeper/a_desc-x_relevance.png", False),
        ("models/age/network.py", False),
        ("notes/run.yaml", False),
    ],
)
def test_which_files_are_regards_own(name: str, own: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    manifest = Manifest(tmp_path)
    adopt(tmp_path, manifest)
    assert foreign_files(tmp_path, manifest) == ([] if own else [name])


def test_a_folder_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", refuse)
        with pytest.raises(FileError, match=r"cannot write to .*Permission denied"):
            start(tmp_path / "run")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="cannot make the folder"):
        start(tmp_path / "file" / "run")
    with start(tmp_path / "other"), monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(FileError, match="cannot remove files"):
            clear(tmp_path / "other", Manifest(tmp_path / "other"))


def test_a_file_system_without_links(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with start(run_path), pytest.raises(FolderError, match="in use by"):
        start(run_path)
    assert not (run_path / lock.LOCK).exists()


def test_a_row_of_failures_is_appended_and_the_table_is_the_same(tmp_path: Path) -> None:
    with start(tmp_path / "a") as folder:
        place = folder.path / "failures.tsv"
        inode = place.stat().st_ino
        for n in range(50):
            folder.add_failure(f"c{n}", "read", InputError('a "cell"\twith a tab', "none"))
        assert place.stat().st_ino == inode  # not written anew
        rows = read_failures(folder.path)
        assert [r["case"] for r in rows] == [f"c{n}" for n in range(50)]
        assert rows == folder.failures
        folder.add_failure("c3", "read", InputError("another", "none"))
        assert [r["case"] for r in read_failures(folder.path)].count("c3") == 1
        place.unlink()
        folder.add_failure("c51", "read", InputError("more", "none"))
        assert len(read_failures(folder.path)) == 51


def test_what_a_full_disk_cuts_off_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io as streams

    place = tmp_path / "t.tsv"
    write_tsv(place, ("a", "b"), [(1, 2)])
    before = place.read_bytes()
    whole = streams.FileIO.write

    class Short(streams.FileIO):
        def write(self, content: bytes) -> int:  # type: ignore[override]
            return int(whole(self, content[: len(content) // 2]))

    monkeypatch.setattr("builtins.open", lambda path, *a, **k: Short(path, "r+"))
    with pytest.raises(FileError):
        append_tsv(place, [("x" * 50, "y" * 50)])
    monkeypatch.undo()
    assert place.read_bytes() == before
