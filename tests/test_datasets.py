"""Mirror → cache → download against a server on this machine, and every way it can go wrong."""

from __future__ import annotations

import hashlib
import http.server
import tarfile
import threading

import pytest

from scalinglaws import datasets
from scalinglaws.commands import data as data_command
from scalinglaws.datasets import registry

CONTENT = b"N,D,loss\n1,2,3\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves good.csv whole, changed.csv with other bytes, short.csv cut off; anything else is 404."""

    def do_GET(self):
        self.server.requests.append(self.path)
        body = {"/good.csv": CONTENT, "/changed.csv": b"other", "/short.csv": CONTENT}.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:5] if self.path == "/short.csv" else body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.requests = []
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def world(tmp_path, monkeypatch, server):
    """A registry of small datasets on that server, an empty cache and an empty mirror."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    entry = lambda name: {
        "title": name, "source": "here", "licence": "none", "base_url": f"http://127.0.0.1:{server.server_port}/",
        "files": [{"name": f"{name}.csv", "sha256": digest, "bytes": len(CONTENT)}],
    }  # fmt: skip
    fake = {name: entry(name) for name in ("good", "changed", "short", "gone")}
    monkeypatch.setattr(registry, "_registry", lambda: fake)
    monkeypatch.setattr(registry, "_missing", {})
    monkeypatch.setenv("SCALINGLAWS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SCALINGLAWS_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.delenv("SCALINGLAWS_OFFLINE", raising=False)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def files_in(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def test_download_then_cache(world, server):
    path = datasets.fetch("good", progress=False)["good.csv"]
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(world / "cache")
    assert server.requests == ["/good.csv"]
    datasets.fetch("good", progress=False)
    assert server.requests == ["/good.csv"]
    assert files_in(world / "cache") == ["good.csv"]
    assert registry.present("good")


def test_the_mirror_comes_first_and_nothing_is_downloaded(world, server):
    (world / "mirror" / "good").mkdir(parents=True)
    (world / "mirror" / "good" / "good.csv").write_bytes(CONTENT)
    assert datasets.fetch("good")["good.csv"].is_relative_to(world / "mirror")
    assert server.requests == []


def test_a_changed_mirror_file_is_refused(world):
    (world / "mirror" / "good").mkdir(parents=True)
    copy = world / "mirror" / "good" / "good.csv"
    copy.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(datasets.DataError, match=r"mirror copy .*good\.csv has another sha256.*replace it"):
        datasets.fetch("good")
    copy.write_bytes(CONTENT[:4])
    with pytest.raises(datasets.DataError, match=r"has 4 bytes where the registry says 15.*truncated"):
        datasets.fetch("good")


@pytest.mark.parametrize("name", ["changed", "short"])
def test_a_wrong_or_cut_off_download_leaves_nothing(world, name):
    with pytest.raises(datasets.DataError) as caught:
        datasets.fetch(name, progress=False)
    assert "\n" not in str(caught.value)
    assert files_in(world / "cache") == []


def test_a_damaged_cache_is_repaired_from_the_source(world, server):
    path = datasets.fetch("good", progress=False)["good.csv"]
    path.write_bytes(b"damaged")
    assert datasets.fetch("good", progress=False)["good.csv"].read_bytes() == CONTENT
    assert server.requests == ["/good.csv"] * 2


def test_a_damaged_cache_without_network_says_so(world, monkeypatch):
    path = datasets.fetch("good", progress=False)["good.csv"]
    path.write_bytes(b"damaged")
    monkeypatch.setenv("SCALINGLAWS_OFFLINE", "1")
    with pytest.raises(datasets.DataError, match=r"cached copy .* has 7 bytes"):
        datasets.fetch("good")


def test_missing_says_where_to_put_the_file_and_asks_once(world, server):
    for _ in range(2):
        with pytest.raises(
            datasets.DataMissing, match=r"server answered 404.*Fetch http.*gone\.csv to .*SCALINGLAWS_MIRROR"
        ):
            datasets.fetch("gone", progress=False)
    assert server.requests == ["/gone.csv"]
    registry.forget_missing()
    with pytest.raises(datasets.DataMissing):
        datasets.fetch("gone", progress=False)
    assert server.requests == ["/gone.csv"] * 2


def test_no_connection_is_one_line(world, server):
    server.shutdown()
    server.server_close()
    with pytest.raises(datasets.DataMissing, match="no connection") as caught:
        datasets.fetch("good", progress=False)
    assert "\n" not in str(caught.value)
    assert files_in(world / "cache") == []


def test_offline_forbids_the_download(world, server, monkeypatch):
    monkeypatch.setenv("SCALINGLAWS_OFFLINE", "1")
    with pytest.raises(datasets.DataMissing, match="SCALINGLAWS_OFFLINE is set"):
        datasets.fetch("good")
    assert server.requests == []


def test_a_cache_that_cannot_be_written_is_named(world, monkeypatch):
    (world / "file").write_text("")
    monkeypatch.setenv("SCALINGLAWS_CACHE", str(world / "file" / "below"))
    with pytest.raises(datasets.DataError, match="set SCALINGLAWS_CACHE to a folder with room"):
        datasets.fetch("good", progress=False)


def test_collections_unpack_from_the_mirror_and_download_the_rest(world, server, monkeypatch):
    digest = hashlib.sha256(CONTENT).hexdigest()
    members = [
        registry.File(n, f"http://127.0.0.1:{server.server_port}/good.csv", digest, len(CONTENT))
        for n in ("a/one.txt", "b/two.txt")
    ]
    (world / "mirror" / "books").mkdir(parents=True)
    (world / "one.txt").write_bytes(CONTENT)
    tar = world / "mirror" / "books" / "raw.tar"
    with tarfile.open(tar, "w") as handle:
        handle.add(world / "one.txt", "a/one.txt")
    raw = tar.read_bytes()
    entry = {
        "manifest": "x",
        "archive": {"name": "raw.tar", "sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)},
        "files": [],
    }
    monkeypatch.setattr(registry, "_registry", lambda: {"books": entry})
    monkeypatch.setattr(registry, "manifest", lambda name: members)
    paths = datasets.fetch("books", progress=False)
    assert [p.read_bytes() for p in paths.values()] == [CONTENT, CONTENT]
    assert server.requests == ["/good.csv"]
    assert files_in(world / "cache") == ["one.txt", "two.txt"]


def test_the_registry_is_complete():
    for name in datasets.names():
        entry = datasets.describe(name)
        assert {"title", "source", "licence", "cite", "description", "base_url"} <= entry.keys()
        assert "@" in entry["source"] or "releases" in entry["source"]
        for f in entry["files"]:
            assert len(f["sha256"]) == 64
            assert f["bytes"] > 0
    assert {"epoch", "porian", "monkeys", "math500", "evalplus", "tinyshakespeare", "gutenberg"} == set(
        datasets.names()
    )
    books = datasets.gutenberg_manifest()
    assert len(books) == 483
    assert books["sha256"].str.len().eq(64).all()
    assert books["path"].is_unique
    with pytest.raises(datasets.DataError, match="there are: epoch"):
        datasets.describe("pile")
    with pytest.raises(datasets.DataError, match="no table"):
        datasets.load("pile")


def test_data_command_goes_on_after_a_failure(world, capsys):
    from argparse import Namespace

    assert data_command.run(Namespace(names=["gone", "good"], list=False)) == 1
    out = capsys.readouterr()
    assert "good: 1 file(s), 0.0 MB, hashes agree" in out.out
    assert "gone: gone.csv is in neither mirror nor cache" in out.err
    assert data_command.run(Namespace(names=[], list=True)) == 0
    assert "changed" in capsys.readouterr().out
