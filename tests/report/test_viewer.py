import http.client
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from regard.core.errors import FileError
from regard.report import view


@pytest.fixture
def folder(tmp_path):
    run = tmp_path / "run"
    for name in (
        "report.html",
        "run.yaml",
        "inputs.tsv",
        "maps/c_desc-g_relevance.nii.gz",
        "maps/c_desc-g_relevance.json",
        "maps/c_desc-g_relevance.png",
        "maps/notes.txt",
        "figures/f.svg",
    ):
        path = run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"case": "c", "unit": "<b>years</b>"}' if name.endswith(".json") else f"content of {name}")
    (tmp_path / "secret.png").write_text("secret")
    (tmp_path / "scan.nii.gz").write_text("content of the scan")
    return run


@contextmanager
def running(folder, **options):
    server, url = view.make_server(folder, **options)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    parts = urlsplit(url)

    secret = parts.path.strip("/")

    def ask(path, method="GET", host=None, token=secret, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=10)
        connection.putrequest(method, f"/{token}/{path}" if token else path, skip_host=True)
        for value in [f"127.0.0.1:{parts.port}"] if host is None else host:
            connection.putheader("Host", value.replace("PORT", str(parts.port)))
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read().decode()
        connection.close()
        return answer, content

    try:
        yield ask, url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_listed_files_are_served_with_closed_headers(folder):
    with running(folder) as (ask, url):
        assert url.startswith("http://127.0.0.1:")
        for name in ("report.html", "maps/c_desc-g_relevance.nii.gz", "maps/c_desc-g_relevance.png", "figures/f.svg"):
            answer, content = ask(name)
            assert (answer.status, content) == (200, f"content of {name}")
            assert "default-src 'none'" in answer.getheader("Content-Security-Policy")
            assert answer.getheader("X-Content-Type-Options") == "nosniff"
            assert answer.getheader("Referrer-Policy") == "no-referrer"
        assert "sandbox" in ask("figures/f.svg")[0].getheader("Content-Security-Policy")
        answer, content = ask("report.html", "HEAD")
        assert (answer.status, content, answer.getheader("Content-Length")) == (200, "", "22")


def scripts(answer):
    policy = answer.getheader("Content-Security-Policy")
    return dict(part.strip().partition(" ")[::2] for part in policy.split(";")), policy


def test_a_strangers_report_runs_no_script_of_its_own_and_has_no_origin(folder):
    with running(folder) as (ask, _):
        parts, policy = scripts(ask("report.html")[0])
        assert parts["sandbox"] == "allow-scripts allow-downloads"
        assert "'unsafe-inline'" not in parts["script-src"]
        assert "'self'" not in policy
        assert all(source.startswith("'sha256-") for source in parts["script-src"].split())
        index, policy = scripts(ask("")[0])
        assert "script-src" not in policy
        assert "connect-src" not in policy


def test_the_report_that_is_written_now_runs(folder):
    from regard.report.html import content_hash, page_script

    with running(folder) as (ask, _):
        assert content_hash(page_script()) in scripts(ask("report.html")[0])[0]["script-src"]


@pytest.mark.parametrize(
    "path",
    [
        "run.yaml",
        "inputs.tsv",
        "maps/notes.txt",
        "maps/",
        "maps",
        "../secret.png",
        "maps/../../secret.png",
        "%2e%2e/secret.png",
        "maps/%2e%2e%2f%2e%2e%2fsecret.png",
        "..%5csecret.png",
        "/etc/passwd",
        "scans/c.nii.gz",
        "volume/none.html",
        "maps/c_desc-g_relevance.png%00.html",
        "report.html/",
    ],
)
def test_everything_else_is_refused(folder, path):
    with running(folder) as (ask, _):
        answer, content = ask(path)
        assert answer.status == 404
        assert "content of" not in content
        assert "secret" not in content


