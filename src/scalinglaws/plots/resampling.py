"""Figures of the chapter on resampling with imperfect tests."""

from __future__ import annotations

import numpy as np

from ..figures import KINDS, METHODS, OURS, PAPER, REFERENCE
from .marks import counts, key, label_ends, note, ordered, rule, sample, whiskers

RIGHT = r"$P(\mathrm{right}\,|\,\mathrm{passes})$"
FALSE = r"$P(\mathrm{pass}\,|\,\mathrm{wrong})$"


def _samples_axis(ax, most, label="samples $K$"):
    ax.set(xscale="log", xlabel=label, xlim=(0.9, 1.1 * most))


def _tests(m):
    return f"{m} test{'s' if m > 1 else ''}"


def published(fig, panels):
    """Figure 3: conditional accuracy against pass@1 of published models, a panel a benchmark.

    panels: name → (table with model, pass_1 and conditional, lines: label → (slope, intercept, low, high)), low and
    high the pass@1 between which a line was fitted.
    """
    axes = fig.subplots(1, len(panels), sharey=True)
    dashes: tuple = ("-", (0, (2, 1)))
    names: tuple[list, list] = ([], [])
    for ax, (name, (table, lines)) in zip(axes, panels.items(), strict=True):
        ax.plot(table["pass_1"], table["conditional"], "D", color=PAPER)
        for ls, found, (label, (slope, intercept, low, high)) in zip(
            dashes, names, lines.items(), strict=True
        ):
            x = np.array([low, high])
            ax.plot(x, intercept + slope * x, ls=ls, color=OURS)
            found.append(label)
        best = table.loc[table["pass_1"].idxmax()]
        strong = table[table["pass_1"] > 0.5]["conditional"]
        end = "right" if (strong > best["pass_1"]).all() else "left"  # where no point is
        rule(ax, y=best["pass_1"], text=f"pass@1 of {best['model']}", end=end)
        for row, dy in ((table.loc[table["pass_1"].idxmin()], -10), (best, 10)):
            note(ax, row["model"], row["pass_1"], row["conditional"], dx=0, dy=dy, ha="center")
        ax.set(xlabel="pass@1", title=name, xlim=(-0.12, 0.98))
        ax.margins(y=0.12)
    axes[0].set_ylabel(RIGHT)
    for ls, found in zip(dashes, names, strict=True):
        sample(axes[0], "; ".join(dict.fromkeys(found)), ls=ls, color=OURS)
    key(fig, axes[0])


def reach(fig, lines, ceilings, strong):
    """Figure 1: accuracy against the number of samples, a line a model; beyond them what an endless budget would reach.

    lines: model → (K = 0 … n, accuracy), the weakest first. ceilings: columns model, passed, low, high as
    `readout.bounds` gives them. strong: one sample of the strongest model.
    """
    ax = fig.subplots()
    most = max(max(K) for K, _ in lines.values())
    limits = ceilings.drop_duplicates("model").set_index("model")
    beyond = most * np.geomspace(1.5, 6, len(lines))
    for (name, (K, accuracy)), x, colour in zip(lines.items(), beyond, ordered(lines), strict=True):
        ax.plot(K[1:], accuracy[1:], color=colour, label=name)
        end = limits.loc[name, ["passed", "low", "high"]]
        whiskers(ax, x, *end, marker="D", ms=5, color=colour)
    rule(ax, y=strong, lw=1.4, label="one sample of the strongest model")
    ax.axvspan(most * 1.2, most * 7, color=REFERENCE, alpha=0.12, lw=0)
    _samples_axis(ax, most * 7 / 1.1)
    ticks = [10**k for k in range(int(np.log10(most)) + 1)]
    ax.set_xticks([*ticks, np.sqrt(beyond[0] * beyond[-1])], [*map(str, ticks), "∞"])
    ax.set(ylabel="accuracy", ylim=(0, None))
    key(fig, ax, ncols=4)


