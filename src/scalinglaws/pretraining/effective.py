"""What our own models gained from reading other books first, in tokens of the target (Hernandez et al. 2021)."""

from __future__ import annotations

import numpy as np
import pandas as pd


def transferred(finetuned: pd.DataFrame) -> pd.DataFrame:
    """D_T of each size, amount and seed: N, D_F, seed, D_T in tokens.

    D_T = D* − D_F with D* the amount at which training from scratch reaches the loss of the pretrained model; between
    the amounts that were trained log D* is linear in the loss. NaN where the loss lies outside of theirs.
    """
    rows = []
    for (N, seed), own in finetuned.groupby(["N", "seed"]):
        scratch = own[~own["pretrained"]].sort_values("loss")  # the lowest loss, the most tokens, first
        for _, run in own[own["pretrained"]].sort_values("amount").iterrows():
            log = np.interp(run["loss"], scratch["loss"], np.log(scratch["amount"]), left=np.nan, right=np.nan)
            rows.append((N, float(run["amount"]), seed, float(np.exp(log)) - run["amount"]))
    return pd.DataFrame(rows, columns=["N", "D_F", "seed", "D_T"])
