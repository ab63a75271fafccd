"""Mirror → cache → download against a server on this machine, and every way it can go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import lzma
import pickle
import tarfile
import threading
from typing import ClassVar

import pandas as pd
import pytest

from scalinglaws import datasets
from scalinglaws.commands import data as data_command
from scalinglaws.datasets import pickles, registry

CONTENT = b"N,D,loss\n1,2,3\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves good.csv whole, changed.csv with other bytes, short.csv cut off; anything else is 404.

    endless.csv never ends, drip.csv comes byte by byte, silent.csv stops; moved.csv leads to good.csv, others astray.
    """

    moves: ClassVar = {
        "/moved.csv": "/good.csv",
        "/local.csv": "file:///etc/hostname",
        "/loop.csv": "/loop.csv",
    }

    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path in self.moves:
            self.send_response(302)
            self.send_header("location", self.moves[self.path])
            self.end_headers()
            return
        if self.path in ("/endless.csv", "/drip.csv", "/silent.csv"):
            self.send_response(200)
            self.end_headers()
            piece = b"x" * 65536 if self.path == "/endless.csv" else b"x"
            with contextlib.suppress(OSError):
                while not self.server.done.wait(0.0 if self.path == "/endless.csv" else 0.05):
                    self.wfile.write(piece)
                    self.wfile.flush()
                    if self.path == "/silent.csv":
                        self.server.done.wait()
            return
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
    httpd.requests, httpd.done = [], threading.Event()
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield httpd
    httpd.done.set()
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
    names = ("good", "changed", "short", "gone", "endless", "drip", "silent", "moved", "local", "loop")
    fake = {name: entry(name) for name in names}
    monkeypatch.setattr(registry, "SCHEMES", ("https", "http"))  # the server here has no certificate
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


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("endless", "sends more than the 15 bytes that the registry says"),
        ("drip", "took too long: .* of 15 bytes|sends more"),
        ("silent", "no connection"),
        ("local", "only https and http is used, not file:"),
        ("loop", "redirects without end"),
    ],
)
def test_a_server_that_does_not_keep_to_the_rules_is_left(world, name, reason, monkeypatch):
    """Too long, too slow, silent, leading elsewhere: one line, nothing kept."""
    monkeypatch.setattr(registry, "IDLE", 0.5)
    if name == "drip":
        monkeypatch.setattr(registry, "SLOWEST", -15 / 59.8)  # 0.2 s in all
    with pytest.raises(datasets.DataMissing, match=reason) as caught:
        datasets.fetch(name, progress=False)
    assert "\n" not in str(caught.value)
    assert files_in(world / "cache") == []


def test_a_redirect_is_followed_and_only_https_is_used(world, server, monkeypatch):
    assert datasets.fetch("moved", progress=False)["moved.csv"].read_bytes() == CONTENT
    monkeypatch.setattr(registry, "SCHEMES", ("https",))
    asked = list(server.requests)
    with pytest.raises(datasets.DataMissing, match="only https is used, not http:"):
        datasets.fetch("good", progress=False)
    assert server.requests == asked
    assert registry.SCHEMES == ("https",)


# ---- pickles ----------------------------------------------------------------------------------------------


class Runs:
    """What a hostile pickle calls when it is read."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def test_only_tables_are_unpickled(tmp_path):
    mark = tmp_path / "ran"
    for call, argument in (
        (eval, f"open({str(mark)!r}, 'w')"),
        (
            open,
            str(mark),
        ),
        (exec, "1"),
        (getattr, "1"),
    ):
        for value in (Runs(call, argument), {"a": [Runs(call, argument)]}):
            with pytest.raises(
                ValueError, match=r"no pickled table: '?it names (builtins|io|_io)\.\w+, which"
            ) as caught:
                pickles.read(lzma.compress(pickle.dumps(value)))
            assert "\n" not in str(caught.value)
    assert not mark.exists()
    for content in (
        b"",
        b"no xz",
        lzma.compress(b""),
        lzma.compress(pickle.dumps([1])),
        lzma.compress(b"no pickle"),
    ):
        with pytest.raises(ValueError, match="no pickled table"):
            pickles.read(content)


def test_the_published_pickles_read_as_pandas_reads_them(needed, monkeypatch):
    names = ("porian_points", "porian_frontier", "porian_exponents")
    ours = [needed(name) for name in names]
    monkeypatch.setattr(
        pickles, "read", lambda content: pd.read_pickle(io.BytesIO(content), compression="xz")
    )
    for name, table in zip(names, ours, strict=True):
        pd.testing.assert_frame_equal(table, datasets.load(name))


def test_what_is_unpickled_is_what_was_hashed(world, monkeypatch):
    """A file that is swapped after `fetch` has checked it is not read."""
    path = datasets.fetch("good", progress=False)["good.csv"]
    assert registry.content("good", "good.csv") == CONTENT
    monkeypatch.setattr(registry, "fetch", lambda name: {"good.csv": path})
    path.write_bytes(b"swapped")
    with pytest.raises(datasets.DataError, match=r"good\.csv was changed while it was read"):
        registry.content("good", "good.csv")


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
    assert {"epoch", "porian", "monkeys", "math500", "gsm8k", "evalplus", "tinyshakespeare", "gutenberg", "datablations",
            "gadre", "openclip", "sloth", "olmoladder", "obsscaling"} == set(datasets.names())  # fmt: skip
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
