"""Coverage of the intervals that `fit` prints, by world and method, beside that of resampled rows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import fit_coverage

FAST = {
    name: (make, tuple(m for m in methods if m != "surface"))
    for name, (make, methods) in fit_coverage.WORLDS.items()
}
SURFACE = {
    name: (make, ("surface",))
    for name, (make, methods) in fit_coverage.WORLDS.items()
    if "surface" in methods
}


def show(title, table):
    print(f"\n{title}\n{table.round(3).to_string(index=False, na_rep='')}")


@pytest.mark.parametrize(("worlds", "studies"), [(FAST, 100), (SURFACE, 40)], ids=["projected", "surface"])
def test_ninety_five_percent_intervals_cover(worlds, studies):
    table = fit_coverage.coverage(worlds, studies)
    show(f"coverage of 95 % intervals, {studies} studies each", table)
    # 90 %, less two standard errors of a share of so few studies
    least = 0.9 - 2 * (0.9 * 0.1 / studies) ** 0.5
    assert (table.drop(columns=["world", "method"]).min() >= least).all()


def test_resampled_rows_do_not():
    table = fit_coverage.coverage({"10 curves": (fit_coverage.curves, ("varpro",))}, 60, by_row=True)
    show("the same curves with rows resampled as if each were a run", table)
    assert table["a"].iloc[0] < 0.75


def test_degenerate_designs_are_withheld_and_the_others_cover():
    table = fit_coverage.degenerate()
    show(
        "scattered runs, D/N within a factor: share withheld, coverage of N_opt where shown and of the loss",
        table,
    )
    assert table["withheld"].iloc[0] == 0
    assert (table["withheld"].iloc[-2:] == 1).all()
    assert (table["loss"] >= 0.82).all()
