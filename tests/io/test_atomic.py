import errno
import json
import os
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
import yaml

from regard.core.errors import CardError, FileError
from regard.io.atomic import atomic, plain, write_bytes, write_json, write_tsv, write_yaml
from regard.io.schema import read_json, read_yaml


class Word(StrEnum):
    A = "a"


def test_values_become_plain() -> None:
    value = {
        "nan": float("nan"), "inf": -np.inf, "array": np.arange(2), "tensor": torch.tensor([1.5]),
        "half": np.float32(0.5), "path": Path("a/b"), "word": Word.A, "set": {2, 1}, 3: (1, None, True),
    }  # fmt: skip
    assert plain(value) == {
        "nan": None, "inf": None, "array": [0, 1], "tensor": [1.5], "half": 0.5,
        "path": "a/b", "word": "a", "set": [1, 2], "3": [1, None, True],
    }  # fmt: skip
    assert type(plain(Word.A)) is str


def test_schema_is_the_first_key_and_is_checked(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", "scores", {"b": 1, "a": float("nan")})
    write_yaml(tmp_path / "a.yaml", "run", {"b": "1e3", "a": None, "text": "yes"})
    assert (tmp_path / "a.json").read_text().startswith('{\n  "schema": "regard.scores/1"')
    assert (tmp_path / "a.yaml").read_text().startswith("schema: regard.run/1\n")
    assert read_json(tmp_path / "a.json", "scores") == {"schema": "regard.scores/1", "b": 1, "a": None}
    assert read_yaml(tmp_path / "a.yaml", "run") == {"schema": "regard.run/1", "b": "1e3", "a": None, "text": "yes"}


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ({"schema": "regard.run/2"}, CardError, "of a newer Regard; expected at most regard.run/1"),
        ({"schema": "regard.scores/1"}, CardError, "'regard.scores/1' in .*; expected regard.run/1"),
        ({"schema": "run"}, CardError, "schema 'run'"),
        ({"state": "done"}, CardError, "without a schema; expected a first key 'schema: regard.run/1'"),
        ([1], CardError, "without a schema"),
    ],
)
def test_another_schema_is_one_sentence(content: object, error: type, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content))
    for reader, name in ((read_json, "a.json"), (read_yaml, "a.yaml")):
        with pytest.raises(error, match=message):
            reader(tmp_path / name, "run")


def test_files_that_are_no_json_or_yaml(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"schema": "regard.run/1", [')
    for reader, word in ((read_json, "JSON"), (read_yaml, "YAML")):
        with pytest.raises(FileError, match=f"is not {word}, or was cut off"):
            reader(tmp_path / "a", "run")
        with pytest.raises(FileError, match="no file"):
            reader(tmp_path / "gone", "run")
    (tmp_path / "b").write_bytes(b"\xff\xff")
    with pytest.raises(FileError, match="UTF-8"):
        read_json(tmp_path / "b", "run")
    (tmp_path / "c").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(FileError, match="not YAML"):
        read_yaml(tmp_path / "c", "run")


def test_a_table_is_what_pandas_reads(tmp_path: Path) -> None:
    rows = [("a", 1.5, None), ("with\ttab", float("nan"), 'a "quote"'), ("two\nlines", 3, "x")]
    write_tsv(tmp_path / "a.tsv", ("name", "value", "note"), rows)
    read = pandas.read_csv(tmp_path / "a.tsv", sep="\t", na_values="n/a")
    assert list(read.name) == ["a", "with\ttab", "two\nlines"]
    assert read.value[0] == 1.5
    assert np.isnan(read.value[1])
    assert read.note[1] == 'a "quote"'


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def full(*_: object) -> None:
        if call == "write":
            (tmp_path / ".regard-0.tmp").exists()
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "write":
        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        monkeypatch.setattr(os, call, full)
    with pytest.raises(FileError, match="no room left on the disk for .*a.json") as caught:
        write_bytes(path, b"new")
    assert caught.value.exit_code == 2
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_an_exception_within_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.bin"
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert list(path.parent.iterdir()) == []
    write_bytes(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match=r"cannot write '.*file/a\.json'"):
        write_json(tmp_path / "file" / "a.json", "run", {})
