"""What worse text is worth beside good text that repeats: our own runs (Goyal et al. 2024)."""

from __future__ import annotations

import numpy as np
import pandas as pd


def losses(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a cooled-down branch: N, seed, noised (share of worse text), D, loss in nats per token, and the gain.

    gain: loss of the run of equal N, seed and D on good text alone, less this one's.
    """
    rows = [
        {"N": r.N, "seed": r.seed, "noised": r.noised, "D": D, "loss": loss}
        for r in runs.itertuples()
        for D, loss in zip(r.branch_tokens, r.branch_loss, strict=True)
    ]
    table = pd.DataFrame(rows)
    clean = table[table["noised"] == 0].set_index(["N", "seed", "D"])["loss"]
    return table.assign(gain=clean.reindex(pd.MultiIndex.from_frame(table[["N", "seed", "D"]])).to_numpy() - table["loss"])


def best_share(table: pd.DataFrame) -> pd.DataFrame:
    """The share with the lowest loss for each N, seed (rows) and D (columns)."""
    best = table.loc[table.groupby(["N", "seed", "D"])["loss"].idxmin()]
    return best.pivot(index=["N", "seed"], columns="D", values="noised")


def cells(table: pd.DataFrame, noised: float, D: float) -> np.ndarray:
    """The gain of one share at one length, a value each size and seed."""
    own = table[(table["noised"] == noised) & (table["D"] == D)]
    return own.sort_values(["N", "seed"])["gain"].to_numpy()