def ladder(fig, points, nulls):
    """Conditional accuracy against pass@1, a colour a number of tests; crosses: the world where base rates are all.

    points, nulls: m → (pass@1 [models], conditional [models]).
    """
    ax = fig.subplots()
    for (m, (x, y)), colour in zip(points.items(), ordered(points), strict=True):
        ax.plot(x, y, "o", ms=5, color=colour, label=_tests(m))
        ax.plot(nulls[m][0], nulls[m][1], "x", ms=5, color=colour)
    sample(ax, "null world", marker="x", ls="none", color=REFERENCE)
    ax.set(xlabel="pass@1", ylabel=RIGHT, ylim=(0, 1.02))
    key(fig, ax, ncols=5)


def ceilings(fig, tables, strong):
    """Ceiling of each model with its two bounds, a panel a number of tests; the line is the strongest model's pass@1.

    tables: m → table of `readout.bounds`.
    """
    axes = np.atleast_1d(fig.subplots(1, len(tables), sharey=True))
    for ax, (m, table) in zip(axes, tables.items(), strict=True):
        x = table["pass@1"]
        look: dict = {"color": OURS, "label": "tasks with a passing sample"}
        whiskers(ax, x, table["passed"], table["low"], table["high"], **look)
        ax.plot(x, x, "_", ms=9, color=KINDS[1], mew=2, label="one sample")
        rule(ax, y=strong, lw=1.3, label="strongest model, one sample")
        ax.set(xlabel="pass@1", title=_tests(m), ylim=(0, 1))
    axes[0].set_ylabel("accuracy")
    key(fig, axes[0])


def dose(fig, conditional, given, rates):
    """Against the number of visible tests, a line a model: accuracies left, P(pass | wrong) right.

    Tables with a row a model and a column a number of tests: P(right | passes), solid; the same with unsolved
    tasks as wrong, dashed; the rates.
    """
    left, right = fig.subplots(1, 2)
    for ax, table, style in ((left, conditional, "o-"), (left, given, "o--"), (right, rates, "o-")):
        for (name, row), colour in zip(table.iterrows(), ordered(table.index), strict=True):
            ax.plot(table.columns, row, style, ms=4, color=colour, label=name)
        counts(ax, table.columns, "visible tests", base=10)
    left.set(ylabel=f"{RIGHT}; right, dashed", ylim=(0, 1))
    right.set(yscale="log", ylabel=FALSE)
    label_ends(right)


def mechanism(fig, own, implied):
    """Left: P(pass | wrong) of our models, a colour a number of tests. Right: what the published means imply.

    own: m → (pass@1 [models], rate [models]). implied: the paper's benchmark, our models, our null world →
    (pass@1, rate).
    """
    left, right = fig.subplots(1, 2)
    for (m, (x, y)), colour in zip(own.items(), ordered(own), strict=True):
        left.plot(x, y, "o", ms=5, color=colour, label=_tests(m))
    left.set(xlabel="pass@1", ylabel=FALSE, title="our models")
    for (colour, marker), (name, (x, y)) in zip(
        ((PAPER, "D"), (OURS, "o"), (REFERENCE, "x")), implied.items(), strict=True
    ):
        right.plot(x, y, marker, ms=5, color=colour, label=name)
    right.set(xlabel="pass@1", ylabel=f"implied {FALSE}", title="implied by means")
    handles = [h for ax in (left, right) for h in ax.get_legend_handles_labels()[0]]
    key(fig, handles=handles, ncols=4)


def discoveries(fig, lines, groups, label):
    """P(wrong | passes) by the sample that first passed: left a line a model, right one model's tasks by ease.

    lines, groups: name → (K, rate). label: the model of the right panel.
    """
    left, right = fig.subplots(1, 2, sharey=True)
    for (name, (K, rate)), colour in zip(lines.items(), ordered(lines), strict=True):
        left.plot(K, rate, "o-", ms=3.5, color=colour, label=name)
    thirds = [name for name in groups if name != "all"]
    colours = dict(zip(thirds, ordered(thirds), strict=True))
    for name, (K, rate) in groups.items():
        look = {"color": OURS, "ls": "--"} if name == "all" else {"color": colours[name]}
        right.plot(K, rate, label=name, **look)
    for ax in (left, right):
        _samples_axis(ax, max(max(K) for K, _ in lines.values()), "sample that first passed")
        ax.set_ylim(0, 1)
    left.set(ylabel=r"$P(\mathrm{wrong}\,|\,\mathrm{passes})$", title="all tasks")
    right.set_title(f"tasks of {label}, by ease")
    label_ends(left)
    label_ends(right)


