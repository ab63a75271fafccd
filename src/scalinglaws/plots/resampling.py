"""Figures of the chapter on resampling with imperfect tests."""

from __future__ import annotations

import numpy as np

from .fitted import budget_colours


def _samples_axis(ax, most):
    ax.set_xscale("log")
    ax.set(xlabel="samples K", xlim=(0.9, 1.1 * most))


def published(fig, panels):
    """Conditional accuracy against pass@1 of published models, a panel a benchmark.

    panels: name → (table with model, pass_1 and conditional, lines: label → (slope, intercept, low, high)), low and
    high the pass@1 between which a line was fitted.
    """
    axes = fig.subplots(1, len(panels), sharey=True)
    for ax, (name, (table, lines)) in zip(axes, panels.items(), strict=True):
        ax.plot(table["pass_1"], table["conditional"], "o", ms=5, color="C0")
        for k, (label, (slope, intercept, low, high)) in enumerate(lines.items()):
            x = np.array([low, high])
            ax.plot(x, intercept + slope * x, ("-", "--", ":")[k % 3], color=f"C{k + 1}", lw=1.6, label=label)
        best = table.loc[table["pass_1"].idxmax()]
        ax.axhline(best["pass_1"], color="0.6", lw=0.8, zorder=0)
        ax.annotate(
            f"pass@1 of {best['model']}", (0.98, best["pass_1"]), xycoords=("axes fraction", "data"),
            ha="right", va="bottom", fontsize=7,
        )  # fmt: skip
        ax.set(xlabel="pass@1", title=name, xlim=(0, 0.9))
        ax.legend(fontsize=7, loc="lower right")
    axes[0].set_ylabel("P(right | passes)")


def ladder(fig, points, nulls):
    """Conditional accuracy against pass@1, a colour a number of tests; crosses: the world where base rates are all.

    points, nulls: m → (pass@1 [models], conditional [models]).
    """
    ax = fig.subplots()
    for (m, (x, y)), colour in zip(points.items(), budget_colours(points), strict=True):
        ax.plot(x, y, "o", ms=4.5, color=colour, label=f"{m} test{'s' if m > 1 else ''}")
        ax.plot(nulls[m][0], nulls[m][1], "x", ms=5, color=colour)
    ax.plot([], [], "x", color="0.5", label="null world")
    ax.set(xlabel="pass@1", ylabel="P(right | passes)", ylim=(0, 1.02))
    ax.legend(fontsize=7.5, ncols=2)


def ceilings(fig, tables, strong):
    """Ceiling of each model with its two bounds, a panel a number of tests; the line is the strongest model's pass@1.

    tables: m → table of `readout.bounds`.
    """
    axes = np.atleast_1d(fig.subplots(1, len(tables), sharey=True))
    for ax, (m, table) in zip(axes, tables.items(), strict=True):
        x = table["pass@1"]
        ax.vlines(x, table["low"], table["high"], color="C0", lw=3, alpha=0.35)
        ax.plot(x, table["passed"], "o", ms=4, color="C0", label="tasks with a passing sample")
        ax.plot(x, x, "_", ms=8, color="C2", mew=2, label="one sample")
        ax.axhline(strong, color="C1", lw=1.2, ls="--", label="strongest model, one sample")
        ax.set(xlabel="pass@1", title=f"{m} test{'s' if m > 1 else ''}", ylim=(0, 1))
    axes[0].set_ylabel("accuracy")
    axes[0].legend(fontsize=7, loc="upper left")


def dose(fig, conditional, given, rates):
    """Against the number of visible tests, a line a model: accuracies left, P(pass | wrong) right.

    Tables with a row a model and a column a number of tests: P(right | passes), solid; the same with unsolved
    tasks as wrong, dashed; the rates.
    """
    left, right = fig.subplots(1, 2)
    for ax, table, style in ((left, conditional, "o-"), (left, given, "o--"), (right, rates, "o-")):
        for (name, row), colour in zip(table.iterrows(), budget_colours(table.index), strict=True):
            label = name if style == "o-" else None
            ax.plot(table.columns, row, style, ms=4, color=colour, label=label)
        ax.set_xscale("log")
        ax.set_xticks(table.columns, [f"{m}" for m in table.columns])
        ax.minorticks_off()
        ax.set_xlabel("visible tests")
    left.set(ylabel="P(right | passes); right, dashed", ylim=(0, 1))
    right.set_yscale("log")
    right.set_ylabel("P(pass | wrong)")
    left.legend(fontsize=7)


