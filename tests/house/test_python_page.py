"""The blocks of the page on Python run as they are printed."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-from-python.md"


def test_every_block_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(blocks) >= 4
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), names)
    assert np.asarray(names["explanation"]).shape == (40, 44, 36)
    assert (tmp_path / "relevance.nii.gz").exists()
    assert len(names["table"]) <= 5  # type: ignore[arg-type]
