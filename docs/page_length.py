"""How long a page is: ``python docs/page_length.py report.html`` prints its height by the width of the window.

Chromium is asked, from a copy that is removed again; ``CHROMIUM`` names it where it is not on the path.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTHS = (1200, 390)
ASK = """<script>
(async () => {
  while (document.documentElement.dataset.ready !== "true") await new Promise((done) => setTimeout(done, 20));
  const opened = document.documentElement.scrollHeight;
  const button = document.querySelector("button.all");
  if (button && !button.hidden) {
    button.click();
    while (!button.hidden) await new Promise((done) => setTimeout(done, 20));
  }
  document.title = `height ${opened} ${document.documentElement.scrollHeight} at ${innerWidth}`;
})();
</script></body>"""


def height(page: Path, width: int) -> tuple[int, int, int]:
    """Height of a page as it opens and with all its cases drawn, and the width that the browser gave it [px].

    Raises
    ------
    SystemExit
        If there is no Chromium, or the page does not become ready.
    """
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no Chromium; expected one on the path or in CHROMIUM; install it")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
        copy.write_text(text.replace("</body>", ASK), encoding="utf-8")
        told = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
             f"--window-size={width},900", "--virtual-time-budget=30000", "--dump-dom", copy.as_uri()],
            capture_output=True, text=True, timeout=300, check=True,
        ).stdout  # fmt: skip
    found = re.search(r"<title>height (\d+) (\d+) at (\d+)</title>", told)
    if found is None:
        sys.exit(f"{page} did not become ready; expected a report of Regard; write it again")
    return int(found[1]), int(found[2]), int(found[3])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        for width in WIDTHS:
            opened, drawn, wide = height(Path(name), width)
            print(f"{name}\t{wide} px wide\t{opened} px as it opens\t{drawn} px with all cases drawn")
