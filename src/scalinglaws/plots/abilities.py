"""Figures of the chapter on abilities."""

from __future__ import annotations

import numpy as np

from ..figures import OTHER, OURS, PAPER, REFERENCE
from .marks import FLOPS, band, counts, key, label_ends, note, ordered, rule, size, sizes, whiskers


def curves(fig, panels):
    """Mean error against loss: name of a corpus → (points: loss, error, fitted (mask), large (mask); curve of loss)."""
    axes = fig.subplots(1, len(panels), sharey=True)
    for ax, (corpus, (points, curve)) in zip(axes, panels.items(), strict=True):
        x = np.linspace(points["loss"].min() - 0.05, points["loss"].max() + 0.05, 200)
        ax.plot(x, curve.predict(x), color=PAPER, lw=1, label="fitted to six")
        rest = ~points["fitted"] & ~points["large"]
        ax.plot(points["loss"][rest], points["error"][rest], ".", ms=4, color=REFERENCE, alpha=0.6, label="not used")
        ax.plot(points["loss"][points["fitted"]], points["error"][points["fitted"]], "o", ms=4, color=PAPER, label="fitted to")
        ax.plot(points["loss"][points["large"]], points["error"][points["large"]], "D", ms=5, color=OURS, label="foretold")
        ax.set(xlabel="loss (nats per token)", title=corpus)
    axes[0].set_ylabel("mean error on 17 tasks")
    key(fig, axes[0], ncols=4)


def tasks(fig, table):
    """What one curve explains of each task's error over models, and how far a forecast misses. table: task, explained, miss (%), chosen."""
    table = table.sort_values("explained")
    left, right = fig.subplots(1, 2, sharey=True)
    at = np.arange(len(table))
    for chosen, colour, name in ((True, OURS, "of the paper's 17"), (False, REFERENCE, "left out")):
        rows = (table["chosen"] == chosen).to_numpy()
        left.plot(table["explained"][rows], at[rows], "o", ms=4, color=colour, label=name)
        right.plot(table["miss"][rows], at[rows], "o", ms=4, color=colour)
    left.set_yticks(at, table["task"].str.replace("bigbench_", "").str.replace("_", " "))
    left.tick_params(axis="y", labelsize=6)
    left.set_xlabel("variance explained by loss")
    right.set(xlabel="largest miss at 6.9B (%)", xscale="log")
    right.set_xticks([1, 10, 100], ["1", "10", "100"])
    key(fig, left)


def universes(fig, table, marks):
    """Miss of the mean over random sets of tasks, a panel a corpus. table: corpus, N, relative; marks: (corpus, N) → the paper's set."""
    axes = fig.subplots(1, table["corpus"].nunique(), sharex=True, sharey=True)
    for ax, (corpus, own) in zip(axes, table.groupby("corpus"), strict=True):
        for (N, part), colour in zip(own.groupby("N"), (OTHER, OURS), strict=True):
            ax.hist(100 * part["relative"], bins=np.arange(-20, 16.1, 1.5), histtype="step", color=colour, label=f"{size(N)}")
            ax.plot([100 * marks[corpus, N]], [0], "^", ms=7, color=colour, clip_on=False, zorder=5)
        rule(ax, x=0)
        ax.set(xlabel="foretold over measured (%)", title=corpus)
    axes[0].set_ylabel("sets of 17 tasks")
    key(fig, axes[0])


def rungs(fig, paths, aims, steps):
    """Step two of some tasks: accuracy against task loss. paths: task → (loss, accuracy); aims: table task, loss, measured, first, predicted; steps: task → curve."""
    axes = fig.subplots(2, 2).ravel()
    for ax, (task, (loss, accuracy)) in zip(axes, paths.items(), strict=True):
        ax.plot(loss, accuracy, ".", ms=2, color=REFERENCE, alpha=0.5, label="checkpoints of 16 runs")
        own = aims[aims["task"] == task]
        x = np.linspace(min(own["loss"].min(), own["first"].min()) - 0.05, np.max(loss), 200)
        ax.plot(x, steps[task].predict(x), color=PAPER, lw=1, label="step two")
        ax.plot(own["first"], own["predicted"], "o", ms=5, mfc="none", color=PAPER, label="foretold")
        ax.plot(own["loss"], own["measured"], "D", ms=5, color=OURS, label="7B and 13B")
        ax.set_title(task)
    for ax in axes[2:]:
        ax.set_xlabel("bits per byte of the right answer")
    for ax in axes[::2]:
        ax.set_ylabel("accuracy")
    key(fig, axes[0], ncols=4)


