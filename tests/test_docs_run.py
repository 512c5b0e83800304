"""The Python blocks of a page run as they are printed, one after the other."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["how-to/explain-a-transformer.md"])
def test_blocks_run_as_printed(page: str, capsys: pytest.CaptureFixture) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out.splitlines()
    told = [t.strip() for block in blocks for t in re.findall(r"print\(.*?\)  # (\{.*)", block)]
    assert told == [line for line in printed if line.startswith("{")]