@pytest.mark.parametrize(
    "host",
    [
        ["evil.example:PORT"],
        ["127.0.0.1"],
        ["127.0.0.1:1"],
        ["localhost.evil.example:PORT"],
        ["0.0.0.0:PORT"],
        [],
        ["127.0.0.1:PORT", "evil.example"],
    ],
)
def test_other_hosts_are_refused(folder, host):
    with running(folder) as (ask, _):
        assert ask("report.html", host=host)[0].status == 403


def test_localhost_is_the_same_place(folder):
    with running(folder) as (ask, _):
        assert ask("report.html", host=["localhost:PORT"])[0].status == 200


def test_token_is_asked_for(folder):
    with running(folder) as (ask, url):
        token = urlsplit(url).path.strip("/")
        for wrong in ("", "x", token[:-1], token + "x", token.swapcase(), "%ff", "é".encode().hex()):
            answer, content = ask("/report.html", token=wrong or None)
            assert answer.status == 403
            assert token not in content + str(answer.headers)
        assert len(token) >= 32
        answer, _ = ask(f"/report.html?token={token}", token=None)
        assert (answer.status, answer.getheader("Location")) == (303, f"/{token}/report.html")
        assert ask("/report.html?token=wrong", token=None)[0].status == 403
        assert ask(f"/{token}", token=None)[0].getheader("Location") == f"/{token}/"


def test_two_servers_have_two_tokens(folder):
    with running(folder) as (_, first), running(folder) as (_, second):
        assert urlsplit(first).path != urlsplit(second).path


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_only_reading_is_answered(folder, method):
    with running(folder) as (ask, _):
        assert ask("report.html", method, body=b"x=1")[0].status == 405


def test_malformed_request_is_answered(folder):
    with running(folder) as (ask, _):
        assert ask("http://[", token=None)[0].status == 400


def test_links_that_leave_the_folder_are_not_followed(folder, tmp_path):
    (folder / "maps" / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "maps" / "in.png").symlink_to(folder / "maps" / "c_desc-g_relevance.png")
    with running(folder) as (ask, _):
        assert ask("maps/out.png")[0].status == 404
        assert ask("maps/in.png")[0].status == 200
    for name in ("f.svg",):
        (folder / "figures" / name).unlink()
    (folder / "figures").rmdir()
    (folder / "figures").symlink_to(tmp_path)
    assert not [name for name in view.listed_files(folder) if name.startswith("figures/")]


def test_scans_are_served_when_they_were_named(folder, tmp_path):
    with running(folder, scans={"c": tmp_path / "scan.nii.gz"}) as (ask, _):
        answer, content = ask("scans/c.nii.gz")
        assert (answer.status, content) == (200, "content of the scan")
    with pytest.raises(FileError, match="NIfTI|nii"):
        view.make_server(folder, scans={"c": tmp_path / "secret.png"})


def test_index_and_volume_page(folder, monkeypatch, tmp_path):
    script = tmp_path / "niivue.umd.js"
    script.write_text("var niivue = {}")
    monkeypatch.setattr(view, "niivue_script", lambda: script)
    hostile = folder / "maps" / '"><img src=x onerror=alert(1)>_desc-g_relevance.nii.gz'
    hostile.write_text("x")
    with running(folder, scans={"c": tmp_path / "scan.nii.gz"}) as (ask, _):
        page = ask("")[1]
        assert 'href="report.html"' in page
        assert 'href="volume/c_desc-g_relevance.html"' in page
        assert "<img src=x" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;" in page
        volume = ask("volume/c_desc-g_relevance.html")[1]
        assert 'data-map="../maps/c_desc-g_relevance.nii.gz"' in volume
        assert 'data-scan="../scans/c.nii.gz"' in volume
        assert "&lt;b&gt;years&lt;/b&gt;" in volume
        assert ask("niivue.js")[1] == "var niivue = {}"
    (folder / "maps" / "c_desc-g_relevance.json").write_text("not json")
    with running(folder) as (ask, _):
        assert 'data-scan=""' in ask("volume/c_desc-g_relevance.html")[1]


