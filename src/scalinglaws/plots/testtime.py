"""Figures of the test-time compute chapter."""

from __future__ import annotations

import numpy as np

from .fitted import budget_colours

NAMES = {
    "majority": "majority",
    "weighted": "best-of-N, weighted",
    "best": "best-of-N",
    "beam": "beam, M = 4",
    "beam_sqrt": "beam, M = √N",
    "lookahead_1": "lookahead, k = 1",
    "lookahead_3": "lookahead, k = 3",
    "dvts": "diverse trees",
    "mcts": "tree search (PUCT)",
}


def _budget_axis(ax, budgets):
    ax.set_xscale("log", base=2)
    ax.set_xticks(budgets, [f"{b:g}" for b in budgets])
    ax.minorticks_off()
    ax.set_xlabel("generations N")


def search(fig, curves, bars, budgets):
    """Left: accuracy against budget, a line a method. Right: by difficulty bin, beam beside best-of-N.

    curves: method → (budgets, accuracy, low, high). bars: method → accuracy [budgets, bins].
    """
    left, right = fig.subplots(1, 2, width_ratios=(1, 1.25))
    for i, (method, (x, y, low, high)) in enumerate(curves.items()):
        style = {"color": f"C{i}", "ls": "-" if i < 5 else "--"}
        left.plot(x, y, "o", ms=3.5, label=NAMES.get(method, method), **style)
        left.fill_between(x, low, high, color=f"C{i}", alpha=0.15, lw=0)
    _budget_axis(left, budgets)
    left.set_ylabel("accuracy")
    left.legend(fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    count = len(budgets)
    width = 0.8 / (2 * count)
    for m, (method, table) in enumerate(bars.items()):
        for k in range(count):
            at = np.arange(table.shape[1]) + 1 + (m * count + k - count + 0.5) * width
            right.bar(at, table[k], width, color=f"C{m}", alpha=0.35 + 0.6 * k / max(1, count - 1))
        right.bar([0], [0], color=f"C{m}", label=NAMES.get(method, method))
    right.set(xlabel="difficulty bin, 1 the easiest", ylabel="accuracy", xlim=(0.4, 5.6))
    right.legend(fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def lines(fig, series, budgets, label="accuracy"):
    """Accuracy against budget, a line a series: name → (budgets, accuracy, low, high)."""
    ax = fig.subplots()
    for i, (name, (x, y, low, high)) in enumerate(series.items()):
        ax.plot(x, y, "o-", ms=4, color=f"C{i}", label=NAMES.get(name, name))
        ax.fill_between(x, low, high, color=f"C{i}", alpha=0.15, lw=0)
    _budget_axis(ax, budgets)
    ax.set_ylabel(label)
    ax.legend(fontsize=7.5)


def calibration(fig, table):
    """Share that is right against the mean probability, a line a verifier, in ten intervals."""
    ax = fig.subplots()
    for i, row in enumerate(table.itertuples()):
        cells = np.reshape(row.calibration, (-1, 3))
        cells = cells[cells[:, 2] >= cells[:, 2].sum() / 500]  # a handful of samples says nothing
        ax.plot(cells[:, 0], cells[:, 1], "o-", ms=3, lw=1.2, color=f"C{i}", label=row.verifier)
    ax.plot([0, 1], [0, 1], color="0.6", lw=0.8, zorder=0)
    ax.set(xlabel="mean probability", ylabel="share that is right")
    ax.legend(fontsize=7.5)


def verifiers(fig, gains, budgets):
    """Beam search's gain over best-of-N against the within-problem AUC of the verifier, a colour a budget."""
    ax = fig.subplots()
    for N, colour in zip(budgets, budget_colours(budgets), strict=True):
        part = gains[gains["N"] == N].sort_values("within")
        ax.plot(part["within"], part["gain"], "o", ms=5, color=colour, label=f"N = {N}")
    ax.axhline(0, color="0.6", lw=0.8, zorder=0)
    ax.set(xlabel="AUC within a problem", ylabel="beam − weighted best-of-N")
    ax.legend(fontsize=7.5)


def exploitation(fig, rows, budgets):
    """The verifier's opinion of what best-of-N chose, and the truth, against N: a colour a verifier."""
    ax = fig.subplots()
    for i, (name, believed, true) in enumerate(rows):
        ax.plot(budgets, believed, "--", color=f"C{i}", lw=1.2)
        ax.plot(budgets, true, "o-", ms=3.5, color=f"C{i}", label=name)
    _budget_axis(ax, budgets)
    ax.set_ylabel("believed (dashed), true (solid)")
    ax.legend(fontsize=7.5)


def revisions(fig, steps, pairs, budgets):
    """Left: share right along a chain. Right: sequential and parallel attempts, a colour a rule.

    steps: name → (last attempt of each block, share, low, high); pairs: rule → (sequential, parallel) [budgets].
    """
    left, right = fig.subplots(1, 2)
    for i, (name, (x, y, low, high)) in enumerate(steps.items()):
        left.plot(x, y, "o-", ms=4, color=f"C{i}", label=name)
        left.fill_between(x, low, high, color=f"C{i}", alpha=0.15, lw=0)
    _budget_axis(left, x)
    left.set(xlabel="attempt, up to", ylabel="share right")
    left.legend(fontsize=7)
    for i, (name, (sequential, parallel)) in enumerate(pairs.items()):
        right.plot(budgets, sequential, "o-", ms=4, color=f"C{i}", label=f"sequential, {name}")
        right.plot(budgets, parallel, "s--", ms=4, color=f"C{i}", label=f"parallel, {name}")
    _budget_axis(right, budgets)
    right.set_ylabel("accuracy")
    right.legend(fontsize=7)


def ratios(fig, by_budget, by_bin):
    """Accuracy against the sequential share: left a line a budget, right a line a difficulty bin.

    by_budget: N → (attempts a chain, accuracy); by_bin: (attempts a chain, accuracy [ratios, bins]).
    """
    left, right = fig.subplots(1, 2)
    for (N, (x, y)), colour in zip(by_budget.items(), budget_colours(list(by_budget)), strict=True):
        left.plot(np.asarray(x) ** 2 / N, y, "o-", ms=4, color=colour, label=f"N = {N}")
    x, y = by_bin
    N = max(x)
    for b, colour in zip(range(y.shape[1]), budget_colours(range(y.shape[1])), strict=True):
        right.plot(np.asarray(x) ** 2 / N, y[:, b], "o-", ms=4, color=colour, label=f"bin {b + 1}")
    for ax in (left, right):
        ax.set(xscale="log", xlabel="sequential : parallel", ylabel="accuracy")
        ax.legend(fontsize=7)


def exchange(fig, panels, budgets, places):
    """Small model with test-time compute by bin, and the large model's greedy answers where they cost the same.

    panels: name → (budgets, accuracy [budgets, bins], large [bins]); places: generations of equal cost.
    """
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    for ax, (name, (x, y, large)) in zip(axes, panels.items(), strict=True):
        for b, colour in zip(range(len(large)), budget_colours(range(len(large))), strict=True):
            ax.plot(x, y[:, b], "o-", ms=3.5, color=colour, label=f"bin {b + 1}")
            ax.plot(places, [large[b]] * len(places), "*", ms=9, color=colour)
        _budget_axis(ax, budgets)
        ax.set_title(name, fontsize=9)
    axes[0].set_ylabel("accuracy")
    axes[len(panels) // 2].legend(fontsize=7, loc="lower left")


def regret(fig, shares, losses, probes):
    """Left: regret of misjudged bins against their share. Right: accuracy when bins come from few samples."""
    left, right = fig.subplots(1, 2)
    for i, (by, y) in enumerate(losses.items()):
        left.plot(shares, y, "o-", ms=4, color=f"C{i}", label=f"by {by} bin{'s' if by > 1 else ''}")
    left.set(xlabel="share of problems misjudged", ylabel="accuracy lost")
    left.legend(fontsize=7.5)
    x, y, full, question, blind = probes
    right.plot(x, y, "o-", ms=4, color="C0", label="scores of few samples")
    right.axhline(question, color="C1", lw=1, ls=":", label="the question alone")
    right.axhline(full, color="0.6", lw=0.8, label="true bin")
    right.axhline(blind, color="0.6", lw=0.8, ls="--", label="no bin")
    _budget_axis(right, x)
    right.set(xlabel="samples that decide the bin", ylabel="accuracy of the policy")
    right.legend(fontsize=7.5)


def table_of_choices(fig, panels, names, budgets):
    """Which strategy is best in each bin and at each budget, a panel a world: strategies as colours and letters."""
    axes = np.atleast_1d(fig.subplots(1, len(panels)))
    for ax, (title, choice) in zip(axes, panels.items(), strict=True):
        ax.imshow(choice.T, cmap="tab10", vmin=0, vmax=9, alpha=0.5, aspect="auto", origin="lower")
        for b in range(choice.shape[0]):
            for k in range(choice.shape[1]):
                ax.text(b, k, names[choice[b, k]], ha="center", va="center", fontsize=7)
        ax.set_xticks(range(choice.shape[0]), [str(b + 1) for b in range(choice.shape[0])])
        ax.set_yticks(range(len(budgets)), [str(N) for N in budgets])
        ax.set(xlabel="difficulty bin", ylabel="generations N", title=title)
        ax.grid(False)
