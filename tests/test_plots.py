"""What figures have in common: colours by role, log axes, names at line ends, intervals, sizes for a phone."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from scalinglaws import figures, fit, laws
from scalinglaws.paths import root
from scalinglaws.plots import chinchilla, fitted, marks, resampling, testtime

PLOTS = sorted((root() / "src" / "scalinglaws" / "plots").glob("*.py"))
MODES = ("light", "dark")
ROLES = (figures.OURS, figures.PAPER, figures.OTHER)


def luminance(colour):
    """Relative luminance of WCAG 2."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def lightness(colour):
    """L* of CIELAB, what is left of a colour in grey."""
    y = luminance(colour)
    return 116 * y ** (1 / 3) - 16 if y > 0.008856 else 903.3 * y


def drawn(plot, *args, size=(figures.WIDTH, 3.4), mode="light"):
    with mpl.rc_context(figures.style(mode)):
        fig = figures._drawn(plot, args, {}, size)
        fig.draw_without_rendering()
        return fig


@pytest.mark.parametrize("path", PLOTS, ids=lambda p: p.stem)
def test_plots_name_roles_and_no_colours_or_text_sizes(path):
    text = path.read_text()
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|[\"']C\d[\"']|tab:\w+", text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.keyword) and node.arg in ("color", "c", "edgecolor", "facecolor"):
            named = isinstance(node.value, ast.Constant) and node.value.value != "none"
            assert not named, f"{path.name}:{node.value.lineno}: a colour by its name"
        if isinstance(node, ast.keyword) and "fontsize" in (node.arg or ""):
            literal = isinstance(node.value, ast.Constant) and not isinstance(node.value.value, str)
            assert not literal, f"{path.name}:{node.value.lineno}: a text size"


@pytest.mark.parametrize("mode", MODES)
def test_every_colour_stands_out_from_the_page(mode):
    page, text = figures._MODES[mode]["page"], figures._MODES[mode]["text"]
    with mpl.rc_context(figures.style(mode)):
        cycle = mpl.rcParams["axes.prop_cycle"].by_key()["color"]
        ordered = marks.ordered(range(9))
        found = {k: to_rgb(k) for k in {*ROLES, figures.REFERENCE, *figures.KINDS}}
        methods = {name: to_rgb(look["color"]) for name, look in figures.METHODS.items()}
        inks = [marks.ink(colour) for colour in [*cycle, *ordered]]
    assert contrast(text, page) > 7
    for colour in [*cycle, *ordered, *found.values(), *methods.values()]:
        assert contrast(colour, page) >= 3, colour
    for colour in inks:
        assert contrast(colour, page) >= 4.5, colour


@pytest.mark.parametrize("mode", MODES)
def test_colours_can_be_told_apart_in_grey(mode):
    with mpl.rc_context(figures.style(mode)):
        roles = [lightness(to_rgb(role)) for role in ROLES]
        ordered = [lightness(colour) for colour in marks.ordered(range(5))]
    assert min(abs(a - b) for a, b in itertools.combinations(roles, 2)) >= 6
    steps = np.diff(ordered)
    assert (steps < -4).all() if mode == "light" else (steps > 4).all()  # more is stronger
    looks = [
        (look["color"], look["ls"], look["marker"], look.get("mfc")) for look in figures.METHODS.values()
    ]
    assert len({look[1:] for look in looks}) == len(looks)


def test_a_role_has_one_colour_and_no_two_roles_share_it():
    assert len({*ROLES, figures.REFERENCE, *figures.KINDS}) == 4 + len(figures.KINDS)
    assert not {look["color"] for look in figures.METHODS.values()} & {*ROLES, figures.REFERENCE}
    for light, dark in figures._SHADES.values():
        assert light != dark


def test_what_is_drawn_takes_the_shade_of_the_page():
    shades = {}
    for mode in MODES:
        fig = drawn(lambda fig: fig.subplots().plot([1, 2], color=figures.PAPER), mode=mode)
        with mpl.rc_context(figures.style(mode)):
            shades[mode] = mpl.colors.to_hex(fig.axes[0].get_lines()[0].get_color())
    assert [shades[m] for m in MODES] == list(figures._SHADES[figures.PAPER])


def labels(axis, minor=False):
    return [t.get_text() for t in (axis.get_minorticklabels() if minor else axis.get_majorticklabels())]


