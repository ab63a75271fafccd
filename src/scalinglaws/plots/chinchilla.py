"""Figures of the Chinchilla chapter."""

from __future__ import annotations

import numpy as np

from ..figures import KINDS, OTHER, OURS, PAPER, REFERENCE
from . import fitted
from .fitted import GOPHER_FLOPS
from .marks import FLOPS, ink, key, label_ends, note, ordered, power, rule, sample, sizes, whiskers

EXPONENT = r"exponent $a$ of $N_\mathrm{opt} \propto C^a$"


def recovery(fig, table, truth, labels):
    """Estimates of a in every simulated study, a row a method, with the truth as a line."""
    ax = fig.subplots()
    rng = np.random.default_rng(0)
    for k, method in enumerate(labels):
        a = table.loc[table["method"] == method, "a"]
        ax.scatter(a, k + rng.uniform(-0.22, 0.22, len(a)), s=6, alpha=0.4, color=OURS)
        ax.plot([a.mean()] * 2, [k - 0.36, k + 0.36], color=OURS, lw=2.5)
    rule(ax, truth)
    note(ax, f"truth {truth:.4f}", truth, len(labels) - 0.45, dx=4)
    ax.set(yticks=range(len(labels)), yticklabels=list(labels.values()), ylim=(-0.5, len(labels) - 0.2))
    ax.set_xlabel("estimated " + EXPONENT)
    ax.grid(axis="y", visible=False)


def digitised_profiles(fig, fit, runs):
    """Figure 3: IsoFLOP profiles with their parabolas, and the lines through the minima to Gopher's budget."""
    loss, *right = fitted.three_panels(fig)
    fitted.profiles(loss, fit, runs)
    C, N, D = (np.array([getattr(v, name) for v in fit.valleys]) for name in "CND")
    fitted.optima(right, fit, C, N, D)
    key(fig, loss, ncols=5, title="FLOPs of a profile:")


def envelope(fig, fit, runs):
    """Figure 2: training curves with their lower envelope, and the lines through its optima to Gopher's budget."""
    loss, *right = fitted.three_panels(fig)
    fitted.curves(loss, fit, runs, by_size=True)
    used = fit.used
    fitted.optima(right, fit, fit.C[used], fit.N_opt[used], fit.C[used] / (6 * fit.N_opt[used]))


def cloud(fig, samples, points):
    """Bootstrap refits in the (α, β) plane with published points and lines of equal a.

    points: label → (α, β): this fit, a third work's, then the paper's.
    """
    ax = fig.subplots()
    ax.scatter(samples["alpha"], samples["beta"], s=3, alpha=0.25, color=OURS, rasterized=True)
    keys = [sample(ax, "bootstrap refits", marker="o", ls="none", ms=3, color=OURS)]
    alpha = np.linspace(0.29, 0.40, 50)
    for a in (0.44, 0.46, 0.48, 0.50, 0.52, 0.54, 0.56):
        beta = alpha * a / (1 - a)
        ax.plot(alpha, beta, color=REFERENCE, lw=0.6)
        last = np.flatnonzero((beta > 0.27) & (beta < 0.445))[-1]
        look: dict = {"ha": "right", "va": "bottom"} if last < len(alpha) - 1 else {"ha": "left"}
        note(ax, f"$a$ = {a:.2f}", alpha[last], beta[last], dx=3 * (last == len(alpha) - 1), **look)
    looks = [
        {"color": OURS, "marker": "o", "ms": 13, "mfc": "none", "mew": 2},  # a ring around a neighbour
        {"color": OTHER, "marker": "s", "ms": 7},
        {"color": PAPER, "marker": "D", "ms": 7},
        {"color": PAPER, "marker": "^", "ms": 8},
    ]
    for (label, (x, y)), look in zip(points.items(), looks, strict=True):
        keys += ax.plot(x, y, ls="none", label=label, **look)
    ax.set(xlabel=r"$\alpha$ (exponent of $N$)", ylabel=r"$\beta$ (exponent of $D$)")
    ax.set(xlim=(0.29, 0.40), ylim=(0.265, 0.455))
    key(fig, handles=keys, ncols=3)


