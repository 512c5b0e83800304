"""A short draw of ``make fuzz``: mutated files of every kind, each read or refused in one sentence."""

import json
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="limits of a process are POSIX")
pytest.importorskip("nrrd", reason="pynrrd is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")

import fuzz_driver
from fuzz_driver import GOOD, Seeded, run
from fuzz_mutations import mutate
from fuzz_seeds import KINDS

# Whole files that are refused for what they are.
REFUSED = {"row_major.dconn.nii", "6.txt", "7.txt"}
PER_KIND = 15


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    return Seeded(tmp_path_factory.mktemp("fuzz"))


def test_the_files_that_are_mutated_are_read_when_they_are_whole(
    seeded: Seeded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_driver, "mutate", lambda data, _: data)
    answers = {kind: Counter() for kind in KINDS}
    for kind, seeds in seeded.seeds.items():
        for seed in seeds[:: 8 if kind == "dicom" else 1]:
            said = seeded.read(seed, "whole")
            answers[kind][said["outcome"]] += 1
            if kind != "dicom" and seed.path.name not in REFUSED:
                assert said["outcome"] == "read", (kind, seed.path.name, said)
    assert answers["dicom"]["read"] >= 3
    assert not answers["dicom"]["bare"]


def test_a_mutated_file_is_read_or_refused_in_one_sentence(seeded: Seeded) -> None:
    result = run(PER_KIND * len(KINDS), seed=0, seeded=seeded)
    assert not result.bad, json.dumps(result.bad[:3], indent=1)
    assert {kind for kind, _ in result.counts} == set(KINDS)
    n_refused = sum(n for (_, outcome), n in result.counts.items() if outcome == "refused")
    assert n_refused > sum(result.counts.values()) / 2
    assert {"read", "refused"} == GOOD


def test_the_same_seed_makes_the_same_file(tmp_path: Path) -> None:
    data = b"schema: regard.card/1\nname: 5\n" * 5
    assert mutate(data, "0-card-1") == mutate(data, "0-card-1")
    assert len({mutate(data, f"0-card-{n}") for n in range(50)}) > 40