def test_log_axes_are_labelled_at_decades_and_sizes_below_two_of_them():
    def plot(fig):
        wide, narrow = fig.subplots(1, 2)
        for ax, high in ((wide, 1e24), (narrow, 4e5)):
            ax.plot([2e4, high], [1, 2])
            ax.set_xscale("log")
        marks.sizes(narrow.xaxis)

    wide, narrow = drawn(plot).axes
    assert all(re.fullmatch(r"\$\\mathdefault\{10\^\{\d+\}\}\$", t) for t in labels(wide.xaxis))
    assert not any(labels(wide.xaxis, minor=True))
    low, high = narrow.get_xlim()
    within = [t for t, x in zip(labels(narrow.xaxis), narrow.get_xticks(), strict=True) if low <= x <= high]
    assert within == ["20 k", "50 k", "100 k", "200 k"]
    assert not any(labels(narrow.xaxis, minor=True))


def test_losses_have_plain_numbers():
    def plot(fig):
        ax = fig.subplots()
        ax.plot([1, 2], [1.5, 3])
        ax.set_yscale("log")
        marks.plain(ax.yaxis)

    axis = drawn(plot).axes[0].yaxis
    assert all(
        float(t) == pytest.approx(v) for t, v in zip(labels(axis), axis.get_majorticklocs(), strict=True)
    )
    assert not labels(axis, minor=True)


@pytest.mark.parametrize(
    ("count", "text"),
    [(4e8, "400 M"), (67e9, "67 B"), (1.4e12, "1.4 T"), (6144, "6.14 k"), (768, "768"), (999_900, "1 M")],
)
def test_sizes_are_written_as_in_the_field(count, text):
    assert marks.size(count) == text


def test_powers_of_ten_are_mathematics():
    assert marks.power(6e18) == "$6\\cdot10^{18}$"
    assert marks.power(1e21) == "$10^{21}$"
    assert marks.power(1.34e20, 1) == "$1.3\\cdot10^{20}$"
    assert marks.power(6.01e18, 1) == marks.power(6e18)


boxes = st.lists(st.tuples(st.floats(0, 400), st.floats(5, 40)), min_size=1, max_size=12)


@given(boxes)
def test_spread_names_never_overlap_stay_inside_and_keep_their_order(boxes):
    wanted, heights = map(np.array, zip(*boxes, strict=True))
    low, high = 0.0, 400.0
    at = marks.spread(wanted, heights, low, high)
    order = np.argsort(wanted, kind="stable")
    edges = at[order] - heights[order] / 2, at[order] + heights[order] / 2
    assert (edges[0][1:] >= edges[1][:-1] - 1e-6).all()
    assert edges[0][0] >= low - 1e-6
    if heights.sum() <= high - low:
        assert edges[1][-1] <= high + 1e-6


def test_names_with_room_stay_where_their_lines_end():
    np.testing.assert_allclose(marks.spread([300, 100, 200], [20, 20, 20], 0, 400), [300, 100, 200])


@pytest.mark.parametrize("count", [2, 6, 9])
def test_names_at_line_ends_do_not_overlap_and_name_every_line(count):
    def plot(fig):
        left, right = fig.subplots(1, 2)
        for k in range(count):
            right.plot([1, 10], [1, 2 + 0.01 * k], label=f"line {k}\nof two rows" if k == 1 else f"line {k}")
            left.plot([1, 5], [1, 2], label="_without a name")
        right.plot([], [], label="nowhere")
        right.set_xscale("log")
        for ax in (left, right):
            marks.label_ends(ax)

    left, right = drawn(plot).axes
    assert not left.texts
    boxes = [mpl.text.Text.get_window_extent(t) for t in right.texts]
    assert len(boxes) == count
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    assert min(b.x0 for b in boxes) > right.get_window_extent().x1
    assert max(b.x1 for b in boxes) <= right.figure.bbox.x1  # the layout has made room


def test_intervals_are_bands_and_plain_lines():
    def plot(fig):
        ax = fig.subplots()
        marks.band(ax, [1, 2], [1, 2], [0, 1], [2, 3], color=figures.OURS)
        marks.whiskers(ax, [1, 2], [1, 2], [0, 1], [2, 3], color=figures.PAPER)

    ax = drawn(plot).axes[0]
    shades, lines = ax.collections
    assert 0 < shades.get_alpha() < 0.5
    assert len(lines.get_segments()) == 2  # no caps
    np.testing.assert_allclose(lines.get_segments()[0], [[1, 0], [1, 2]])


