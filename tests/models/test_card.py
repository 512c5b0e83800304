"""Cards: what they say, and what is refused in one sentence."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from regard.core.errors import CardError, FileError, UnknownNameError
from regard.models.card import InputSpec, ModelCard, OutputSpec, read_card, write_card

FULL: dict[str, Any] = {
    "schema": "regard.card/1",
    "name": "tuberculosis",
    "licence": "MIT",
    "factory": "network.py:build",
    "kwargs": {},
    "weights": None,
    "sha256": "a" * 64,
    "layer": "features",
    "inputs": [
        {
            "name": "image",
            "channels": 3,
            "orientation": "pl",
            "spacing_mm": None,
            "shape": [224, 224],
            "fit": "resize",
            "unit": "grey level",
            "window": [0, 255],
            "normalise": {"low": -1, "high": 1},
        }
    ],
    "output": {"kind": "classification", "names": ["tb"], "units": ["logit"], "activation": "none", "bins": None},
    "trained_on": {"n": 2239, "ranges": {"age": [20, 90]}, "site": "Kaggle"},
    "notes": "none",
}


def write(path: Path, change: Any = None) -> Path:
    content = copy.deepcopy(FULL)
    if change is not None:
        change(content)
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_card_is_read_and_comes_back_the_same(tmp_path: Path) -> None:
    card = read_card(write(tmp_path / "card.yaml"))
    assert card.inputs[0].orientation == "PL"
    assert card.inputs[0].n_axes == 2
    assert card.trained_on.ranges["age"] == (20, 90)
    assert card.output.unit() == "logit"
    write_card(card, tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_text().startswith("schema: regard.card/1\n")
    assert read_card(tmp_path / "again.yaml") == card
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.yaml", "card.yaml"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(licens="MIT"), ["key 'licens'", "no such key"]),
        (lambda c: c["inputs"][0].update(chanels=3), ["key 'inputs.0.chanels'", "no such key"]),
        (lambda c: c["inputs"][0].update(channels=0), ["key 'inputs.0.channels'", "= 0", "greater than or equal to 1"]),
        (lambda c: c["inputs"][0].update(orientation="RL"), ["inputs.0.orientation", "'RL'", "different axes"]),
        (lambda c: c["inputs"][0].update(orientation="XY"), ["inputs.0.orientation", "'XY'"]),
        (lambda c: c["inputs"][0].update(shape=[1, 2, 3]), ["inputs.0", "one entry per tensor axis"]),
        (lambda c: c["inputs"][0].update(window=[3, 3]), ["inputs.0.window", "rising"]),
        (lambda c: c["inputs"][0].update(window=None), ["inputs.0", "window"]),
        (lambda c: c["inputs"][0].update(normalise="sharpen"), ["inputs.0.normalise", "sharpen", "zscore"]),
        (lambda c: c["inputs"][0].update(normalise={"low": 0}), ["key 'inputs.0.normalise.high'", "required"]),
        (lambda c: c["inputs"][0].update(normalise={"quantiles": [1, 0]}), ["normalise.quantiles", "rising"]),
        (lambda c: c["inputs"][0].update(normalise={"mean": [0, 0], "std": 1}), ["inputs.0", "3 channels"]),
        (lambda c: c["inputs"][0].update(normalise={"mean": 0, "std": 0}), ["inputs.0.normalise.std", "other than 0"]),
        (lambda c: c.update(inputs=[]), ["key 'inputs'", "at least 1"]),
        (lambda c: c["inputs"].append(c["inputs"][0]), ["inputs of different names"]),
        (lambda c: c.pop("output"), ["key 'output'", "required"]),
        (lambda c: c["output"].update(kind="guess"), ["key 'output.kind'", "'guess'", "regression"]),
        (lambda c: c["output"].update(units=["a", "b"]), ["output", "one unit for each of 1 names"]),
        (lambda c: c.update(zoo="sfcn"), ["exactly one of factory, zoo and program", "factory and zoo"]),
        (lambda c: c.pop("factory"), ["exactly one of factory, zoo and program"]),
        (lambda c: c.update(factory=None, program="a.pt2", weights="w.pt"), ["no weights"]),
        (lambda c: c.update(sha256="123"), ["key 'sha256'", "'123'"]),
        (lambda c: c.update(schema="regard.card/2"), ["regard.card/2", "at most regard.card/1", "that version"]),
        (lambda c: c.update(schema="regard.run/1"), ["regard.run/1", "expected regard.card/1"]),
        (lambda c: c.pop("schema"), ["without a schema", "regard.card/1"]),
    ],
)
def test_a_wrong_card_is_one_sentence_that_names_the_key(tmp_path: Path, change: Any, words: list[str]) -> None:
    with pytest.raises(CardError) as caught:
        read_card(write(tmp_path / "card.yaml", change))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_an_older_minor_spelling_and_unknown_training_data_are_read(tmp_path: Path) -> None:
    card = read_card(write(tmp_path / "card.yaml", lambda c: c.update(trained_on=None)))
    assert card.trained_on.n is None
    assert card.trained_on.ranges == {}


def test_broken_tagged_and_missing_yaml(tmp_path: Path, canary: Path) -> None:
    path = tmp_path / "card.yaml"
    path.write_text("name: [1, 2\n")
    with pytest.raises(CardError, match="line 2"):
        read_card(path)
    path.write_text(f"name: !!python/object/apply:os.mkdir ['{canary}']\n")
    with pytest.raises(CardError, match="plain YAML without tags"):
        read_card(path)
    assert not canary.exists()
    path.write_text("- a list\n")
    with pytest.raises(CardError, match="holds list"):
        read_card(path)
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(CardError):
        read_card(path)
    path.write_text("#" * (2**20 + 1))
    with pytest.raises(CardError, match="1048577 bytes"):
        read_card(path)
    with pytest.raises(FileError, match="no card"):
        read_card(tmp_path / "none.yaml")


def test_a_card_made_in_python_needs_no_origin_but_a_written_one_does(tmp_path: Path) -> None:
    card = ModelCard(name="mine", inputs=(InputSpec(),), output=OutputSpec(kind="image"))
    assert card.inputs[0].n_axes == 3
    assert card.unit == "output"
    with pytest.raises(CardError, match="exactly one of"):
        write_card(card, tmp_path / "card.yaml")
    assert list(tmp_path.iterdir()) == []


def test_outputs_by_name() -> None:
    output = OutputSpec(kind="regression", names=("age", "bmd"), units=("years", "g/cm2"))
    assert output.index("bmd") == 1
    assert output.unit(1) == "g/cm2"
    assert output.unit(7) == "output"
    with pytest.raises(UnknownNameError, match="did you mean bmd"):
        output.index("bmdd")
