"""Figures of the Chinchilla chapter."""

from __future__ import annotations

import numpy as np

from . import fitted

GOPHER_FLOPS = 5.76e23


def recovery(fig, table, truth, labels):
    """Estimates of a in every simulated study, a row a method, with the truth as a line."""
    ax = fig.subplots()
    rng = np.random.default_rng(0)
    for k, method in enumerate(labels):
        a = table.loc[table["method"] == method, "a"]
        ax.scatter(a, k + rng.uniform(-0.22, 0.22, len(a)), s=6, alpha=0.45, color=f"C{k}")
        ax.plot([a.mean()] * 2, [k - 0.33, k + 0.33], color=f"C{k}", lw=2.5)
    ax.axvline(truth, color="0.5", ls="--", lw=1.2)
    ax.annotate(
        f"truth {truth:.4f}",
        (truth, len(labels) - 0.45),
        xytext=(4, 0),
        textcoords="offset points",
        fontsize=8.5,
    )
    ax.set(
        yticks=range(len(labels)),
        yticklabels=list(labels.values()),
        xlabel="estimated exponent a of N_opt ∝ C^a",
        ylim=(-0.5, len(labels) - 0.2),
    )
    ax.grid(axis="y", visible=False)


def digitised_profiles(fig, fit, runs):
    """Approach 2 on digitised points: parabolas, then the two lines through their minima."""
    left, right = fig.subplots(1, 2)
    fitted.profiles(left, fit, runs)
    C = np.array([v.C for v in fit.valleys])
    wide = np.geomspace(C.min() / 2, GOPHER_FLOPS * 2, 50)
    for k, (name, values, line) in enumerate(
        (
            ("N_opt (parameters)", [v.N for v in fit.valleys], fit.law.optimum(wide).N),
            ("D_opt (tokens)", [v.D for v in fit.valleys], fit.law.optimum(wide).D),
        )
    ):
        right.scatter(C, values, s=16, color=f"C{k}")
        right.plot(wide, line, color=f"C{k}", label=f"{name} ∝ C^{(fit.params['a'], fit.params['b'])[k]:.3f}")
    right.axvline(GOPHER_FLOPS, color="0.5", ls="--", lw=1)
    right.annotate(
        "Gopher's budget",
        (GOPHER_FLOPS, 7e7),
        xytext=(-4, 0),
        textcoords="offset points",
        rotation=90,
        ha="right",
        fontsize=8,
    )
    right.set(
        xscale="log",
        yscale="log",
        xlabel="training compute C (FLOPs)",
        ylabel="parameters or tokens",
        ylim=(5e7, 1e14),
    )
    right.legend(loc="upper left")


def cloud(fig, samples, points):
    """Bootstrap refits in the (α, β) plane with published points and lines of equal a."""
    ax = fig.subplots()
    ax.scatter(
        samples["alpha"],
        samples["beta"],
        s=3,
        alpha=0.25,
        color="C0",
        label="bootstrap refits",
        rasterized=True,
    )
    ax.plot([], [], "o", ms=5, color="C0", label="bootstrap refits")
    alpha = np.linspace(0.29, 0.40, 50)
    for a in (0.44, 0.46, 0.48, 0.50, 0.52, 0.54, 0.56):
        beta = alpha * a / (1 - a)
        ax.plot(alpha, beta, color="0.55", lw=0.6)
        inside = (beta > 0.27) & (beta < 0.445)
        if inside.any():
            last = np.flatnonzero(inside)[-1]
            ax.annotate(
                f"a = {a:.2f}", (alpha[last], beta[last]), fontsize=7, ha="right", va="bottom", color="0.5"
            )
    for k, (label, (x, y)) in enumerate(points.items()):
        size = {"ms": 13, "mfc": "none", "mew": 2} if k == 0 else {"ms": 8}  # a ring around a neighbour
        ax.plot(x, y, marker="oDs^"[k % 4], ls="none", color=f"C{k + 1}", label=label, **size)
    ax.set(xlabel="α (exponent of N)", ylabel="β (exponent of D)", xlim=(0.29, 0.40), ylim=(0.265, 0.455))
    ax.legend(loc="lower right", markerscale=1.0)


def table2(fig, rows):
    """Exponents a with intervals, the paper's beside ours. rows: label, who, a, low, high."""
    ax = fig.subplots()
    for k, row in enumerate(rows.itertuples()):
        colour = "C1" if row.who == "paper" else "C0"
        ax.plot([row.low, row.high], [-k, -k], color=colour, lw=3, alpha=0.55, solid_capstyle="butt")
        ax.plot(row.a, -k, "o" if row.who == "ours" else "D", color=colour, ms=6)
    ax.axvline(0.5, color="0.5", lw=0.8)
    ax.set(
        yticks=-np.arange(len(rows)),
        yticklabels=rows["label"],
        xlabel="exponent a of N_opt ∝ C^a (80 % intervals)",
    )
    handles = [ax.plot([], [], "D", color="C1")[0], ax.plot([], [], "o", color="C0")[0]]
    ax.legend(handles, ["as published", "recomputed here"], loc="upper right")
    ax.grid(axis="y", visible=False)


