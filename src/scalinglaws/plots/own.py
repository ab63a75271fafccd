"""Figures of our own runs that belong to no single paper."""

from __future__ import annotations

import numpy as np

from .fitted import budget_colours


def known_entropy(fig, points, law, entropy, table):
    """Left: loss above the entropy against tokens, a colour a size, with the fitted surface. Right: E − H.

    points: N_total, D, above. table: "fitted to", "E − H" and its interval, a row a window.
    """
    left, right = fig.subplots(1, 2, width_ratios=[3, 2])
    sizes = sorted(points["N_total"].unique())
    for N, colour in zip(sizes, budget_colours(sizes), strict=True):
        part = points[points["N_total"] == N].sort_values("D")
        D = np.geomspace(part["D"].min(), part["D"].max(), 40)
        left.plot(part["D"], part["above"], "o", ms=4, color=colour, label=f"{N:,}")
        left.plot(D, law.predict(N, D) - entropy, color=colour, lw=1.1)
    left.set(xscale="log", xlabel="tokens D", ylabel="loss above the entropy (nats)")
    left.set_ylim(bottom=0)
    left.legend(title="parameters", fontsize=7, title_fontsize=7.5, ncols=2)
    at = np.arange(len(table))[::-1]
    middle = table["E − H"]
    spread = [middle - table["2.5 %"], table["97.5 %"] - middle]
    right.errorbar(middle, at, xerr=spread, fmt="o", ms=5, capsize=3, color="C0")
    right.axvline(0, color="0.5", lw=1, ls=":")
    right.set(yticks=at, yticklabels=table["fitted to"], xlabel="fitted E − entropy (nats)")
    right.set_ylim(-0.6, len(table) - 0.4)


def schedules(fig, excess, lengths):
    """Left: loss above the matched cosine's, by cycle, a point a seed. Right: loss against tokens by schedule.

    excess: index cycle, a column a seed. lengths: kind, seed, D, loss.
    """
    left, right = fig.subplots(1, 2)
    for seed in excess.columns:
        left.plot(excess.index, excess[seed], "o", ms=4, color="C0", alpha=0.6)
    left.plot(excess.index, excess.mean(axis=1), color="C0", lw=1.3, label="mean of the seeds")
    left.axhline(0, color="0.5", lw=0.8)
    left.axvline(1.25, color="C1", lw=1, ls=":", label="25 % longer")
    left.set(
        xscale="log", xlabel="cosine cycle over training length", ylabel="loss above the matched cosine's"
    )
    left.set(xticks=list(excess.index), xticklabels=[f"{c:g}" if c != 1.1 else "" for c in excess.index])
    left.minorticks_off()
    left.legend()
    marks = {"cosine of that length": "o-", "constant, then cooled down": "D--", "constant": "s:"}
    for k, (kind, mark) in enumerate(marks.items()):
        mean = lengths[lengths["kind"] == kind].groupby("D")["loss"].mean()
        right.plot(mean.index, mean, mark, ms=5, lw=1.2, color=f"C{k}", label=kind)
    right.set(xscale="log", xlabel="tokens D", ylabel="held-out loss (nats per token)")
    right.legend()
