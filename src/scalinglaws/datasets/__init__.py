"""External datasets: a hash-checked registry, and loaders that return tidy tables."""

from .registry import DataError, DataMissing, describe, fetch, names
from .tables import COLUMNS, gutenberg_manifest, load, paper_table

__all__ = [
    "COLUMNS",
    "DataError",
    "DataMissing",
    "describe",
    "fetch",
    "gutenberg_manifest",
    "load",
    "names",
    "paper_table",
]
