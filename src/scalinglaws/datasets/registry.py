"""Mirror → cache → download, the hash checked each time.

`data/registry.toml` names every file by public URL and sha256. A file is looked for in the
folder `SCALINGLAWS_MIRROR` (laid out DATASET/FILE), then in the user's cache
(`SCALINGLAWS_CACHE`, by default the platform's), then downloaded into the cache with pooch,
which writes to a temporary name and renames only a file whose hash is right. Downloads are over https, redirects
included, never longer than the registered size, and end when the server falls silent or dawdles.
`SCALINGLAWS_OFFLINE=1` forbids the download.
"""

from __future__ import annotations

import csv
import hashlib
import os
import tarfile
import time
import tomllib
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from ..paths import data_file

SCHEMES = ("https",)
"""How a file may be asked for, after redirects too."""
IDLE = 30.0
"""Seconds to wait for a server's next word."""
SLOWEST = 20e3
"""Bytes a second that a server must keep up over the whole file, a minute aside."""
# Datasets found missing once: a chapter asks many times and should wait for the network once.
_missing: dict[str, str] = {}


class DataError(Exception):
    """A file is there but wrong, or the registry does not know it. One line, with the remedy."""


class DataMissing(DataError):
    """A file is in neither mirror nor cache and cannot be downloaded."""


@dataclass(frozen=True)
class File:
    """One file of a dataset: name in mirror and cache, public URL, sha256, size in bytes."""

    name: str
    url: str
    sha256: str
    bytes: int


@cache
def _registry() -> dict:
    return tomllib.loads(data_file("registry.toml").read_text(encoding="utf-8"))


def names() -> list[str]:
    """The datasets in the registry."""
    return list(_registry())


def describe(name: str) -> dict:
    """The registry's entry: title, source, licence, description, cite. Raises DataError for an unknown name."""
    if name not in _registry():
        raise DataError(f"no dataset {name!r} in data/registry.toml; there are: {', '.join(names())}")
    return _registry()[name]


def _files(name: str) -> list[File]:
    entry = describe(name)
    files = [
        File(f["name"], entry["base_url"] + f.get("path", f["name"]), f["sha256"], f["bytes"])
        for f in entry["files"]
    ]
    return files


def mirror() -> Path | None:
    """The offline mirror, if `SCALINGLAWS_MIRROR` names one."""
    folder = os.environ.get("SCALINGLAWS_MIRROR")
    return Path(folder) if folder else None


def cache_folder() -> Path:
    """Where downloads are kept."""
    if folder := os.environ.get("SCALINGLAWS_CACHE"):
        return Path(folder)
    return Path(_pooch().os_cache("scalinglaws"))


def _pooch():
    """pooch, imported when needed: reading a mirror or fitting runs takes neither it nor its half second."""
    with warnings.catch_warnings():  # tqdm complains in notebooks without widgets; its text bar is fine
        warnings.filterwarnings("ignore", message="IProgress not found")
        import pooch

    return pooch


def fetch(name: str, progress: bool = True) -> dict[str, Path]:
    """Local paths of a dataset's files by name, each with the registered hash.

    Raises DataMissing where a file cannot be had, DataError where a copy is damaged.
    """
    if name in _missing:
        raise DataMissing(_missing[name])
    try:
        if describe(name).get("manifest"):
            return _fetch_collection(name, progress)
        return {file.name: _fetch_file(name, file, progress) for file in _files(name)}
    except DataMissing as error:
        _missing[name] = str(error)
        raise


def _fetch_file(dataset: str, file: File, progress: bool) -> Path:
    if (at := mirror()) and (path := at / dataset / file.name).is_file():
        _check(path, file, "mirror")
        return path
    path = cache_folder() / dataset / file.name
    if path.is_file() and _sha256(path) == file.sha256:
        return path
    if os.environ.get("SCALINGLAWS_OFFLINE"):
        if path.is_file():
            _check(path, file, "cached")
        raise DataMissing(_how_to_get(dataset, file, path, "SCALINGLAWS_OFFLINE is set"))
    pooch = _pooch()
    import requests
    import urllib3

    pooch.get_logger().setLevel("INFO" if progress else "WARNING")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(
            file.url,
            known_hash=f"sha256:{file.sha256}",
            fname=path.name,
            path=path.parent,
            downloader=lambda url, target, _: _download(url, Path(target), file, progress),
        )
    except _Refused as error:
        raise DataMissing(_how_to_get(dataset, file, path, str(error))) from None
    except requests.exceptions.HTTPError as error:
        raise DataMissing(
            _how_to_get(
                dataset,
                file,
                path,
                f"the server answered {getattr(error.response, 'status_code', 'nothing')}",
            )
        ) from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise DataMissing(
            _how_to_get(dataset, file, path, f"no connection ({type(error).__name__})")
        ) from None
    except ValueError:  # pooch's word for another hash
        raise DataError(
            f"{dataset}: the download of {file.name} has another sha256 than data/registry.toml; nothing was kept. "
            "Try again; if it persists the source has changed and the registry must be reviewed"
        ) from None
    except OSError as error:
        raise DataMissing(
            f"{dataset}: cannot write {path}: {error.strerror}; set SCALINGLAWS_CACHE to a folder with room"
        ) from None
    return path


