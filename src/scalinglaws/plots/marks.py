"""What every figure draws in the same way: bands, intervals, reference lines, names at line ends, axes, keys."""

from __future__ import annotations

import numpy as np

from ..figures import REFERENCE, SMALL

FLOPS = "training compute $C$ (FLOPs)"
SAME_WAY = {"lw": 0.9, "ls": "--", "color": REFERENCE, "zorder": 1}


def ordered(values) -> list:
    """A colour for each of an ordered lot (sizes, budgets, bins): the last is the strongest against the page."""
    import matplotlib as mpl

    return list(mpl.colormaps[mpl.rcParams["image.cmap"]](np.linspace(0, 1, max(len(values), 2))))


def size(count: float) -> str:
    """A number of parameters or tokens as the field writes it: 400 M, 67 B, 1.4 T."""
    for scale, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * scale:
            return f"{count / scale:.3g} {letter}"
    return f"{count:.3g}"


def power(value: float, digits: int = 0) -> str:
    """A number as mathematics, 6·10¹⁸: at most `digits` after the point, the factor left out where it is one."""
    factor, exponent = map(float, f"{value:.{digits}e}".split("e"))
    times = "" if factor == 1 else rf"{factor:g}\cdot"
    return f"${times}10^{{{exponent:.0f}}}$"


def ink(colour):
    """A line's colour halfway to that of text, which can be read in small letters."""
    import matplotlib as mpl
    import seaborn as sns

    return sns.blend_palette([colour, mpl.rcParams["text.color"]], 3)[1]


def band(ax, x, y, low, high, **look):
    """A curve with its interval as a translucent band."""
    (line,) = ax.plot(x, y, **look)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.15, lw=0)
    return line


def whiskers(ax, x, y, low, high, upright: bool = True, **look):
    """Points with their intervals as plain lines without caps: along y, or along x where not `upright`."""
    look = {"marker": "o", "ls": "none"} | look
    (dots,) = ax.plot(x, y, **look)
    draw, at = (ax.vlines, x) if upright else (ax.hlines, y)
    draw(at, low, high, color=dots.get_color(), lw=1.8, alpha=0.65, zorder=dots.get_zorder() - 0.1)
    return dots


def rule(ax, x=None, y=None, text: str = "", end: str = "right", **look):
    """A grey reference line at x or y with its name: left of the line at its top, or above it at its right or left end."""
    look = SAME_WAY | look
    if y is None:
        ax.axvline(x, **look)
        where: dict = {"xy": (x, 1), "xycoords": ("data", "axes fraction"), "xytext": (-3, -2)}
        where |= {"rotation": 90, "ha": "right", "va": "top"}
    else:
        ax.axhline(y, **look)
        where = {"xy": (end == "right", y), "xycoords": ("axes fraction", "data"), "xytext": (0, 2)}
        where |= {"ha": end, "va": "bottom"}
    ax.annotate(text, **where, textcoords="offset points", fontsize=SMALL, zorder=5)


def note(ax, text: str, x, y, dx: float = 5, dy: float = 0, **look):
    """A word beside a point, `dx` and `dy` points away from it."""
    look = {"fontsize": SMALL, "va": "center", "ha": "left" if dx >= 0 else "right"} | look
    return ax.annotate(text, (x, y), xytext=(dx, dy), textcoords="offset points", **look)


def spread(wanted, heights, low: float, high: float) -> np.ndarray:
    """Centres nearest to the wanted ones (least squares) at which boxes of these heights do not overlap.

    They stay between low and high where there is room, and in their order.
    """
    from scipy.optimize import isotonic_regression

    wanted, heights = np.asarray(wanted, float), np.asarray(heights, float)
    order = np.argsort(wanted, kind="stable")
    tall = heights[order]
    stacked = np.cumsum(tall) - tall / 2  # centres of the boxes piled on one another
    free = isotonic_regression(wanted[order] - stacked).x
    centres = np.empty_like(wanted)
    centres[order] = np.clip(free, low, max(low, high - tall.sum())) + stacked
    return centres


