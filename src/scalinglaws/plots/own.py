"""Figures of our own runs that belong to no single paper."""

from __future__ import annotations

import numpy as np

from ..figures import KINDS, OURS, PAPER
from .marks import key, ordered, rule, size, sizes, whiskers


def known_entropy(fig, points, law, entropy, table):
    """Left: loss above the entropy against tokens, a colour a size, with the fitted surface. Right: E − H.

    points: N_total, D, above. table: "fitted to", "E − H" and its interval, a row a window.
    """
    left, right = fig.subplots(1, 2, width_ratios=[3, 2])
    all_sizes = sorted(points["N_total"].unique())
    for N, colour in zip(all_sizes, ordered(all_sizes), strict=True):
        part = points[points["N_total"] == N].sort_values("D")
        D = np.geomspace(part["D"].min(), part["D"].max(), 40)
        left.plot(part["D"], part["above"], "o", ms=4, color=colour, label=size(N))
        left.plot(D, law.predict(N, D) - entropy, color=colour, lw=1.1)
    left.set(xscale="log", xlabel="tokens $D$", ylabel="loss above the entropy (nats)")
    left.set_ylim(bottom=0)
    sizes(left.xaxis)
    at = np.arange(len(table))[::-1]
    whiskers(right, table["E − H"], at, table["2.5 %"], table["97.5 %"], upright=False, color=OURS)
    rule(right, 0)
    right.set(yticks=at, yticklabels=[f.replace(" ", "\n", 1) for f in table["fitted to"]])
    right.set(xlabel="fitted $E$ − entropy (nats)", ylim=(-0.6, len(table) - 0.4))
    key(fig, left, ncols=4, title="parameters:")


def schedules(fig, excess, lengths):
    """Left: loss above the matched cosine's, by cycle, a point a seed. Right: loss against tokens by schedule.

    excess: index cycle, a column a seed. lengths: kind, seed, D, loss.
    """
    left, right = fig.subplots(1, 2)
    for seed in excess.columns:
        left.plot(excess.index, excess[seed], "o", ms=4, color=OURS, alpha=0.6)
    left.plot(excess.index, excess.mean(axis=1), color=OURS)
    rule(left, y=0)
    rule(left, 1.25, text="25 % longer", color=PAPER)
    left.set(xscale="log", xlabel="cosine cycle over training length")
    left.set_ylabel("loss above the matched cosine's")
    left.set(xticks=list(excess.index), xticklabels=[f"{c:g}" if c != 1.1 else "" for c in excess.index])
    left.minorticks_off()
    left.tick_params(axis="x", labelrotation=60)
    marks = {"cosine of that length": "o-", "constant, then cooled down": "D--", "constant": "s:"}
    for colour, (kind, mark) in zip(KINDS, marks.items(), strict=False):
        mean = lengths[lengths["kind"] == kind].groupby("D")["loss"].mean()
        right.plot(mean.index, mean, mark, color=colour, label=kind)
    right.set(xscale="log", xlabel="tokens $D$", ylabel="held-out loss (nats per token)")
    sizes(right.xaxis)
    key(fig, right)