def table2(fig, rows):
    """Exponents a with intervals, the paper's beside ours. rows: label, who, a, low, high."""
    ax = fig.subplots()
    looks: dict[str, dict] = {
        "paper": {"color": PAPER, "marker": "D"},
        "ours": {"color": OURS, "marker": "o"},
    }
    for k, row in enumerate(rows.itertuples()):
        whiskers(ax, row.a, -k, row.low, row.high, upright=False, ms=6, **looks[row.who])
    rule(ax, 0.5)
    ax.set(yticks=-np.arange(len(rows)), yticklabels=rows["label"], xlabel=EXPONENT + " (80 % intervals)")
    names = {"paper": "as published", "ours": "recomputed here"}
    key(fig, handles=[sample(ax, names[who], ls="none", ms=6, **look) for who, look in looks.items()])
    ax.grid(axis="y", visible=False)


def overlay(fig, lines, models, printed):
    """Figure 1: predicted optimal size against compute, and models as trained.

    lines: name → frontier with `optimum`, named after whose it is ("ours", "paper" or a third work). models:
    columns name, N, D, C. printed: name → (C, N) of a line that the paper gives as a table.
    """
    ax = fig.subplots()
    C = np.geomspace(1e18, 3e26, 100)
    looks: dict[str, list] = {OURS: ["-", "--"], PAPER: ["-", "--", "-."], OTHER: [(0, (4, 2))]}
    drawn = {name: (C, law.optimum(C).N) for name, law in lines.items()}
    for name, (x, y) in (printed | drawn).items():
        whose = OURS if name.startswith("ours") else PAPER if name.startswith("paper") else OTHER
        ax.plot(x, y, color=whose, ls=looks[whose].pop(0), lw=1.4, label=name)
    for row in models.itertuples():
        own = row.name == "Chinchilla"
        ax.plot(row.C, row.N, "*", ms=13, color=PAPER if own else OTHER, zorder=3)
    beside = {"GPT-3": (-6, 3), "Jurassic-1": (6, -6), "LaMDA": (-6, -3)}  # three stars lie close together
    for row in models.itertuples():
        note(ax, row.name, row.C, row.N, *beside.get(row.name, (6, -1)))
    rule(ax, GOPHER_FLOPS)
    note(ax, "Gopher's budget", GOPHER_FLOPS, 1.3e8, dx=-4)
    ax.set(xscale="log", yscale="log", xlabel=FLOPS, ylabel="parameters $N$")
    ax.set(xlim=(C[0], C[-1]), ylim=(1e8, 2e13))
    sizes(ax.yaxis)
    label_ends(ax)


def early_stop(fig, stopped, converged, published):
    """Resampled a when the averaged loss stops early, and when the summed loss converges."""
    left, right = fig.subplots(1, 2)
    left.hist(stopped, bins=25, color=OURS)
    right.hist(converged, bins=40, color=OURS)
    for ax in (left, right):
        ax.axvspan(*published, color=PAPER, alpha=0.6)
        ax.set_xlabel("exponent $a$")
        ax.locator_params(axis="x", nbins=5)
    left.set(title="mean of the losses, stopped early", ylabel="resamples")
    left.ticklabel_format(useOffset=False)
    right.set_title("sum of the losses, converged")


def multiverse(fig, table, chosen):
    """Specification curve: a under every combination of choices, sorted, with the choices below."""
    table = table.sort_values("a").reset_index(drop=True)
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=[1.4, 1])
    x = np.arange(len(table))
    whiskers(top, x, table["a"], table["low"], table["high"], ms=3.5, color=OURS)
    rule(top, y=chosen, text="the paper's .46", color=PAPER)
    top.set_ylabel("exponent $a$ (80 % interval)")
    labels: list[str] = []
    for column, marker in (("objective", "o"), ("data", "s")):
        for value in dict.fromkeys(table[column]):
            at = x[table[column] == value]
            bottom.plot(at, np.full(len(at), len(labels)), marker, ms=3.5, color=OURS)
            labels.append(value)
    bottom.set(yticks=range(len(labels)), yticklabels=labels, ylim=(-0.7, len(labels) - 0.3))
    bottom.set_xlabel("specification, sorted by $a$")