class _Refused(Exception):
    """Why a download was not taken, or not to its end."""


def _download(url: str, target: Path, file: File, progress: bool) -> None:
    """Write what the server sends, as long as it keeps to the rules of the module. Raises _Refused."""
    import requests
    from tqdm import tqdm

    until, got = time.monotonic() + 60 + file.bytes / SLOWEST, 0
    with requests.Session() as session, target.open("wb") as handle:
        for _ in range(6):
            if urlsplit(url).scheme not in SCHEMES:
                raise _Refused(f"only {' and '.join(SCHEMES)} is used, not {url.split(':')[0]}:")
            response = session.get(
                url, stream=True, allow_redirects=False, timeout=IDLE, headers={"accept-encoding": "identity"}
            )
            if not response.is_redirect:
                break
            url = urljoin(url, response.headers["location"])
        else:
            raise _Refused("the server redirects without end")
        response.raise_for_status()
        with response, tqdm(total=file.bytes, unit="B", unit_scale=True, disable=not progress) as bar:
            while piece := response.raw.read1(1 << 16):  # what is there, without waiting for more
                got += len(piece)
                if got > file.bytes:
                    raise _Refused(
                        f"the server sends more than the {file.bytes} bytes that the registry says"
                    )
                if time.monotonic() > until:
                    raise _Refused(f"the server took too long: {got} of {file.bytes} bytes")
                handle.write(piece)
                bar.update(len(piece))


def content(name: str, file: str) -> bytes:
    """The bytes of a dataset's file, read once and hashed as read. Raises as `fetch`."""
    (known,) = (f for f in _files(name) if f.name == file)
    read = fetch(name)[file].read_bytes()
    if hashlib.sha256(read).hexdigest() != known.sha256:
        raise DataError(
            f"{name}: {file} was changed while it was read. Delete it or replace it, then try again"
        )
    return read


def _check(path: Path, file: File, which: str):
    size = path.stat().st_size
    if size != file.bytes:
        raise DataError(
            f"the {which} copy {path} has {size} bytes where the registry says {file.bytes}: "
            "it is truncated or another version. Delete it or replace it, then try again"
        )
    if _sha256(path) != file.sha256:
        raise DataError(
            f"the {which} copy {path} has another sha256 than data/registry.toml: "
            "it was changed. Delete it or replace it, then try again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _how_to_get(dataset, file, path, reason):
    return (
        f"{dataset}: {file.name} is in neither mirror nor cache and was not downloaded: {reason}. "
        f"Fetch {file.url} to {path}, or set SCALINGLAWS_MIRROR to a folder that holds {dataset}/{file.name}"
    )


@cache
def manifest(name: str) -> list[File]:
    """The files of a collection (483 books, 104 models), from the project's own list of hashes."""
    entry = describe(name)
    with data_file(entry["manifest"]).open(encoding="utf-8", newline="") as handle:
        return [
            File(r["path"], entry["base_url"] + quote(r["path"]), r["sha256"], int(r["bytes"]))
            for r in csv.DictReader(handle)
        ]


def _fetch_collection(name: str, progress: bool) -> dict[str, Path]:
    """Each member of a collection: unpacked from the mirror's archive, if it has one, else as any other file."""
    members = manifest(name)
    archive = describe(name).get("archive")
    folder = cache_folder() / name
    absent = [
        m for m in members if not (folder / m.name).is_file() or (folder / m.name).stat().st_size != m.bytes
    ]
    if archive and absent and (at := mirror()) and (tar := at / name / archive["name"]).is_file():
        _check(tar, File(archive["name"], "", archive["sha256"], archive["bytes"]), "mirror")
        _unpack(tar, folder, {m.name for m in absent})
    return {m.name: _fetch_file(name, m, progress) for m in members}


def _unpack(tar: Path, folder: Path, wanted: set[str]):
    """Extract members under their repository paths, each through a temporary name."""
    with tarfile.open(tar) as handle:
        for member in handle:
            if member.isfile() and member.name.removeprefix("./") in wanted:
                target = folder / member.name.removeprefix("./")
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(target.name + ".part")
                part.write_bytes(handle.extractfile(member).read())  # type: ignore[union-attr]  # a file, as asked above
                part.replace(target)


def present(name: str) -> bool:
    """Whether every file is already in mirror or cache, by name and size; nothing is downloaded or hashed."""
    files = manifest(name) if describe(name).get("manifest") else _files(name)
    return all(_local(name, f) for f in files)


def _local(name: str, file: File) -> bool:
    folders = [f for f in (cache_folder(), mirror()) if f]
    return any(
        (p := folder / name / file.name).is_file() and p.stat().st_size == file.bytes for folder in folders
    )


def forget_missing() -> None:
    """Try again to download datasets that could not be had."""
    _missing.clear()
