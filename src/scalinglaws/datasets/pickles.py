"""Pickled pandas tables of others, read by an unpickler that knows nothing but the names such tables need."""

from __future__ import annotations

import io
import lzma
import pickle

import numpy as np
import pandas as pd
from numpy._core import multiarray, numeric
from pandas._libs import internals as blocks
from pandas.core import internals
from pandas.core.indexes.base import _new_Index

KNOWN = {
    ("builtins", "slice"): slice,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy.core.multiarray", "_reconstruct"): multiarray._reconstruct,
    ("numpy.core.multiarray", "scalar"): multiarray.scalar,
    ("numpy.core.numeric", "_frombuffer"): numeric._frombuffer,  # type: ignore[attr-defined]
    ("pandas._libs.internals", "_unpickle_block"): blocks._unpickle_block,
    ("pandas.core.frame", "DataFrame"): pd.DataFrame,
    ("pandas.core.series", "Series"): pd.Series,
    ("pandas.core.indexes.base", "Index"): pd.Index,
    ("pandas.core.indexes.base", "_new_Index"): _new_Index,
    ("pandas.core.indexes.range", "RangeIndex"): pd.RangeIndex,
    ("pandas.core.internals.managers", "BlockManager"): internals.BlockManager,
    ("pandas.core.internals.managers", "SingleBlockManager"): internals.SingleBlockManager,
}
"""Every global that the pickles may name, and what it is here; nothing is imported by name."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        try:
            return KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no table needs") from None


def read(content: bytes) -> pd.DataFrame:
    """The table in the bytes of an xz-compressed pickle. Raises ValueError, in one line, for anything else."""
    try:
        table = _Unpickler(io.BytesIO(lzma.decompress(content))).load()
    except Exception as error:  # a pickle is a program: it can fail in every way
        raise ValueError(
            f"no pickled table: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from None
    if type(table) is not pd.DataFrame:
        raise ValueError(f"no pickled table: it holds {type(table).__name__}")
    return table