def rewards(fig, panels):
    """Mean reward against K, a panel a model, a colour a penalty; the dot is the best budget.

    panels: name → {penalty: (K, reward)}.
    """
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    for ax, (name, lines) in zip(axes, panels.items(), strict=True):
        for (penalty, (K, value)), colour in zip(lines.items(), ordered(lines), strict=True):
            shown = K > 0
            ax.plot(K[shown], value[shown], color=colour, label=rf"$\lambda$ = {penalty:g}")
            best = int(np.argmax(value))
            ax.plot(max(K[best], 0.9), value[best], "o", ms=5.5, color=colour, clip_on=False)
        _samples_axis(ax, max(K))
        rule(ax, y=0)
        ax.set(title=name, ylim=(-1.5, 1))
    axes[0].set_ylabel("mean reward")
    key(fig, axes[0], ncols=5)


def theory(fig, curves, limits):
    """Mean reward against K of task classes, with the limit by prior and by posterior weights.

    curves: penalty → (K, reward); limits: penalty → (by prior, by posterior).
    """
    ax = fig.subplots()
    for (penalty, (K, value)), colour in zip(curves.items(), ordered(curves), strict=True):
        ax.plot(K, value, color=colour, label=rf"$\lambda$ = {penalty:g}")
        prior, posterior = limits[penalty]
        ax.plot(K[-1] * 1.5, prior, "o", ms=5, color=colour, clip_on=False)
        ax.plot(K[-1] * 2.2, posterior, "x", ms=6, color=colour, clip_on=False)
    _samples_axis(ax, K[-1] * 2.6)
    sample(ax, "limit, prior shares", marker="o", ls="none", color=REFERENCE)
    sample(ax, "limit, posterior shares", marker="x", ls="none", color=REFERENCE)
    rule(ax, y=0)
    ax.set_ylabel("mean reward")
    key(fig, ax, ncols=4)


def styles(fig, panels, by_depth):
    """False acceptances against right programs, a panel a trait: over all samples, and matched within tasks.

    panels: trait → table of `style.style`, the weakest model first. by_depth: depth of the tasks → such a table
    for the first trait, in a panel of its own, below.
    """
    axes = fig.subplot_mosaic([[*panels], ["depth"] * len(panels)])
    for trait, table in panels.items():
        ax, x = axes[trait], np.arange(len(table))
        ax.plot(
            x - 0.1,
            table["false"] - table["right"],
            "s",
            ms=5,
            color=KINDS[0],
            mfc="none",
            label="all samples",
        )
        look: dict = {"ms": 5, "color": OURS, "label": "within a task"}
        whiskers(ax, x + 0.1, table["matched"], table["low"], table["high"], **look)
        rule(ax, y=0)
        ax.set_xticks(x, table["model"], rotation=45, ha="right", rotation_mode="anchor")
        ax.set_ylabel(trait)
    first = next(iter(panels))
    names = panels[first]["model"]
    for name, colour in zip(names, ordered(names), strict=True):
        rows = [t.set_index("model")["matched"].get(name, np.nan) for t in by_depth.values()]
        axes["depth"].plot(list(by_depth), rows, "o-", ms=4, color=colour, label=name)
    rule(axes["depth"], y=0)
    axes["depth"].set(xlabel="depth of the task", ylabel=first, xticks=list(by_depth))
    key(fig, axes[first])
    label_ends(axes["depth"])


