"""Figures of the chapter beyond Chinchilla."""

from __future__ import annotations

import numpy as np

from ..figures import OTHER, OURS, PAPER, REFERENCE
from .marks import FLOPS, band, counts, key, label_ends, ordered, plain, rule, size, sizes, whiskers


def valley(fig, surface, marks, dots):
    """Excess of an objective over two constants.

    surface: (R_D, R_N, excess [R_N, R_D]); marks: name → (R_D, R_N); dots: (R_D, R_N) of resampled runs.
    """
    ax = fig.subplots()
    R_D, R_N, excess = surface
    levels = [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0]
    filled = ax.contourf(R_D, R_N, np.maximum(excess, 1e-6), levels=[0.0, *levels[1:]], alpha=0.6, extend="max")
    inside = (dots[0] < R_D[-1]) & (dots[1] > R_N[0])
    ax.plot(np.clip(dots[0], None, R_D[-1])[inside], np.clip(dots[1], R_N[0], None)[inside], ".", ms=3, color=OURS, alpha=0.5, label="resampled runs")
    for (name, (x, y)), colour, marker in zip(marks.items(), (PAPER, OURS), "Ds", strict=True):
        ax.plot([x], [y], marker, color=colour, mec="white", label=name)
    ax.set(xscale="log", yscale="log", xlabel="$R_D^*$ (epochs)", ylabel="$R_N^*$", xlim=(R_D[0], R_D[-1]), ylim=(R_N[0], R_N[-1]))
    bar = fig.colorbar(filled, ax=ax, label="objective over its lowest, less one")
    bar.ax.set_yticks([0.0, *levels[1:]], ["0", *(f"{v:g}" for v in levels[1:])])
    key(fig, ax)


def pairs(fig, table):
    """Excess of loss over fresh tokens against epochs, a line a size and length, darker for larger models."""
    ax = fig.subplots()
    sizes = sorted(table["N"].unique())
    for (N, _), own in table.groupby(["N", "D"]):
        colour = ordered(sizes)[sizes.index(N)]
        own = own.sort_values("epochs")
        ax.plot(own["epochs"], own["excess"], "o-", ms=4, lw=1, color=colour)
    ax.set(xscale="log", yscale="log", xlabel="epochs", ylabel="loss over that of fresh tokens, less one")
    rule(ax, 4, text="four epochs")
    rule(ax, y=0.01, text="one per cent")


def students(fig, theory, dots):
    """Error of students against kept examples a dimension: theory as lines, simulations as dots with two standard errors."""
    ax = fig.subplots()
    looks = zip((REFERENCE, OURS, OTHER, PAPER), ("o", "s", "D", "^"), strict=True)
    for (name, (a, error)), (colour, marker) in zip(theory.items(), looks, strict=True):
        ax.plot(a, error, color=colour, lw=1.2)
        at, mean, spread = dots[name]
        whiskers(ax, at, mean, mean - 2 * spread, mean + 2 * spread, marker=marker, ms=4, color=colour, label=name)
    counts(ax, dots[next(iter(theory))][0], "examples kept for each dimension")
    ax.set(yscale="log", ylabel="error")
    plain(ax.yaxis)
    key(fig, ax, ncols=2)


def halves(fig, pools, ratios):
    """Error with half of a pool over that with all of it, against the pool. ratios: name → [pools]."""
    ax = fig.subplots()
    for (name, ratio), colour in zip(ratios.items(), (OURS, OTHER), strict=True):
        ax.plot(pools, ratio, color=colour, label=name)
    rule(ax, y=1, text="all of it", end="left")
    counts(ax, [0.25, 1, 4, 16, 64], "examples in the pool for each dimension")
    ax.set(yscale="log", ylabel="error over that with all")
    plain(ax.yaxis)
    label_ends(ax)


def pools(fig, kept, panels):
    """Error against examples kept for each dimension, a line a share of the pool, a panel a probe. panels: title → {share: error}."""
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    for ax, (title, lines) in zip(axes, panels.items(), strict=True):
        for (name, error), colour in zip(lines.items(), ordered(lines), strict=True):
            ax.plot(kept, error, color=colour, label=name)
        counts(ax, [1, 2, 4, 8, 16], "examples kept for each dimension")
        rule(ax, 2)
        ax.set(yscale="log", title=title)
    axes[0].set_ylabel("error")
    key(fig, axes[0], ncols=5, title="share of the pool:")