def forecasts(fig, table):
    """Measured accuracy and forecasts with intervals, a row a task, a panel a target. table: rule, task, target, measured, predicted, low, high."""
    axes = fig.subplots(1, table["target"].nunique(), sharey=True)
    colours = {"two steps": PAPER, "surface": REFERENCE, "no floor": OTHER}
    names = list(dict.fromkeys(table["task"]))
    for ax, (target, own) in zip(axes, table.groupby("target", sort=True), strict=True):
        for shift, (rule_, colour) in zip((-0.22, 0.0, 0.22), colours.items(), strict=True):
            part = own[own["rule"] == rule_].set_index("task").reindex(names)
            at = np.arange(len(names)) + shift
            whiskers(ax, part["predicted"], at, part["low"], part["high"], upright=False, color=colour, ms=4, label=rule_ if rule_ == "two steps" else f"one step, {rule_}")
        truth = own.drop_duplicates("task").set_index("task").reindex(names)["measured"]
        ax.plot(truth, np.arange(len(names)), "D", ms=5, color=OURS, label="measured", zorder=5)
        ax.set(xlabel="accuracy", title=target)
    axes[0].set_yticks(np.arange(len(names)), names)
    axes[0].invert_yaxis()
    key(fig, axes[0], ncols=4)


def components(fig, table, first, lines):
    """First component against compute, a colour a family that is large enough; others grey. table: family, C; first: [models]; lines: families to draw."""
    ax = fig.subplots()
    shown = list(lines)
    rest = ~table["family"].isin(shown)
    ax.plot(table["C"][rest], first[rest.to_numpy()], ".", ms=5, color=REFERENCE, alpha=0.6)
    for family, colour in zip(shown, ordered(shown), strict=True):
        rows = (table["family"] == family).to_numpy()
        order = np.argsort(table["C"].to_numpy()[rows])
        ax.plot(table["C"].to_numpy()[rows][order], first[rows][order], "o-", ms=4, lw=1, color=colour, label=family)
    ax.set(xscale="log", xlabel=FLOPS, ylabel="first component")
    label_ends(ax)


def strong(fig, table):
    """Accuracy of strong models on four tasks against what weak ones foretell. table: task, rule, measured, predicted."""
    axes = fig.subplots(1, table["task"].nunique(), sharex=True, sharey=True)
    for ax, (task, own) in zip(axes, table.groupby("task", sort=False), strict=True):
        for rule_, colour, marker in (("compute", REFERENCE, "s"), ("components", OURS, "o")):
            part = own[own["rule"] == rule_]
            ax.plot(part["predicted"], part["measured"], marker, ms=3, color=colour, alpha=0.8, label=f"from {rule_}")
        ax.plot([0, 1], [0, 1], color=REFERENCE, lw=0.8, ls=":")
        ax.set_title(task.replace(" ", "\n"))
        ax.set_xlabel("foretold")
    axes[0].set_ylabel("measured, above guessing")
    key(fig, axes[0])


def misses(fig, table, label: str):
    """Mean absolute miss of rules with intervals. table: rule, miss, low, high."""
    ax = fig.subplots()
    at = np.arange(len(table))
    whiskers(ax, table["miss"], at, table["low"], table["high"], upright=False, color=OURS)
    ax.set_yticks(at, table["rule"])
    ax.invert_yaxis()
    ax.set(xlabel=label, xlim=(0, None))


def lengths(fig, table):
    """Share of right answers against steps, with what independent steps would give. table: proposer, steps, right, low, high, power."""
    ax = fig.subplots()
    names = sorted(table["proposer"].unique(), key=lambda p: table.loc[table["proposer"] == p, "right"].mean())
    for name, colour in zip(names, ordered(names), strict=True):
        own = table[table["proposer"] == name]
        band(ax, own["steps"], own["right"], own["low"], own["high"], color=colour, marker="o", ms=4, label=name)
        ax.plot(own["steps"], own["power"], ":", color=colour, lw=1.2)
    counts(ax, sorted(table["steps"].unique()), "steps")
    ax.set(yscale="log", ylabel="right answers")
    ax.set_yticks([0.1, 0.2, 0.5, 1.0], [".1", ".2", ".5", "1"])
    key(fig, ax, ncols=5)


def passing(fig, table, forecast, curve):
    """Chance to pass against size: measured, the power through the small models, and what one answer a problem shows.

    table: N, share, nothing; forecast: N, predicted; curve: N → chance.
    """
    left, right = fig.subplots(1, 2)
    x = np.geomspace(table["N"].min(), table["N"].max(), 100)
    seen = ~table["N"].isin(forecast["N"])
    left.plot(x, curve(x), color=PAPER, lw=1, label=r"$-\log P = c\,N^{-\alpha}$")
    left.plot(table["N"][seen], table["share"][seen], "o", ms=5, color=PAPER, label="fitted to")
    left.plot(table["N"][~seen], table["share"][~seen], "D", ms=5, color=OURS, label="measured")
    left.set(xscale="log", yscale="log", xlabel="parameters", ylabel="chance that an answer is right")
    right.plot(table["N"], table["nothing"], "o-", ms=5, color=OTHER)
    right.set(xscale="log", xlabel="parameters", ylabel="chance that 128 answers\nshow nothing", ylim=(0, 1))
    sizes(left.xaxis, right.xaxis)
    key(fig, left)


