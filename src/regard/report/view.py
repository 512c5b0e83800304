"""`regard view`: a run folder in the browser, served on loopback, by token, listed files only."""

import hmac
import importlib.util
import secrets
import shutil
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from logging import getLogger
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from regard.core.errors import FileError
from regard.report import view_pages
from regard.report.html import content_hash, page_script, static
from regard.report.sheets import sheet, write_sheet

__all__ = ["Site", "listed_files", "make_server", "niivue_script", "serve"]

_log = getLogger(__name__)

_LISTED = (
    *("report.html", "maps/*.nii.gz", "maps/*.tsv", "maps/*.json", "maps/*.png", "figures/*", "population/*.nii.gz"),
    *("population/*.json", "population/*.png", "samples/*.nii.gz", "regions.tsv"),
)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
_CLOSED = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_OLDER_SCRIPTS = ("'sha256-dMji2ZzRbKtkMD/TRCY3ixHWJQJ1kbeFDhsD9p7w0z0='",)
"""Hashes of the scripts in reports of earlier releases (0.1)."""


def _policy(kind: str) -> str:
    """The content security policy of a page or file.

    A report may have been written by a stranger: it runs Regard's own scripts and no others, by their hashes, and in a
    sandbox, where it is of no origin and can ask this server for nothing.
    """
    if kind == "report":
        scripts = " ".join((content_hash(page_script()), *_OLDER_SCRIPTS))
        shown = f"script-src {scripts}; style-src 'unsafe-inline'; img-src data:; sandbox allow-scripts allow-downloads"
    elif kind == "index":
        shown = "style-src 'self'; img-src 'self' data:"
    elif kind == "volume":
        shown = (
            "script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
            "connect-src 'self' data: blob:; font-src data:; worker-src blob:"
        )
    else:
        shown = "style-src 'unsafe-inline'; sandbox"
    return f"default-src 'none'; {shown}; {_CLOSED}"


def listed_files(folder: Path) -> dict[str, Path]:
    """Files of a run folder that may be served, by their path inside it; a link that leaves the folder is none."""
    root = folder.resolve()
    found: dict[str, Path] = {}
    for pattern in _LISTED:
        for path in sorted(root.glob(pattern)):
            real = path.resolve()
            if real.is_file() and real.is_relative_to(root) and not path.name.endswith(".part"):
                found[path.relative_to(root).as_posix()] = real
    return found


def niivue_script() -> Path | None:
    """NiiVue's script in an installed package that carries it (nilearn, ipyniivue), without importing the package."""
    for package in ("nilearn", "ipyniivue"):
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or []) if spec else []:
            for script in sorted(Path(place).glob("**/niivue.umd.js")):
                return script
    return None