def worths(fig, epochs, lines, band_ends):
    """Fresh epochs that repeated ones are worth: name → worth [epochs], first the paper's, then ours with the ends of its band."""
    ax = fig.subplots()
    ax.plot(epochs, epochs, "--", color=REFERENCE, lw=1, label="fresh data")
    (theirs, published), (ours, own) = lines.items()
    ax.plot(epochs, published, color=PAPER, label=theirs)
    band(ax, epochs, own, *band_ends, color=OURS, label=ours)
    ax.set(xscale="log", yscale="log", xlabel="epochs over the same data", ylabel="fresh epochs worth as much")
    label_ends(ax)


def advice(fig, table):
    """Epochs and parameters that a law advises against compute. table: law, C, epochs, N."""
    left, right = fig.subplots(1, 2)
    for (name, own), colour, marker in zip(table.groupby("law", sort=False), (PAPER, OURS), "Ds", strict=True):
        left.plot(own["C"], own["epochs"], "-", marker=marker, color=colour, label=name)
        right.plot(own["C"], own["N"], "-", marker=marker, color=colour)
    left.set(xscale="log", yscale="log", xlabel=FLOPS, ylabel="epochs")
    right.set(xscale="log", yscale="log", xlabel=FLOPS, ylabel="parameters $N$")
    sizes(right.yaxis)
    key(fig, left)


def epochs(fig, table):
    """Loss against tokens read, a panel a size, a line an amount of distinct text (U, nought for all of it)."""
    panels = table.groupby("N")
    axes = fig.subplots(1, panels.ngroups, sharey=True)
    for ax, (N, own) in zip(axes, panels, strict=True):
        amounts = sorted(own["U"].unique(), key=lambda u: u or np.inf)
        for U, colour in zip(amounts, ordered(amounts), strict=True):
            line = own[own["U"] == U]
            name = f"{size(U)} distinct" if U else "all distinct"
            ax.plot(line["D"], line["loss"], "o-", ms=3, color=colour, label=name)
        ax.set(xscale="log", xlabel="tokens read", title=f"$N$ = {size(N)}")
        sizes(ax.xaxis)
    axes[0].set_ylabel("loss (nats per token)")
    key(fig, axes[0], ncols=4)


def rounding(fig, table, law):
    """Loss that rounding adds, against tokens trained on: means over seeds, a colour a number of bits, a panel a size."""
    axes = fig.subplots(1, table["N"].nunique(), sharey=True)
    for ax, (N, own) in zip(axes, table.groupby("N"), strict=True):
        bits = sorted(table["P"].unique())
        for P, colour in zip(bits, ordered(bits), strict=True):
            mean = own[own["P"] == P].groupby("D")["added_loss"].mean()
            ax.plot(mean.index, mean, "o", ms=4, color=colour, label=f"{P:.0f} bits")
            ax.plot(mean.index, law.predict(N, mean.index.to_numpy(), P), color=colour, lw=1)
        ax.set(xscale="log", yscale="log", xlabel="tokens $D$", title=f"$N$ = {size(N)}")
        sizes(ax.xaxis)
    axes[0].set_ylabel("loss added (nats per token)")
    key(fig, axes[0], ncols=5)


def transfer(fig, table, law):
    """Tokens that pretraining is worth against tokens finetuned on, a colour a size, with a fitted law."""
    ax = fig.subplots()
    own_sizes = sorted(table["N"].unique())
    for N, colour in zip(own_sizes, ordered(own_sizes), strict=True):
        own = table[table["N"] == N].dropna()
        ax.plot(own["D_F"], own["D_T"], "o", color=colour, label=f"$N$ = {size(N)}")
        at = np.array([own["D_F"].min(), own["D_F"].max()])
        ax.plot(at, law.predict(at, N), color=colour, lw=1)
    ax.set(xscale="log", yscale="log", xlabel="tokens of the target $D_F$", ylabel="tokens it is worth $D_T$")
    sizes(ax.xaxis, ax.yaxis)
    key(fig, ax)