def emerging(fig, table, threshold: float):
    """A task against training compute, a dot a public model, with a threshold in print. table: C, accuracy."""
    ax = fig.subplots()
    ax.plot(table["C"], table["accuracy"], "o", ms=4, color=OURS, alpha=0.7)
    rule(ax, x=threshold, text="the paper's threshold")
    ax.set(xscale="log", xlabel=FLOPS, ylabel="3-digit subtraction, right")


def degraded(fig, table):
    """Spearman's correlation with compute of three scores, a line a task. table: task, loss, soft, accuracy."""
    ax = fig.subplots()
    lowest = set(table.nsmallest(2, "accuracy")["task"])
    for row in table.itertuples():
        named = row.task in lowest
        ax.plot(range(3), [row.loss, row.soft, row.accuracy], "o-", ms=4, lw=1, color=OURS if named else REFERENCE)
        if named:
            note(ax, row.task, 2, row.accuracy)
    ax.set_xticks(range(3), ["log-probability of\nthe right answer", "its probability\namong the choices", "accuracy"])
    ax.set(ylabel="rank correlation with compute", xlim=(-0.2, 2.6))


def trades(fig, worlds):
    """Lines of equal success over training and answering. worlds: name → (train FLOPs, log10 test [models, targets], slope)."""
    axes = fig.subplots(2, 2).ravel()
    for ax, (name, (train, lines, slope)) in zip(axes, worlds.items(), strict=True):
        order = np.argsort(train)
        wanted = [k for k in range(lines.shape[1]) if np.isfinite(lines[:, k]).sum() > 1]
        for k, colour in zip(wanted, ordered(wanted), strict=True):
            rows = order[np.isfinite(lines[order, k])]
            ax.plot(train[rows], 10 ** lines[rows, k], "o-", ms=3, lw=1, color=colour)
        x = np.array([train.min(), train.max()])
        middle = np.nanmean(lines)
        ax.plot(x, 10 ** (middle - 1.18 * (np.log10(x) - np.log10(train).mean())), "--", color=PAPER, lw=1.2, label="slope in the game of Hex")
        ax.set(xscale="log", yscale="log", xlabel="training (FLOPs)", ylabel="answering (FLOPs)", title=f"{name}: slope {slope:+.2f}".replace("-", "−"))
        ax.tick_params(which="minor", labelbottom=False, labelleft=False)
    key(fig, axes[0])


def held(fig, table, level: float):
    """Share of intervals that held, a row a method. table: method, forecasts, targets, covered, low, high."""
    ax = fig.subplots()
    at = np.arange(len(table))
    whiskers(ax, table["covered"], at, table["low"], table["high"], upright=False, color=OURS)
    ax.set_yticks(at, [f"{m} ({n})" for m, n in zip(table["method"], table["forecasts"], strict=True)])
    ax.invert_yaxis()
    rule(ax, x=level, text="promised")
    ax.set(xlabel="share of 90 % intervals that held", xlim=(0, 1.02))


def inverse(fig, table):
    """Right between two choices against size. table: kind, N, steps, choice.

    Left: after the longest training, a colour a kind of fact; right: facts mostly told wrongly, a colour a length of training.
    """
    left, right = fig.subplots(1, 2, sharey=True)
    last = table[table["steps"] == table["steps"].max()]
    kinds = {"never disputed": PAPER, "mostly told rightly": OTHER, "mostly told wrongly": OURS}
    wrongly = table[table["kind"] == "mostly told wrongly"]
    steps = sorted(table["steps"].unique())
    for ax, groups, name in (
        (left, [(k, last[last["kind"] == k], c) for k, c in kinds.items()], lambda k: k),
        (right, [(s, wrongly[wrongly["steps"] == s], c) for s, c in zip(steps, ordered(steps), strict=True)], "{} steps".format),
    ):
        for value, own, colour in groups:
            means = own.groupby("N")["choice"].mean()
            ax.plot(own["N"], own["choice"], "o", ms=3, mfc="none", color=colour)
            ax.plot(means.index, means, lw=1.2, color=colour, label=name(value))
        rule(ax, y=0.5)
        ax.set(xscale="log", xlabel="parameters", ylim=(0, 1.02))
        sizes(ax.xaxis)
        ax.legend(loc="center right" if ax is left else "upper right", fontsize="small")
    left.set_ylabel("truth likelier than the error")


def bend(fig, loss, accuracy, steps, heights):
    """A sigmoid, and what a step of the loss is worth on it. steps, heights [places, 2]: loss and accuracy at both ends."""
    ax = fig.subplots()
    ax.plot(loss, accuracy, color=PAPER)
    for (low, high), (top, bottom) in zip(steps, heights, strict=True):
        ax.plot([high, low, low], [bottom, bottom, top], color=OURS, lw=2)
        note(ax, f"{100 * (top - bottom):.1f} points", low, (top + bottom) / 2, dx=-6)
    ax.set(xlabel="loss (bits per byte)", ylabel="accuracy", xlim=(0.1, None))
