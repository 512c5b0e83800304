"""A page in Chromium, from a file, driven by a script put into a copy of it; JavaScript by node or Chromium."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NODE = shutil.which("node")
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
needs_script = pytest.mark.skipif(BROWSER is None and NODE is None, reason="neither node nor Chromium is installed")

_HEAD = """
<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {
  let result;
  try {
    while (document.documentElement.dataset.ready !== "true") await wait(20);
    await wait(200);
"""
_TAIL = """
  } catch (error) { result = { error: String(error.stack || error) }; }
  const shown = Object.assign(document.createElement("pre"), { id: "result", textContent: JSON.stringify(result) });
  document.body.replaceChildren(shown);
})();
</script></body>
"""


def command(profile: Path, *more: str, window=(1200, 900)) -> list[str]:
    return [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
        f"--window-size={window[0]},{window[1]}", "--virtual-time-budget=15000", *more,
    ]  # fmt: skip


def browse(path: Path, tmp_path: Path, **options) -> subprocess.CompletedProcess:
    parts = command(tmp_path / "profile", "--enable-logging=stderr", "--dump-dom", **options)
    return subprocess.run([*parts, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)


def drive(path: Path, body: str, tmp_path: Path, **options):
    """What ``body`` leaves in ``result`` once the page is ready; its own policy is taken from the copy."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text(encoding="utf-8"))
    copy = path.with_name("driven.html")
    copy.write_text(text.replace("</body>", _HEAD + body + _TAIL), encoding="utf-8")
    found = re.search(r'<pre id="result">(.*?)</pre>', browse(copy, tmp_path, **options).stdout, re.DOTALL)
    assert found, "the page did not become ready"
    result = json.loads(unescape(found[1]))
    assert not (isinstance(result, dict) and "error" in result), result
    return result


def evaluate(script: str, given, tmp_path: Path):
    """The value of ``answer(given)`` after ``script``, by node where it is installed, else by Chromium."""
    told = json.dumps(given)
    if NODE is not None:
        code = f"{script}\nconsole.log(JSON.stringify(answer({told})));"
        (tmp_path / "asked.js").write_text(code, encoding="utf-8")
        done = subprocess.run(
            [NODE, str(tmp_path / "asked.js")], capture_output=True, text=True, timeout=60, check=True
        )
        return json.loads(done.stdout)
    page = tmp_path / "asked.html"
    page.write_text(f'<html data-ready="true"><body><script>{script}</script></body></html>', encoding="utf-8")
    return drive(page, f"result = answer({told});", tmp_path)
