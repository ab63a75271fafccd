"""Values on their way to a program of unknown origin and back: plain data as JSON, and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

LONGEST = 2**16
"""Characters of a value that is sent whole."""
PLAIN = (bool, int, float, str, type(None))


class NotPlain(Exception):
    """A value that is, or holds, an object without contents of its own. Its argument: the name of its type."""


def name_of(value) -> str:
    """The name of a value's type, whatever a metaclass says."""
    return type.__dict__["__name__"].__get__(type(value))[:80]


def encode(value) -> object:
    """Plain data as JSON: collections other than lists as {kind: …}, a match of a regular expression as its span.

    Subclasses count as the built-in type they extend, read by that type's own methods, so that an object that
    claims to equal everything is only what it holds. Sets and dictionaries come in a fixed order. Raises NotPlain.
    """
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        value = int.__add__(value, 0)
        return value if abs(value) < 2**63 else {"int": hex(value)}
    if isinstance(value, float):
        return float.__pos__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, complex):
        return {"complex": [complex.__pos__(value).real, complex.__pos__(value).imag]}
    if isinstance(value, bytes):
        return {"bytes": bytes.hex(value)}
    if isinstance(value, list):
        return [encode(v) for v in list.__iter__(value)]
    if isinstance(value, tuple):
        return {"tuple": [encode(v) for v in tuple.__iter__(value)]}
    if isinstance(value, dict):
        pairs = [[encode(k), encode(v)] for k, v in dict.items(value)]
        return {"dict": sorted(pairs, key=json.dumps)}
    kind: Any
    for kind in (set, frozenset):
        if isinstance(value, kind):
            return {"set": sorted((encode(v) for v in kind.__iter__(value)), key=json.dumps)}
    if type(value) is re.Match:
        return {"match": list(value.span())}
    raise NotPlain(name_of(value))


def written(value) -> str:
    """`encode` as text; {"object": its type's name} for what is not plain.

    Beyond 64 KiB only its digest, whole numbers written alike: such values are equal or not.
    """
    try:
        text = json.dumps(encode(value), separators=(",", ":"))
    except NotPlain as error:
        return json.dumps({"object": str(error)})
    if len(text) <= LONGEST:
        return text
    if not isinstance(value, str):
        text = re.sub(r"(?<=\d)\.0(?=[],}]|$)", "", text)
    return json.dumps({"digest": hashlib.sha256(text.encode()).hexdigest()})


def decode(data):
    """The value that `written` was given; an `Opaque` for an object or a digest. Raises ValueError or TypeError."""
    if isinstance(data, PLAIN):
        return data
    if isinstance(data, list):
        return [decode(d) for d in data]
    if not isinstance(data, dict) or len(data) != 1:
        raise ValueError("no encoded value")
    ((kind, inner),) = data.items()
    if kind == "int":
        return int(inner, 16)
    if kind == "complex":
        return complex(*map(float, inner))
    if kind == "bytes":
        return bytes.fromhex(inner)
    if kind == "tuple":
        return tuple(decode(d) for d in inner)
    if kind == "dict":
        return {decode(k): decode(v) for k, v in inner}
    if kind == "set":
        return {decode(d) for d in inner}
    if kind == "match":
        return Match(*map(int, inner))
    if kind in ("object", "digest"):
        return Opaque(str(inner))
    raise ValueError("no encoded value")


@dataclass(frozen=True)
class Match:
    """Where a regular expression matched: all that is kept of a `re.Match`."""

    start: int
    end: int


class Opaque:
    """What a program returned that is no plain data, or too long: known by a name, equal to nothing."""

    def __init__(self, name: str):
        self.name = name

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other) -> bool:
        return False