def mechanism(fig, own, implied):
    """Left: P(pass | wrong) of our models, a colour a number of tests. Right: what the published means imply.

    own: m → (pass@1 [models], rate [models]). implied: name → (pass@1, rate).
    """
    left, right = fig.subplots(1, 2)
    for (m, (x, y)), colour in zip(own.items(), budget_colours(own), strict=True):
        left.plot(x, y, "o", ms=4.5, color=colour, label=f"{m} test{'s' if m > 1 else ''}")
    left.set(xlabel="pass@1", ylabel="P(pass | wrong)", title="our models")
    left.legend(fontsize=7.5)
    for i, (name, (x, y)) in enumerate(implied.items()):
        right.plot(x, y, "osx"[i % 3], ms=4.5, color=f"C{i}", label=name)
    right.set(xlabel="pass@1", ylabel="implied P(pass | wrong)", title="implied by means")
    right.legend(fontsize=7.5)


def discoveries(fig, lines, groups, label):
    """P(wrong | passes) by the sample that first passed: left a line a model, right one model's tasks by ease.

    lines, groups: name → (K, rate). label: the model of the right panel.
    """
    left, right = fig.subplots(1, 2, sharey=True)
    for (name, (K, rate)), colour in zip(lines.items(), budget_colours(lines), strict=True):
        left.plot(K, rate, "o-", ms=3.5, color=colour, label=name)
    for i, (name, (K, rate)) in enumerate(groups.items()):
        right.plot(K, rate, "-" if name != "all" else "--", color=f"C{i}", label=name)
    for ax in (left, right):
        _samples_axis(ax, max(max(K) for K, _ in lines.values()))
        ax.set_ylim(0, 1)
    left.legend(fontsize=7, title="model", title_fontsize=7)
    right.legend(fontsize=7, title=f"tasks, {label}", title_fontsize=7)
    left.set_ylabel("P(wrong | passes)")
    for ax in (left, right):
        ax.set_xlabel("sample that first passed")


def rewards(fig, panels):
    """Mean reward against K, a panel a model, a colour a penalty; the dot is the best budget.

    panels: name → {penalty: (K, reward)}.
    """
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    for ax, (name, lines) in zip(axes, panels.items(), strict=True):
        for (penalty, (K, value)), colour in zip(lines.items(), budget_colours(lines), strict=True):
            shown = K > 0
            ax.plot(K[shown], value[shown], color=colour, label=f"λ = {penalty:g}")
            best = int(np.argmax(value))
            ax.plot(max(K[best], 0.9), value[best], "o", ms=5, color=colour)
        _samples_axis(ax, max(K))
        ax.axhline(0, color="0.6", lw=0.8, zorder=0)
        ax.set(title=name, ylim=(-1.5, 1))
    axes[0].set_ylabel("mean reward")
    axes[0].legend(fontsize=7)


def theory(fig, curves, limits):
    """Mean reward against K of task classes, with the limit by prior and by posterior weights.

    curves: penalty → (K, reward); limits: penalty → (by prior, by posterior).
    """
    ax = fig.subplots()
    for (penalty, (K, value)), colour in zip(curves.items(), budget_colours(curves), strict=True):
        ax.plot(K, value, color=colour, label=f"λ = {penalty:g}")
        prior, posterior = limits[penalty]
        ax.plot(K[-1] * 1.5, prior, "o", ms=5, color=colour, clip_on=False)
        ax.plot(K[-1] * 2.2, posterior, "x", ms=6, color=colour, clip_on=False)
    _samples_axis(ax, K[-1] * 2.6)
    ax.plot([], [], "o", color="0.5", label="limit, prior shares")
    ax.plot([], [], "x", color="0.5", label="limit, posterior shares")
    ax.axhline(0, color="0.6", lw=0.8, zorder=0)
    ax.set_ylabel("mean reward")
    ax.legend(fontsize=7, ncols=2)


