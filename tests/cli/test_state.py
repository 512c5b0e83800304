"""Contents decide whether a run goes on; what changed is named, what failed is tried again, what was made is kept."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import MAPS, Regard, failures, state, written

from regard.io.manifest import Manifest
from regard.io.own_files import foreign_files


def test_an_image_that_changed_before_a_resume_is_named(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    scans, out = [picture("a.png", seed=1), picture("b.png", seed=2)], tmp_path / "run"
    base = ("explain", model, *scans, "-m", "gradient", "-o", out)
    assert regard(*base).code == 0
    picture("b.png", seed=3)
    assert regard(*base).refused("b.png", "case 'b'", "has changed", "--overwrite")
    picture("b.png", seed=2)
    before = written(out)
    assert regard(*base).code == 0  # the same contents again, written at another time
    assert written(out) == before


def test_the_same_contents_under_another_path_resume(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert regard("explain", model, picture("a.png", seed=1), "-m", "gradient", "-o", out).code == 0
    before = written(out)
    moved = picture("moved/a.png", seed=1)
    assert regard("explain", model, moved, "-m", "gradient", "-o", out).code == 0
    assert written(out) == before


def test_a_card_or_a_mask_that_changed_is_named(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    mask, out = picture("mask.png", seed=4), tmp_path / "run"
    base = ("explain", model, picture(), "-m", "gradient", "--mask", mask, "-o", out)
    assert regard(*base).code == 0
    picture("mask.png", seed=5)
    assert regard(*base).refused("contents of mask have changed")
    picture("mask.png", seed=4)
    card = yaml.safe_load((model / "card.yaml").read_text())
    card["inputs"][0]["window"] = [0, 128]
    (model / "card.yaml").write_text(yaml.safe_dump(card))
    assert regard(*base).refused("contents of card have changed")


def test_a_case_that_failed_is_tried_again_after_its_repair(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    good, bad, out = picture("a.png", seed=1), tmp_path / "b.png", tmp_path / "run"
    bad.write_bytes(b"\x89PNG and nothing more")
    base = ("explain", model, good, bad, "-m", "gradient", "-o", out)
    assert regard(*base).code == 3
    before = written(out)
    picture("b.png", seed=2)
    assert regard(*base).code == 0
    assert failures(out) == []
    assert before.items() <= written(out).items()


def test_a_map_that_was_cut_or_flipped_is_made_again(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    base = ("explain", model, picture("a.png"), picture("b.png", seed=1), "-m", "gradient", "-o", out)
    assert regard(*base).code == 0
    # One on the scan's grid and one on the network's.
    first, second = (out / "maps" / f"{name}_desc-gradient_relevance.nii.gz" for name in ("a", "b_space-network"))
    whole = first.read_bytes(), second.read_bytes()
    first.write_bytes(whole[0][:50])
    second.write_bytes(bytes([*whole[1][:60], whole[1][60] ^ 4, *whole[1][61:]]))
    said = regard(*base)
    assert (said.code, state(out)) == (0, "done")
    assert "is not as it was saved" in said.err
    assert (first.read_bytes(), second.read_bytes()) == whole


def test_ctrl_c_in_the_second_method_keeps_the_first(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from regard.explainers.gradient.smoothgrad import SmoothGrad

    def stop(self: object, query: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    base = ("explain", model, picture("a.png"), "-m", "gradient", "-m", "smoothgrad", "-o", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(SmoothGrad, "_attribute", stop)
        assert regard(*base).refused("interrupted", code=130)
    before = {k: v for k, v in written(tmp_path / "run").items() if not k.endswith(".png")}
    assert sorted(before) == ["a_desc-gradient_relevance.json", "a_desc-gradient_relevance.nii.gz"]
    assert regard(*base).code == 0
    assert before.items() <= written(tmp_path / "run").items()
    assert len(list((tmp_path / "run").glob(MAPS))) == 8


def test_weigh_tries_a_repaired_case_again_and_names_a_changed_image(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path
) -> None:
    scans, out = [picture(f"{n}.png", seed=ord(n)) for n in "abc"], tmp_path / "run"
    assert regard("explain", model, *scans, "-m", "gradient", "-o", out).code == 0
    weigh = ("weigh", out, "--quick", "--n-null", 9)
    picture("b.png", seed=7)
    assert regard(*weigh).code == 3
    (row,) = failures(out)
    assert (row["case"], row["stage"]) == ("b", "weigh")
    assert "case 'b'" in row["message"]
    assert "others than its map" in row["message"]
    picture("b.png", seed=ord("b"))
    for options in ((), ("--overwrite",)):
        assert regard(*weigh, *options).code == 0
        assert failures(out) == []
        assert "\nb\t" in (out / "evidence.tsv").read_text()


@pytest.mark.parametrize("kilobytes", [16, 32, 64])
def test_a_tiny_disk_gives_the_lock_back(
    regard: Regard, model: Path, picture: Callable, tmp_path: Path, tiny_disk: Callable[[int], Path], kilobytes: int
) -> None:
    out = tiny_disk(kilobytes) / "run"
    base = ("explain", model, picture("a.png", shape=(64, 64)), "-m", "gradient", "-o", out)
    for _ in range(2):
        assert regard(*base).refused("no room left")
        assert not (out / ".regard.lock").exists()


def test_every_file_of_a_run_is_on_its_list(regard: Regard, model: Path, picture: Callable, tmp_path: Path) -> None:
    scans, out = [picture(f"{n}.png", seed=ord(n)) for n in "ab"], tmp_path / "run"
    assert regard("explain", model, *scans, "-m", "grad-ram", "-m", "smoothgrad:n_samples=4", "-o", out).code == 0
    assert regard("weigh", out, "--quick", "--n-null", 9).code == 0
    assert foreign_files(out, Manifest(out)) == []
    table = tmp_path / "table.tsv"
    table.write_text("case\timage\n" + "".join(f"{p.stem}\t{p.name}\n" for p in scans))
    assert regard("cohort", model, table, "-m", "grad-ram", "-o", tmp_path / "cohort").code == 0
    assert foreign_files(tmp_path / "cohort", Manifest(tmp_path / "cohort")) == []