def schedules(fig, memories, errors):
    """Error of the annealing law against its memory: errors, name → [memories], shares of the loss."""
    ax = fig.subplots()
    for (name, own), colour, marker in zip(errors.items(), (REFERENCE, OURS), "so", strict=True):
        ax.plot(1 / (1 - np.asarray(memories)), 100 * np.asarray(own), "-", marker=marker, ms=4, color=colour, label=name)
    ax.set(xscale="log", xlabel="memory $1/(1-\\lambda)$ (steps)", ylabel="error (% of the loss)", ylim=(0, None))
    rule(ax, 1000)
    key(fig, ax)


def profiles(fig, lines, published):
    """Excess of the objective, the other constant free: name → (values, excess), a panel each; published: name → value."""
    for ax, (name, (at, excess)) in zip(fig.subplots(1, len(lines), sharey=True), lines.items(), strict=True):
        ax.plot(at, 100 * excess, color=OURS)
        rule(ax, published[name], text="published")
        ax.set(xscale="log", xlabel=f"${name}^*$", ylim=(0, 10))
    fig.axes[0].set_ylabel("objective over its lowest (%)")


def parallels(fig, runs, level, slopes):
    """Left: reducible loss against compute, a colour a number of tokens per parameter. Right: the exponent at each of them."""
    left, right = fig.subplots(1, 2)
    ratios = sorted(runs["M"].round().unique())
    for M, colour in zip(ratios, ordered(ratios), strict=True):
        own = runs[runs["M"].round() == M].sort_values("C")
        left.plot(own["C"], own["loss"] - level, "o-", ms=3, lw=1, color=colour, label=f"{M:.0f}")
    left.set(xscale="log", yscale="log", xlabel=FLOPS, ylabel="loss above $E$ (nats per token)")
    plain(left.yaxis)
    whiskers(right, slopes.M, slopes.eta, *slopes.ends.T, color=OURS)
    counts(right, slopes.M, "tokens a parameter $M$")
    right.set(ylabel="exponent $\\eta$", ylim=(0.09, 0.165))
    key(fig, left, ncols=8, title="tokens a parameter:")


def misses(fig, table):
    """Error of each predicted run in per cent, a row a run, a colour a rule. table: corpus, N, M, rule, error."""
    ax = fig.subplots()
    runs = list(table.groupby(["corpus", "N", "M"]).groups)
    for (rule_, own), colour, marker in zip(table.groupby("rule", sort=False), (PAPER, OURS, OTHER), "Dos", strict=True):
        at = [runs.index(run) for run in zip(own["corpus"], own["N"], own["M"], strict=True)]
        ax.plot(100 * own["error"], at, marker, ms=5, color=colour, label=rule_)
    ax.set_yticks(range(len(runs)), [f"{corpus}, {size(N)}, {M:.0f} tokens a parameter" for corpus, N, M in runs])
    ax.invert_yaxis()
    ax.set_xlabel("predicted over measured loss (%)")
    rule(ax, 0)
    key(fig, ax, ncols=1)


def fifths(fig, table):
    """Error of an over-trained large run against the fifth run that the law was fitted to: a panel a corpus."""
    panels = table.groupby(["corpus", "N", "M"])
    axes = fig.subplots(1, panels.ngroups, sharey=True)
    sizes_ = sorted(table["fifth_N"].unique())
    for ax, ((corpus, N, M), own) in zip(axes, panels, strict=True):
        for n, colour in zip(sizes_, ordered(sizes_), strict=True):
            line = own[own["fifth_N"] == n].sort_values("fifth_M")
            ax.plot(line["fifth_M"], 100 * line["error"], "o-", ms=3, lw=1, color=colour, label=f"{n} M")
        counts(ax, [5, 20, 80, 320], "tokens a parameter of the fifth")
        rule(ax, y=0)
        ax.set_title(f"{corpus}: {size(N)}, $M$ = {M:.0f}")
    axes[0].set_ylabel("predicted over measured (%)")
    key(fig, axes[0], ncols=4, title="parameters of the fifth:")