def bias(fig, table, drift):
    """Left: error of D* at 1e24 FLOPs by grid width. Right: the same when the grid's centre drifts.

    A colour a surface, a line style a method.
    """
    left, right = fig.subplots(1, 2)
    surfaces = dict.fromkeys([*table["surface"], *drift["surface"]])
    others = iter(KINDS)
    colours = {name: PAPER if name.startswith("Chinchilla") else next(others) for name in surfaces}
    looks = {"approach 2": {"marker": "o", "ls": "-"}, "variable projection": {"marker": "s", "ls": ":"}}
    for ax, data in ((left, table), (right, drift)):
        for (surface, method), g in data.groupby(["surface", "method"], sort=False):
            ax.plot(g["factor"], g["error"], color=colours[surface], **looks[method])
        rule(ax, y=0)
        ax.set(xscale="log", xticks=[2, 4, 8, 16], xticklabels=["±2×", "±4×", "±8×", "±16×"])
        ax.set_xlabel("width of the grid")
        ax.minorticks_off()
    left.set(ylabel=r"error of $D_\mathrm{opt}$ at $10^{24}$ FLOPs (%)", title="centred grids")
    right.set(title="centre drifts threefold")
    keys = [sample(left, f"{name} surface", color=c) for name, c in colours.items()]
    keys += [sample(left, name, color=REFERENCE, **look) for name, look in looks.items()]
    key(fig, handles=keys, ncols=2)


def local_exponent(fig, curves, kaplan_range, kaplan_exponent):
    """Local slope d log N/d log C against non-embedding N. curves: name → (N, slope, (small, large limit))."""
    ax = fig.subplots()
    ax.axvspan(*kaplan_range, color=REFERENCE, alpha=0.15, lw=0)
    note(ax, "Kaplan's models", np.sqrt(np.prod(kaplan_range)), 0.42, dx=0, ha="center")
    for name, (N, slope, limits) in curves.items():
        whose, ls = (PAPER, "-") if name.startswith("Hoffmann") else (OTHER, "-.")
        ax.plot(N, slope, color=whose, ls=ls, label=name.replace("'s ", "'s\n"))
        for limit, dots in zip(limits, (":", "--"), strict=True):
            ax.axhline(limit, color=whose, lw=0.7, ls=dots)
    rule(ax, y=kaplan_exponent, text=f"Kaplan: {kaplan_exponent}", ls="-", lw=1.4)
    ax.set(xscale="log", xlabel="parameters $N$ without embeddings", ylim=(0.4, 1.02))
    sizes(ax.xaxis)
    ax.set_ylabel(r"local exponent d log $N$ / d log $C$")
    label_ends(ax)


def staircase(fig, table):
    """Exponent a after each correction, by dataset. table: stage, dataset, a, low, high."""
    ax = fig.subplots()
    stages = list(dict.fromkeys(table["stage"]))
    looks: list[dict] = [{"marker": "o", "ls": "-"}, {"marker": "s", "ls": "--", "mfc": "none"}]
    for k, (dataset, g) in enumerate(table.groupby("dataset", sort=False)):
        x = np.array([stages.index(s) for s in g["stage"]]) + 0.14 * (k - 0.5)
        whiskers(ax, x, g["a"], g["low"], g["high"], color=OURS, lw=1.1, label=dataset, **looks[k])
    for value, text in ((0.73, "Kaplan .73"), (0.50, "Hoffmann .50")):
        rule(ax, y=value, text=text, end="left", color=PAPER if value == 0.50 else OTHER)
    ax.set(xticks=range(len(stages)), xticklabels=[s.replace(" ", "\n") for s in stages])
    ax.set(ylabel=EXPONENT + " (95 %)", xlim=(-0.4, len(stages) - 0.2))
    key(fig, ax)