def label_ends(ax, lines=None):
    """Name the labelled lines of `ax` (or `lines`) beside its right edge, at the height of their ends.

    Names that would overlap move apart, with a thin line to where they belong. To be called when all is
    drawn and the limits are set.
    """
    lines = [line for line in lines or ax.get_lines() if not str(line.get_label()).startswith("_")]
    ax.figure.draw_without_rendering()  # the layout, so that heights are known
    box, unit = ax.get_window_extent(), ax.figure.dpi / 72
    ends = {line: end for line in lines if (end := _end(ax, line)) is not None}
    heights = [1.3 * SMALL * unit * (1 + line.get_label().count("\n")) for line in ends]
    at = spread([y for _, y in ends.values()], heights, box.y0 - 4 * unit, box.y1 + 4 * unit)
    for (line, (x, y)), height in zip(ends.items(), at, strict=True):
        thin = {"arrowstyle": "-", "lw": 0.5, "color": line.get_color()}
        thin |= {"shrinkA": 0, "shrinkB": 2, "relpos": (0, 0.5)}  # from the middle of the name's left edge
        moved = abs(height - y) > 2 * unit or box.x1 - x > 6 * unit
        ax.annotate(
            line.get_label(), ((x - box.x0) / box.width, (y - box.y0) / box.height),
            (1, (height - box.y0) / box.height), xycoords="axes fraction", textcoords=_beside(ax),
            fontsize=SMALL, va="center", color=ink(line.get_color()), annotation_clip=False,
            arrowprops=thin if moved else None,
        )  # fmt: skip


def _beside(ax):
    """Fractions of the axes, ten points to the right."""
    from matplotlib.transforms import ScaledTranslation

    return ax.transAxes + ScaledTranslation(10 / 72, 0, ax.figure.dpi_scale_trans)


def _end(ax, line):
    """Pixels of a line's last point that is a number, brought inside the axes; None where there is none."""
    xy = ax.transData.transform(np.column_stack([np.asarray(v, float) for v in line.get_data()]))
    xy, box = xy[np.isfinite(xy).all(1)], ax.get_window_extent()
    inside = xy[(xy[:, 0] <= box.x1 + 1) & (xy[:, 0] >= box.x0 - 1)]
    if not len(xy):
        return None
    x, y = (inside if len(inside) else xy)[-1]
    return min(x, box.x1), np.clip(y, box.y0, box.y1)


def key(fig, ax=None, handles=None, ncols: int = 3, where: str = "upper", **look):
    """A legend for the figure, above it (or below, where="lower") and outside of the data."""
    if handles is None:
        handles, _ = (ax or fig.axes[0]).get_legend_handles_labels()
    return fig.legend(handles=handles, loc=f"outside {where} left", ncols=ncols, alignment="left", **look)


def sample(ax, label, **look):
    """A handle for a key: the look of a line or marker, drawn nowhere."""
    return ax.plot([], [], label=label, **look)[0]


def counts(ax, values, label: str, base: float = 2):
    """A logarithmic x-axis of counts (generations, samples, tests), ticks at the values themselves."""
    ax.set_xscale("log", base=base)
    ax.set_xticks(list(values), [f"{v:g}" for v in values])
    ax.minorticks_off()
    ax.set_xlabel(label)


def sizes(*axes):
    """Logarithmic axes of sizes: 10 M, 100 M, 1 B, or 20 k, 50 k, 100 k where one spans less than two decades."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for axis in axes:
        low, high = axis.get_view_interval()
        if high < 100 * low:
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(lambda v, _: size(v))
        axis.set_minor_formatter(NullFormatter())


def plain(axis, ticks: int = 5):
    """Plain numbers on a logarithmic axis that spans less than a decade, as losses do."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(lambda v, _: f"{v:g}")
    axis.set_minor_locator(NullLocator())