def lifetimes(fig, table):
    """Parameters and tokens of the cheapest lifetime over those of the optimal training, against tokens served. table: law, served, N, D, N_low, …"""
    for ax, what, name in zip(fig.subplots(1, 2), "ND", ("parameters", "training tokens"), strict=True):
        for (law, own), colour in zip(table.groupby("law", sort=False), (PAPER, OURS), strict=True):
            band(ax, own["served"], own[what], own[f"{what}_low"], own[f"{what}_high"], color=colour, label=law)
        ax.set(xscale="log", yscale="log", xlabel="tokens served", ylabel=f"{name}, over compute-optimal")
        sizes(ax.xaxis, ax.yaxis)
    key(fig)


def other_text(fig, points, known, curves):
    """Loss on another text against that on the training text; filled: fitted to. points: loss, transfer; curves: name → (x, y)."""
    ax = fig.subplots()
    for part, face, name in ((known, OURS, "fitted to"), (~known, "none", "held out")):
        ax.plot(points["loss"][part], points["transfer"][part], "o", ms=4, color=OURS, mfc=face, label=name)
    for (name, (x, y)), colour in zip(curves.items(), (PAPER, REFERENCE), strict=True):
        ax.plot(x, y, color=colour, lw=1.2, label=name)
    ax.set(xlabel="loss on books (nats per token)", ylabel="loss on Shakespeare")
    key(fig, ax, ncols=4)


def filtering(fig, table):
    """Loss against tokens read, a panel a size, a line a share of worse text (means over seeds). table: N, noised, D, loss."""
    axes = fig.subplots(1, table["N"].nunique(), sharey=True)
    for ax, (N, own) in zip(axes, table.groupby("N"), strict=True):
        shares = sorted(own["noised"].unique())
        for share, colour in zip(shares, ordered(shares), strict=True):
            line = own[own["noised"] == share].groupby("D")["loss"].mean()
            ax.plot(line.index, line, "o-", ms=3, color=colour, label=f"{share:.0%} worse" if share else "good alone")
        ax.set(xscale="log", xlabel="tokens read", title=f"$N$ = {size(N)}")
        sizes(ax.xaxis)
    axes[0].set_ylabel("loss (nats per token)")
    key(fig, axes[0], ncols=3)


def experts(fig, runs, law):
    """Loss against experts, a colour a size, with the fitted law. runs: N, experts, loss."""
    ax = fig.subplots()
    own_sizes = sorted(runs["N"].unique())
    for N, colour in zip(own_sizes, ordered(own_sizes), strict=True):
        own = runs[runs["N"] == N]
        ax.plot(own["experts"], own["loss"], "o", ms=4, color=colour, label=f"$N$ = {size(N)}")
        X = np.array(sorted(own["experts"].unique()), float)
        ax.plot(X, law.predict(N, X), color=colour, lw=1)
    counts(ax, sorted(runs["experts"].unique()), "experts a layer")
    ax.set(yscale="log", ylabel="loss (nats per token)")
    plain(ax.yaxis)
    key(fig, ax, ncols=4)


def denoising(fig, table):
    """Change of the loss of the next token and of cut-out spans over more training, against the share of cut windows, a colour a size.

    table: N, seed, denoised, loss, before, gap, gap_before.
    """
    own_sizes = sorted(table["N"].unique())
    for ax, (what, before, title) in zip(
        fig.subplots(1, 2), (("loss", "before", "next token"), ("gap", "gap_before", "cut-out spans")), strict=True
    ):
        for N, colour in zip(own_sizes, ordered(own_sizes), strict=True):
            own = table[table["N"] == N].assign(change=lambda t, a=what, b=before: t[a] - t[b])
            means = own.groupby("denoised")["change"].mean()
            ax.plot(own["denoised"], own["change"], "o", ms=4, mfc="none", color=colour)
            ax.plot(means.index, means, lw=1, color=colour, label=f"$N$ = {size(N)}")
        rule(ax, y=0)
        ax.set(xlabel="share of cut windows", xticks=sorted(table["denoised"].unique()), title=title)
    fig.axes[0].set_ylabel("change of loss (nats per token)")
    key(fig, fig.axes[0], ncols=3)