def overlay(fig, lines, models):
    """Figure 1: predicted optimal size against compute, and models as trained.

    lines: name → frontier with `optimum`. models: columns name, N, D, C.
    """
    ax = fig.subplots()
    C = np.geomspace(1e18, 3e26, 100)
    styles = ["-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1))]
    for k, (name, law) in enumerate(lines.items()):
        ax.plot(C, law.optimum(C).N, ls=styles[k % 6], color=f"C{k % 6}", label=name)
    ax.scatter(
        models["C"], models["N"], marker="*", s=90, color="C3", edgecolor="white", linewidth=0.5, zorder=3
    )
    beside = {"GPT-3": (-34, 2), "Jurassic-1": (6, -10), "LaMDA": (-38, -3)}  # three stars lie close together
    for row in models.itertuples():
        ax.annotate(
            row.name,
            (row.C, row.N),
            xytext=beside.get(row.name, (6, -3)),
            textcoords="offset points",
            fontsize=8,
        )
    ax.axvline(GOPHER_FLOPS, color="0.5", ls="--", lw=0.8)
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="training compute C (FLOPs)",
        ylabel="parameters N",
        ylim=(1e8, 2e13),
    )
    ax.legend(loc="upper left")


def early_stop(fig, stopped, converged, published):
    """Resampled a when the averaged loss stops early, and when the summed loss converges."""
    left, right = fig.subplots(1, 2)
    left.hist(stopped, bins=25, color="C1")
    left.axvspan(*published, color="0.5", alpha=0.3)
    left.set(title="mean of the Huber losses, default tolerance", xlabel="exponent a", ylabel="resamples")
    left.ticklabel_format(useOffset=False)
    left.tick_params(axis="x", labelrotation=30)
    right.hist(converged, bins=40, color="C0")
    right.axvspan(*published, color="0.5", alpha=0.5)
    right.set(title="sum of the Huber losses, converged", xlabel="exponent a")