def test_without_niivue_the_report_is_offered_alone(folder, monkeypatch):
    monkeypatch.setattr(view, "niivue_script", lambda: None)
    with running(folder) as (ask, _):
        page = ask("")[1]
        assert "report.html" in page
        assert "regard[studies]" in page
        assert "Open in 3D" not in page
        assert ask("volume/c_desc-g_relevance.html")[0].status == 404


def test_niivue_is_found_where_nilearn_is_installed():
    pytest.importorskip("nilearn", reason="the extra 'studies' is not installed")
    found = view.niivue_script()
    assert found is not None
    assert found.read_text(encoding="utf-8").count("niivue") > 0


def test_bad_folder_and_port(tmp_path, folder):
    with pytest.raises(FileError, match="not a folder"):
        view.make_server(tmp_path / "absent")
    with running(folder) as (_, url), pytest.raises(FileError, match="port"):
        view.make_server(folder, urlsplit(url).port)
    with pytest.raises(FileError, match="port"):
        view.make_server(folder, 99999)


def test_serving_announces_opens_and_ends(folder, monkeypatch):
    told, opened = [], []
    monkeypatch.setattr(view.webbrowser, "open", opened.append)

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(view._Server, "serve_forever", interrupted)
    url = view.serve(folder, announce=told.append)
    assert told == opened == [url]
    view.serve(folder, open_browser=False)
    assert len(opened) == 1


def test_a_cohort_and_samples_are_shown_with_their_pictures_and_regions(tmp_path, monkeypatch):
    script = tmp_path / "niivue.umd.js"
    script.write_text("var niivue = {}")
    monkeypatch.setattr(view, "niivue_script", lambda: script)
    folder = tmp_path / "cohort"
    for name in ("population/desc-g_mean.nii.gz", "population/image_mean.nii.gz", "samples/c1_sample-0.nii.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "figures").mkdir()
    (folder / "figures" / "desc-g_regions.png").write_bytes(b"x")
    (folder / "regions.tsv").write_text("region\tmean\tsum\nhippo<b>\t0.000123456\tn/a\n")
    site = view.Site(folder, "t", niivue=script)
    kind, policy, page = site.answer("")  # type: ignore[misc]
    text = page.decode()  # type: ignore[union-attr]
    assert "There are no maps" not in text
    assert "volume/population/desc-g_mean.html" in text
    assert "volume/samples/c1_sample-0.html" in text
    assert "figures/desc-g_regions.png" in text
    assert "hippo&lt;b&gt;" in text
    assert "0.0001235" in text
    assert ">sum<" not in text  # a column that says nothing
    _, _, shown = site.answer("volume/population/desc-g_mean.html")  # type: ignore[misc]
    assert b'data-map="../../population/desc-g_mean.nii.gz"' in shown  # type: ignore[operator]
    assert b'data-scan="../../population/image_mean.nii.gz"' in shown  # type: ignore[operator]
    assert b'src="../../volume.js"' in shown  # type: ignore[operator]
    assert site.answer("volume/checkpoints/x.html") is None
    assert site.answer("population/../secret.nii.gz") is None


def test_a_folder_is_listed_anew_only_where_it_has_changed(folder, monkeypatch):
    listed = []
    real = view.listed_files
    monkeypatch.setattr(view, "listed_files", lambda f: listed.append(1) or real(f))
    with running(folder) as (ask, _):
        assert ask("maps/new_desc-g_relevance.png")[0].status == 404
        for _ in range(5):
            assert ask("report.html")[0].status == ask("")[0].status == 200
        assert len(listed) == 1
        (folder / "maps" / "new_desc-g_relevance.png").write_text("content")
        assert ask("maps/new_desc-g_relevance.png")[1] == "content"
        (folder / "maps" / "new_desc-g_relevance.png").unlink()
        assert ask("maps/new_desc-g_relevance.png")[0].status == 404
        (folder / "samples").mkdir()
        (folder / "samples" / "c_sample-1.nii.gz").write_text("content")
        assert ask("samples/c_sample-1.nii.gz")[0].status == 200
    assert len(listed) == 4