def styles(fig, panels, by_depth):
    """False acceptances against right programs, a panel a trait: over all samples, and matched within tasks.

    panels: trait → table of `style.style`, the weakest model first. by_depth: depth of the tasks → such a table
    for the first trait, in a panel of its own.
    """
    *axes, last = fig.subplots(1, len(panels) + 1)
    for ax, (trait, table) in zip(axes, panels.items(), strict=True):
        x = np.arange(len(table))
        ax.plot(x - 0.1, table["false"] - table["right"], "s", ms=5, color="C0", label="all samples")
        ends = [table["matched"] - table["low"], table["high"] - table["matched"]]
        ax.errorbar(x + 0.1, table["matched"], ends, fmt="o", ms=5, color="C1", label="within a task")
        ax.axhline(0, color="0.6", lw=0.8, zorder=0)
        ax.set_xticks(x, table["model"], fontsize=7, rotation=45)
        ax.set_ylabel(trait)
    axes[0].legend(fontsize=7)
    names = next(iter(panels.values()))["model"]
    for name, colour in zip(names, budget_colours(names), strict=True):
        rows = [t.set_index("model")["matched"].get(name, np.nan) for t in by_depth.values()]
        last.plot(list(by_depth), rows, "o-", ms=4, color=colour, label=name)
    last.axhline(0, color="0.6", lw=0.8, zorder=0)
    last.set(xlabel="depth of the task", ylabel=next(iter(panels)))
    last.set_xticks(list(by_depth))
    last.legend(fontsize=6)


def choices(fig, panels, names):
    """Accuracy of ways to choose one program, a panel a number of tests, a line a way, against the models.

    panels: m → table of `readout.chosen`.
    """
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    for ax, (m, table) in zip(axes, panels.items(), strict=True):
        for i, (way, label) in enumerate(names.items()):
            style = {"one": "o:", "perfect": "o:", "most": "x--"}.get(way, "o-")  # most may hide first
            ax.plot(
                np.arange(len(table)),
                table[way],
                style,
                ms=4 + 2 * (way == "most"),
                color=f"C{i}",
                label=label,
            )
        ax.set_xticks(np.arange(len(table)), table.index, fontsize=7, rotation=45)
        ax.set(title=f"{m} test{'s' if m > 1 else ''}", xlabel="model", ylim=(0, 1))
    axes[0].set_ylabel("accuracy")
    axes[0].legend(fontsize=7)


def coverage(fig, lines, fits, single):
    """Left: share of problems solved against K, dots counted, lines Beta-binomial. Right: failures of single problems.

    lines: model → (K, coverage); fits: model → coverage by the fitted law at the same K;
    single: label → (K, P(all K fail)), one of them the mean over problems.
    """
    left, right = fig.subplots(1, 2)
    for (name, (K, share)), colour in zip(lines.items(), budget_colours(lines), strict=True):
        left.plot(K, share, "o", ms=3, color=colour, label=name)
        left.plot(K, fits[name], "-", lw=1, color=colour)
    _samples_axis(left, max(max(K) for K, _ in lines.values()))
    left.set(ylabel="share of problems solved", ylim=(0, 1))
    left.legend(fontsize=6.5)
    for i, (name, (K, fails)) in enumerate(single.items()):
        right.plot(K, fails, "-" if i else "--", color=f"C{i}", lw=1.6 if i == 0 else 1.1, label=name)
    right.set_yscale("log")
    right.set_ylim(1e-3, 1.1)
    _samples_axis(right, max(max(K) for K, _ in single.values()))
    right.set_ylabel("P(K samples all fail)")
    right.legend(fontsize=6.5)


def isoquants(fig, lines, checkpoints):
    """Left: checkpoints that solve the same share, by pretraining and inference FLOPs. Right: who solves anything.

    lines: share → (isoquant, its frontier). checkpoints: table with N, D, solved.
    """
    left, right = fig.subplots(1, 2, width_ratios=(1.35, 1))
    for (share, (points, edge)), colour in zip(lines.items(), budget_colours(lines), strict=True):
        left.plot(points["pretraining"], points["inference"], "o", ms=3, alpha=0.45, color=colour)
        left.plot(
            edge["pretraining"], edge["inference"], "D-", ms=5, color=colour, label=f"{share:.0%} solved"
        )
    left.set_xscale("log")
    left.set_yscale("log")
    left.set(xlabel="pretraining FLOPs, 6ND", ylabel="inference FLOPs a problem")
    left.legend(fontsize=7)
    table = checkpoints.pivot(index="N", columns="D", values="solved")
    image = right.imshow(table, origin="lower", aspect="auto", vmin=0, vmax=1, cmap="cividis")
    right.set_xticks(
        range(len(table.columns)), [f"{d / 1e9:g}" for d in table.columns], fontsize=6, rotation=45
    )
    right.set_yticks(range(len(table.index)), [f"{n / 1e9:g}" for n in table.index], fontsize=6)
    right.set(xlabel="training tokens, billions", ylabel="parameters, billions")
    right.grid(False)
    fig.colorbar(image, ax=right, label="problems ever solved", shrink=0.85)