def choices(fig, panels, names):
    """Accuracy of ways to choose one program, a panel a number of tests, a line a way, against the models.

    panels: m → table of `readout.chosen`.
    """
    looks: dict[str, dict] = {
        "one": {"color": REFERENCE, "ls": ":", "marker": "o"},
        "perfect": {"color": REFERENCE, "ls": "--", "marker": "o"},
        "majority": METHODS["majority"],
        "first": {"color": KINDS[0], "ls": "-", "marker": "o"},
        "most": {"color": KINDS[1], "ls": "--", "marker": "x", "ms": 6},  # may hide first
    }
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    for ax, (m, table) in zip(axes, panels.items(), strict=True):
        at = np.arange(len(table))
        for way, label in names.items():
            ax.plot(at, table[way], label=label, **({"ms": 4, "lw": 1.3} | looks[way]))
        ax.set_xticks(at, table.index, rotation=60, ha="right", rotation_mode="anchor")
        ax.set(title=_tests(m), ylim=(0, 1))
    axes[0].set_ylabel("accuracy")
    key(fig, axes[0])


def coverage(fig, lines, fits, single):
    """Left: share of problems solved against K, dots counted, lines Beta-binomial. Right: failures of single problems.

    lines: model → (K, coverage); fits: model → coverage by the fitted law at the same K;
    single: label → (K, P(all K fail)), the first the mean over problems.
    """
    left, right = fig.subplots(1, 2)
    for (name, (K, share)), colour in zip(lines.items(), ordered(lines), strict=True):
        left.plot(K, share, "o", ms=3, color=colour)
        left.plot(K, fits[name], "-", lw=1, color=colour, label=name)
    _samples_axis(left, max(max(K) for K, _ in lines.values()))
    left.set(ylabel="share of problems solved", ylim=(0, 1))
    mean, *rest = single
    for name, colour in zip((mean, *rest), (OURS, *ordered(rest)), strict=True):
        K, fails = single[name]
        right.plot(K, fails, "--" if name == mean else "-", color=colour, label=name)
    right.set_yscale("log")
    right.set_ylim(1e-3, 1.1)
    _samples_axis(right, max(max(K) for K, _ in single.values()))
    right.set_ylabel(r"$P(K\ \mathrm{samples\ all\ fail})$")
    key(fig, left, ncols=4, title="left:")
    key(fig, right, where="lower", ncols=2, title="right:")


def isoquants(fig, lines, checkpoints):
    """Left: checkpoints that solve the same share, by pretraining and inference FLOPs. Right: who solves anything.

    lines: share → (isoquant, its frontier). checkpoints: table with N, D, solved.
    """
    import matplotlib as mpl
    import seaborn as sns

    left, right = fig.subplots(1, 2)
    for (share, (points, edge)), colour in zip(lines.items(), ordered(lines), strict=True):
        left.plot(points["pretraining"], points["inference"], "o", ms=3, alpha=0.45, color=colour)
        look = {"ms": 5, "color": colour, "label": f"{share:.0%} solved"}
        left.plot(edge["pretraining"], edge["inference"], "D-", **look)
    left.set(xscale="log", yscale="log", xlabel="pretraining FLOPs, $6ND$")
    left.set_ylabel("inference FLOPs a problem")
    table = checkpoints.pivot(index="N", columns="D", values="solved")
    table.index, table.columns = table.index / 1e9, table.columns / 1e9
    bar = {"label": "problems ever solved", "location": "top"}  # rasterised: cells drawn as paths show seams
    sns.heatmap(
        table, ax=right, vmin=0, vmax=1, cmap=mpl.rcParams["image.cmap"], cbar_kws=bar, rasterized=True
    )
    right.invert_yaxis()
    right.set_xticks(right.get_xticks()[::2], [f"{d:g}" for d in table.columns[::2]], rotation=60)
    right.set_yticks(np.arange(len(table)) + 0.5, [f"{n:g}" for n in table.index], rotation=0)
    right.set(xlabel="training tokens, billions", ylabel="parameters, billions")
    key(fig, left, where="lower", ncols=5)