def test_no_plot_draws_its_own_error_bars():
    for path in PLOTS:
        called = {n.func.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}  # fmt: skip
        assert "errorbar" not in called, path
        if path.stem != "marks":
            assert not called & {"fill_between", "vlines", "hlines"}, path


def test_pages_ask_for_no_figure_wider_than_a_phone_can_show():
    for path in (root() / "notebooks").glob("*/*.md"):
        for width in re.findall(r"^\s*size=\(([\d.]+),", path.read_text(), flags=re.M):
            assert float(width) <= figures.WIDTH, path
    page = 390 - 2 * 16  # CSS pixels of a phone less its margins
    assert figures.SMALL * page / (72 * figures.WIDTH) > 6.9


def runs():
    rng = np.random.default_rng(0)
    sizes = np.geomspace(1e7, 1e10, 12)
    C = np.repeat([1e19, 1e20, 1e21], 12)
    N = np.tile(sizes, 3)
    D = C / (6 * N)
    loss = laws.HOFFMANN_TEX.predict(N, D) * np.exp(rng.normal(0, 0.002, len(N)))
    return N, D, loss


def test_key_figures_have_the_papers_panels_and_text_that_can_be_read():
    import pandas as pd

    N, D, loss = runs()
    table = pd.DataFrame({"N": N, "D": D, "loss": loss, "C": 6 * N * D})
    valleys = fit.fit_isoflop(N, D, loss)
    models = pd.DataFrame({"name": ["Gopher", "Chinchilla"], "N": [280e9, 70e9], "C": [5e23, 5.9e23]})
    lines = {"ours, surface": laws.HOFFMANN_TEX, "Kaplan et al.": laws.KAPLAN_FRONTIER}
    printed = {"paper, approach 1": (np.array([1e19, 1e25]), np.array([1e8, 1e11]))}
    x = np.array([1, 4, 16])
    curve = (x, x / 20, x / 25, x / 18)
    shares = np.linspace(0, 1, 10).reshape(2, 5)
    limits = pd.DataFrame({"model": ["a", "b"], "passed": [0.3, 0.5], "low": [0.2, 0.4], "high": [0.6, 0.7]})
    climbs = {name: (np.arange(9), np.linspace(0, top, 9)) for name, top in (("a", 0.2), ("b", 0.4))}
    every = [
        drawn(chinchilla.digitised_profiles, valleys, table, size=(6.4, 4.9)),
        drawn(chinchilla.overlay, lines, models, printed),
        drawn(fitted.surface, fit.fit_surface(N, D, loss), table, size=(6.4, 4.2)),
        drawn(
            testtime.search, {"weighted": curve, "beam": curve}, {"weighted": shares, "beam": shares}, [4, 16]
        ),
        drawn(resampling.reach, climbs, limits, 0.3),
    ]
    assert [len(fig.axes) for fig in every] == [3, 1, 2, 2, 1]
    for fig in every:
        sizes = [t.get_fontsize() for t in fig.findobj(mpl.text.Text) if t.get_text()]
        assert min(sizes) >= figures.SMALL
    overlay = every[1].axes[0]
    with mpl.rc_context(figures.style()):
        of = {line.get_label(): line.get_color() for line in overlay.get_lines()}
    assert of["ours, surface"] == figures.OURS
    assert of["paper, approach 1"] == figures.PAPER
    assert of["Kaplan et al."] == figures.OTHER


def test_a_fit_can_be_drawn_in_a_reader_s_own_style():
    import pandas as pd

    N, D, loss = runs()
    table = pd.DataFrame({"N": N, "D": D, "loss": loss})
    fig = fitted.plot(fit.fit_isoflop(N, D, loss), table)
    assert isinstance(fig, Figure)
    fig.draw_without_rendering()


def test_the_library_is_imported_without_matplotlib_and_seaborn():
    code = "import sys, scalinglaws.fit, scalinglaws.notebook, scalinglaws.plots.chinchilla, scalinglaws.plots.testtime; print({'matplotlib', 'seaborn'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root())
    assert out.stdout.strip() == "set()"