def multiverse(fig, table, chosen):
    """Specification curve: a under every combination of choices, sorted, with the choices below."""
    table = table.sort_values("a").reset_index(drop=True)
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=[1.4, 1])
    x = np.arange(len(table))
    top.vlines(x, table["low"], table["high"], color="C0", alpha=0.5, lw=1.5)
    top.scatter(x, table["a"], s=10, color="C0", zorder=3)
    top.axhline(chosen, color="C1", lw=1, ls="--")
    top.annotate(
        "the paper's .46",
        (len(table) - 1, chosen),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    top.set(ylabel="exponent a (80 % interval)")
    labels: list[str] = []
    for column in ("objective", "data"):
        for value in dict.fromkeys(table[column]):
            at = x[table[column] == value]
            bottom.scatter(
                at, np.full(len(at), len(labels)), s=12, color="C2" if column == "objective" else "C3"
            )
            labels.append(value)
    bottom.set(
        yticks=range(len(labels)),
        yticklabels=labels,
        xlabel="specification, sorted by a",
        ylim=(-0.7, len(labels) - 0.3),
    )
    bottom.tick_params(axis="y", labelsize=7.5)


def bias(fig, table, drift):
    """Left: error of D* at 1e24 FLOPs by grid width. Right: the same when the grid's centre drifts.

    A colour a surface, a line style a method.
    """
    left, right = fig.subplots(1, 2)
    colours = {name: f"C{k}" for k, name in enumerate(dict.fromkeys([*table["surface"], *drift["surface"]]))}
    looks = {"approach 2": {"marker": "o", "ls": "-"}, "variable projection": {"marker": "s", "ls": ":"}}
    for ax, data in ((left, table), (right, drift)):
        for (surface, method), g in data.groupby(["surface", "method"], sort=False):
            ax.plot(g["factor"], g["error"], color=colours[surface], **looks[method])
        ax.axhline(0, color="0.5", lw=0.8)
        ax.set(
            xscale="log",
            xticks=[2, 4, 8, 16],
            xticklabels=["±2×", "±4×", "±8×", "±16×"],
            xlabel="width of the grid",
        )
        ax.minorticks_off()
    left.set(ylabel="error of D_opt at 1e24 FLOPs (%)", title="centred grids")
    right.set(title="centre drifts threefold")
    keys = [left.plot([], [], color=c, label=f"{name} surface")[0] for name, c in colours.items()]
    keys += [left.plot([], [], color="0.5", label=name, **look)[0] for name, look in looks.items()]
    left.legend(handles=keys, fontsize=7.5)


def local_exponent(fig, curves, kaplan_range, kaplan_exponent):
    """Local slope d log N/d log C against non-embedding N. curves: name → (N, slope, (small, large limit))."""
    ax = fig.subplots()
    ax.axvspan(*kaplan_range, color="0.5", alpha=0.15)
    ax.annotate("Kaplan's models", (np.sqrt(np.prod(kaplan_range)), 0.415), ha="center", fontsize=8.5)
    for k, (name, (N, slope, limits)) in enumerate(curves.items()):
        ax.plot(N, slope, color=f"C{k}", label=name)
        ax.axhline(limits[0], color=f"C{k}", lw=0.7, ls=":")
        ax.axhline(limits[1], color=f"C{k}", lw=0.7, ls="--")
    ax.axhline(kaplan_exponent, color="C3", lw=1.2)
    ax.annotate(
        f"Kaplan: {kaplan_exponent}",
        (N[-1], kaplan_exponent),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
    )
    ax.set(
        xscale="log",
        xlabel="non-embedding parameters N",
        ylabel="local exponent d log N / d log C",
        ylim=(0.4, 1.02),
    )
    ax.legend(loc="upper right")


def staircase(fig, table):
    """Exponent a after each correction, by dataset. table: stage, dataset, a, low, high."""
    ax = fig.subplots()
    stages = list(dict.fromkeys(table["stage"]))
    for k, (dataset, g) in enumerate(table.groupby("dataset", sort=False)):
        x = np.array([stages.index(s) for s in g["stage"]]) + 0.12 * (k - 0.5)
        ax.errorbar(
            x,
            g["a"],
            yerr=[g["a"] - g["low"], g["high"] - g["a"]],
            marker="o",
            ls="-",
            lw=1.2,
            capsize=3,
            label=dataset,
            color=f"C{k}",
        )
    for value, text in ((0.73, "Kaplan .73"), (0.50, "Hoffmann .50")):
        ax.axhline(value, color="0.5", ls="--", lw=0.8)
        ax.annotate(
            text,
            (-0.45, value),
            xytext=(0, 3),
            textcoords="offset points",
            fontsize=8,
        )
    ax.set(
        xticks=range(len(stages)),
        xticklabels=[s.replace(" ", "\n") for s in stages],
        ylabel="exponent a (95 % interval)",
        xlim=(-0.5, len(stages) - 0.5),
    )
    ax.legend()


def benchmarks(fig, table):
    """Chinchilla against Gopher: a dumbbell a task, grouped. table: group, task, chinchilla, gopher (percent)."""
    ax = fig.subplots()
    y, labels, ticks = 0, [], []
    for group, g in table.groupby("group", sort=False):
        ax.text(0, y + 0.1, group, fontsize=9, weight="bold")
        y -= 1
        for row in g.itertuples():
            ax.plot([row.gopher, row.chinchilla], [y, y], color="0.6", lw=1.5, zorder=1)
            ax.scatter(row.gopher, y, color="C1", marker="D", s=22)
            ax.scatter(row.chinchilla, y, color="C0", marker="o", s=26)
            ticks.append(y)
            labels.append(row.task)
            y -= 1
    handles = [ax.scatter([], [], color="C0", marker="o"), ax.scatter([], [], color="C1", marker="D")]
    ax.legend(handles, ["Chinchilla 70B", "Gopher 280B"], loc="lower right")
    ax.set(yticks=ticks, yticklabels=labels, xlabel="accuracy (%)", xlim=(0, 100), ylim=(y, 1))
    ax.tick_params(axis="y", labelsize=7.5)
    ax.grid(axis="y", visible=False)


def extrapolation(fig, table):
    """Relative error of held-out losses predicted from cheaper runs. table: cut, C, error (%)."""
    ax = fig.subplots()
    for k, (cut, g) in enumerate(table.groupby("cut", sort=True)):
        ax.scatter(g["C"], g["error"], s=9, alpha=0.7, color=f"C{k}", label=f"fitted to C ≤ {cut:.0e}")
        ax.axvline(cut, color=f"C{k}", lw=0.8, ls=":")
    ax.axhline(0, color="0.5", lw=0.8)
    ax.set(
        xscale="log",
        xlabel="training compute C of the held-out run (FLOPs)",
        ylabel="predicted − measured loss (%)",
    )
    ax.legend()


def lifetime(fig, table, repeats):
    """Left: cheapest model size for a loss when inference is counted. Right: worth of repeated tokens."""
    left, right = fig.subplots(1, 2)
    left.plot(table["inference_tokens"], table["N"], label="parameters N")
    left.plot(table["inference_tokens"], table["D"], label="training tokens D", ls="--")
    left.set(
        xscale="log",
        yscale="log",
        xlabel="tokens served over the model's life",
        ylabel="parameters or tokens",
        title="same loss, least total compute",
    )
    left.legend()
    right.plot(repeats["epochs"], repeats["worth"], label="worth in fresh epochs")
    right.plot(
        repeats["epochs"], repeats["epochs"], color="0.5", lw=0.8, ls="--", label="as if all were fresh"
    )
    right.set(
        xscale="log",
        yscale="log",
        xlabel="epochs over the same data",
        ylabel="equivalent fresh epochs",
        title="repeated data",
    )
    right.legend()