def benchmarks(fig, table):
    """Chinchilla against Gopher: a dumbbell a task, grouped. table: group, task, chinchilla, gopher (percent)."""
    ax = fig.subplots()
    looks = {
        "Chinchilla 70 B": {"color": PAPER, "marker": "o"},
        "Gopher 280 B": {"color": OTHER, "marker": "D"},
    }
    y, ticks = 0, {}
    for group, g in table.groupby("group", sort=False):
        ax.text(1, y - 0.1, group, weight="bold", va="center")
        for row in g.itertuples():
            y -= 1
            ticks[y] = row.task
            ax.plot([row.gopher, row.chinchilla], [y, y], color=REFERENCE, lw=1.5, zorder=1)
            for value, look in zip((row.chinchilla, row.gopher), looks.values(), strict=True):
                ax.plot(value, y, ms=5.5, **look)
        y -= 1
    key(fig, handles=[sample(ax, name, ls="none", **look) for name, look in looks.items()])
    ax.set(yticks=list(ticks), yticklabels=list(ticks.values()), xlabel="accuracy (%)")
    ax.set(xlim=(0, 100), ylim=(y, 1))
    ax.grid(axis="y", visible=False)


def leads(fig, tables):
    """Leads in points with their intervals, a panel a rival. tables: rival → task, lead, low, high."""
    axes = fig.subplots(1, len(tables), sharey=True, sharex=True)
    tasks = list(dict.fromkeys(task for table in tables.values() for task in table["task"]))
    for ax, (rival, table) in zip(axes, tables.items(), strict=True):
        at = np.array([-tasks.index(task) for task in table["task"]])
        whiskers(ax, table["lead"], at, table["low"], table["high"], upright=False, color=PAPER)
        rule(ax, x=0)
        ax.set(title=f"over {rival}", xlabel="lead (points)", yticks=-np.arange(len(tasks)), yticklabels=tasks)
        ax.grid(axis="y", visible=False)


def extrapolation(fig, table):
    """Relative error of held-out losses predicted from cheaper runs. table: cut, C, error (%)."""
    ax = fig.subplots()
    groups = list(table.groupby("cut", sort=True))
    for (cut, g), colour, marker in zip(groups, ordered(groups), "os^", strict=False):
        look = {"marker": marker, "ls": "none", "ms": 3.5, "alpha": 0.75}
        ax.plot(g["C"], g["error"], color=colour, label=f"fitted to $C \\leq$ {power(cut)}", **look)
        ax.axvline(cut, color=colour, lw=0.9, ls=":")
    rule(ax, y=0)
    ax.set(xscale="log", xlabel="training compute $C$ of the held-out run (FLOPs)")
    ax.set_ylabel("predicted − measured loss (%)")
    key(fig, ax)


def lifetime(fig, table, repeats):
    """Left: cheapest model size for a loss when inference is counted. Right: worth of repeated tokens."""
    left, right = fig.subplots(1, 2)
    for column, ls, name in (("N", "-", "parameters $N$"), ("D", "--", "tokens $D$")):
        left.plot(table["inference_tokens"], table[column], color=OURS, ls=ls)
        x, y = table[["inference_tokens", column]].iloc[0]
        note(left, name, x, y, dx=0, dy=8, color=ink(OURS))
    left.set(xscale="log", yscale="log", xlabel="tokens served over its life")
    left.set(ylabel="parameters, training tokens", title="same loss, least total compute")
    sizes(left.yaxis)
    right.plot(repeats["epochs"], repeats["worth"], color=OTHER, label="worth")
    right.plot(repeats["epochs"], repeats["epochs"], color=REFERENCE, lw=0.9, ls="--", label="if fresh")
    right.set(xscale="log", yscale="log", xlabel="epochs over the same data")
    right.set(ylabel="equivalent fresh epochs", title="repeated data")
    label_ends(right)