@dataclass(frozen=True)
class Site:
    """What a server may answer with.

    Parameters
    ----------
    folder
        The run folder.
    token
        Secret that every address starts with.
    scans
        Images outside the folder that may be shown under their maps: case id to NIfTI file.
    niivue
        NiiVue's script, None without it.
    images
        Further images of cases, of any kind that is read (DICOM, PNG): drawn in the pages of their cases, never sent
        as files.
    """

    folder: Path
    token: str
    scans: Mapping[str, Path] = field(default_factory=dict)
    niivue: Path | None = None
    images: Mapping[str, Path] = field(default_factory=dict)
    _known: dict[tuple[int, ...], dict[str, Path]] = field(default_factory=dict)

    def files(self) -> dict[str, Path]:
        """`listed_files`, listed anew where a folder has changed."""
        root = self.folder.resolve()
        places = [root, *(root / p.partition("/")[0] for p in _LISTED if "/" in p)]
        state = tuple(p.stat().st_mtime_ns if p.is_dir() else 0 for p in places)
        known = self._known.get(state)
        if known is None:
            known = listed_files(self.folder)
            self._known.clear()
            self._known[state] = known
        return known

    def answer(self, path: str) -> tuple[str, str, bytes | Path] | None:
        """Media type, policy and content of the page or file at ``path`` under the token; None when not listed."""
        files = self.files()
        if path in ("", "index.html"):
            return _TYPES[".html"], "index", view_pages.index(self.folder, files, niivue=self.niivue is not None)
        if path in ("page.css", "volume.js", "colours.js"):
            text = static("report.css" if path == "page.css" else path)
            return _TYPES[path[path.rindex(".") :]], "file", text.encode()
        if path == "niivue.js" and self.niivue:
            return _TYPES[".js"], "file", self.niivue
        if path.startswith("volume/") and self.niivue:
            name = path.removeprefix("volume/").removesuffix(".html")
            name = name if name.partition("/")[0] in view_pages.VOLUMES else f"maps/{name}"
            if f"{name}.nii.gz" not in files:
                return None
            return _TYPES[".html"], "volume", view_pages.volume(name, files, self.scans)
        if path.startswith("sheet/") and path.endswith(".html"):
            kind, _, stem = path.removeprefix("sheet/").removesuffix(".html").partition("/")
            page = sheet(kind, stem, files, {**self.scans, **self.images})
            return None if page is None else (_TYPES[".html"], "report", write_sheet(page))
        if path.startswith("scans/"):
            case = path.removeprefix("scans/").removesuffix(".nii.gz").removesuffix(".nii")
            scan = self.scans.get(case)
            return ("application/octet-stream", "file", scan) if scan and scan.is_file() else None
        if path in files:
            kind = _TYPES.get(Path(path).suffix.lower(), "application/octet-stream")
            return kind, "report" if path == "report.html" else "file", files[path]
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: Site


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version, sys_version = "regard", ""
    timeout = 30

    def do_GET(self) -> None:
        """Answer with a listed page or file."""
        self._respond(body=True)

    def do_HEAD(self) -> None:
        """Answer as GET does, without the content."""
        self._respond(body=False)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        # Other verbs and malformed requests: the inherited page would repeat what was asked.
        self.close_connection = True
        self._refuse(405 if code == 501 else code, "only GET and HEAD of the viewer's own pages are answered")

    def log_message(self, format: str, *args: object) -> None:
        # A request line holds the token, so that only the status is logged.
        _log.debug("answered %s", args[1] if len(args) > 1 else "")

    def _respond(self, *, body: bool) -> None:
        site, port = self.server.site, self.server.server_address[1]
        hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        if self.headers.get_all("Host") not in [[host] for host in hosts]:
            return self._refuse(403, "this server answers to its own loopback address only")
        try:
            parts = urlsplit(self.path)
        except ValueError:
            return self._refuse(400, "this is not an address")
        token, _, rest = unquote(parts.path, errors="replace").removeprefix("/").partition("/")
        if not _same(token, site.token):
            asked = parse_qs(parts.query).get("token", [""])[0]
            if not _same(asked, site.token):
                return self._refuse(403, "the address lacks the token; use the one that `regard view` printed")
            return self._send_head(303, {"Location": f"/{site.token}/{quote(parts.path.strip('/'))}"})
        if not parts.path.removeprefix("/").startswith(f"{site.token}/"):
            return self._send_head(303, {"Location": f"/{site.token}/"})
        found = site.answer(rest)
        if found is None:
            return self._refuse(404, "no such page in this run folder")
        kind, policy, content = found
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        self._send_head(
            200, {"Content-Type": kind, "Content-Length": str(size), "Content-Security-Policy": _policy(policy)}
        )
        if not body:
            return None
        if isinstance(content, bytes):
            self.wfile.write(content)
        else:
            with content.open("rb") as stream:
                shutil.copyfileobj(stream, self.wfile)
        return None

    def _refuse(self, status: int, sentence: str) -> None:
        text = f"{sentence}\n".encode()
        self._send_head(status, {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))})
        if getattr(self, "command", None) != "HEAD":
            self.wfile.write(text)

    def _send_head(self, status: int, fields: Mapping[str, str]) -> None:
        fixed = {
            "Content-Security-Policy": _policy("file"),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "X-Frame-Options": "DENY",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
            "Content-Length": "0",
        }
        self.send_response(status)
        for name, value in {**fixed, **fields}.items():
            self.send_header(name, value)
        self.end_headers()


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())


def make_server(
    folder: str | Path,
    port: int = 0,
    *,
    scans: Mapping[str, str | Path] | None = None,
    images: Mapping[str, str | Path] | None = None,
) -> tuple[ThreadingHTTPServer, str]:
    """Bind a server for a run folder to 127.0.0.1; it answers once ``serve_forever`` is called.

    Parameters
    ----------
    folder
        The run folder.
    port
        Port, 0 for a free one.
    scans
        Case id to the NIfTI file that may be shown under the case's maps; these alone are served from elsewhere.
    images
        Case id to an image of another kind (a DICOM series, a picture), drawn in the page of its case.

    Returns
    -------
    server
        To be closed by the caller.
    url
        Where it answers, with its token.

    Raises
    ------
    FileError
        If there is no such folder, the port is taken, or a scan is not a NIfTI file.
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileError(f"'{folder}', which is not a folder", "a run folder", "give the folder after -o of the run")
    served = {case: Path(path).resolve() for case, path in (scans or {}).items()}
    drawn = {case: Path(path).resolve() for case, path in (images or {}).items()}
    for path in served.values():
        if not path.name.endswith((".nii", ".nii.gz")):
            raise FileError(f"'{path.name}' as a scan to show", "a file .nii or .nii.gz", "view the report alone")
    try:
        server = _Server(("127.0.0.1", port), _Handler)
    except (OSError, OverflowError) as error:
        raise FileError(f"port {port}: {error}", "a free port", "leave out --port") from error
    server.site = Site(root, secrets.token_urlsafe(24), served, niivue_script(), drawn)
    return server, f"http://127.0.0.1:{server.server_address[1]}/{server.site.token}/"


def serve(
    folder: str | Path,
    port: int = 0,
    open_browser: bool = True,
    *,
    scans: Mapping[str, str | Path] | None = None,
    images: Mapping[str, str | Path] | None = None,
    announce: Callable[[str], object] | None = None,
) -> str:
    """Serve a run folder until interrupted.

    Parameters
    ----------
    folder, port, scans, images
        As `make_server` takes them.
    open_browser
        Whether to open the address in the user's browser.
    announce
        Called with the address once the server listens.

    Returns
    -------
    str
        The address it answered at.
    """
    server, url = make_server(folder, port, scans=scans, images=images)
    with server:
        if announce:
            announce(url)
        if open_browser:
            webbrowser.open(url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            _log.info("the viewer was closed")
    return url
