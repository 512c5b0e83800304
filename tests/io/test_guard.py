"""What a file makes a library raise is told as an error of that file; what is no file is refused before it waits."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import regard
from regard.core.errors import CardError, FileError, InputError
from regard.core.volume import Volume
from regard.io import Case, read_map, read_run, read_table
from regard.io.contents import content_sha256
from regard.io.guard import BoundedFile, parsing, require_file
from regard.io.reading import READERS
from regard.models import load_model
from regard.models.weights import read_bytes
from regard.runs.weigh_truth import Truth

RAISED = [KeyError(7), struct.error("x"), RecursionError(), IndexError(), OverflowError(), UnicodeError(),
          MemoryError(), ZeroDivisionError(), EOFError(), OSError()]  # fmt: skip


@pytest.mark.parametrize("error", RAISED, ids=lambda e: type(e).__name__)
def test_whatever_a_reader_raises_is_an_error_of_that_file(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(b"NRRD0004\n")

    def broken(_: Path) -> Volume:
        raise error

    monkeypatch.setattr(READERS, "load", lambda _: broken)
    with pytest.raises(FileError, match=r"a\.nrrd.*expected a .*NRRD") as told:
        regard.read(path)
    assert told.value.__cause__ is error


@pytest.mark.parametrize("mistake", ["raise NameError('x')", "assert False", "import no_such_module"])
def test_a_mistake_of_regard_itself_is_not_told_as_a_broken_file(mistake: str, tmp_path: Path) -> None:
    code = compile(mistake, str(regard.__file__), "exec")
    with pytest.raises((NameError, AssertionError, ImportError)), parsing(tmp_path / "x", "file"):
        exec(code)


READ: dict[str, Callable[[Path], Any]] = {
    "x.nii": regard.read,
    "x.dcm": regard.read,
    "x.png": regard.read,
    "x.nrrd": regard.read,
    "x.mha": regard.read,
    "x.tsv": read_table,
    "card.yaml": lambda p: load_model(p.parent),
    "x.safetensors": lambda p: read_bytes(p, "weights"),
    "run.yaml": lambda p: read_run(p.parent),
    "x.json": read_map,
    "x.bin": content_sha256,
}


@pytest.mark.timeout(20)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
@pytest.mark.parametrize("name", list(READ))
def test_a_pipe_in_place_of_a_file_is_refused_and_not_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError):
        READ[name](tmp_path / name)


@pytest.mark.timeout(20)
@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero on this system")
@pytest.mark.parametrize("name", list(READ))
def test_a_device_without_an_end_does_not_fill_the_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(InputError):
        READ[name](tmp_path / name)


@pytest.mark.parametrize("name", ["x.nii", "x.tsv", "x.safetensors", "x.bin"])
def test_a_name_that_no_file_can_have_is_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as told:
        READ[name](tmp_path / ("a" * 300 + name))
    assert len(str(told.value)) < 1000


@pytest.mark.parametrize("source", ["m" * 300, "a/" * 300 + "card.yaml"])
def test_a_model_with_a_name_that_no_file_can_have_is_one_sentence(source: str) -> None:
    with pytest.raises(InputError):
        load_model(source)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="which is a folder"):
        require_file(tmp_path)


def test_a_length_that_a_header_claims_is_not_taken_from_memory(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(100_000))
    with BoundedFile(tmp_path / "x") as stream:
        stream.read(10)
        assert len(stream.read(2**62)) == 100_000 - 10
        assert stream.read(2**62) == b""


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1e400", "x", ""])
def test_a_box_that_is_no_number_of_pixels_is_refused(number: str, tmp_path: Path) -> None:
    (tmp_path / "b.tsv").write_text(f"x\ty\tw\th\n0\t0\t{number}\t2\n")
    scan = Volume(np_tensor(8, 8, 1), np.eye(4), "grey level", "x")
    with pytest.raises(CardError, match="column 'w'.*a number of pixels"):
        Truth(boxes=str(tmp_path / "b.tsv")).of(Case("a", {}), scan)


def np_tensor(*shape: int) -> Any:
    import torch

    return torch.zeros(1, *shape)


@pytest.mark.parametrize("state", ["", "[[1]]", "unknown"])
def test_a_record_that_does_not_say_how_far_the_run_came_is_refused(state: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(f"schema: regard.run/1\nverb: explain\nstate: {state}\n")
    with pytest.raises(CardError, match=r"the state .*expected one of running, done"):
        read_run(tmp_path)
