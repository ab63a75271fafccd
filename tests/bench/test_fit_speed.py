"""How fast the fits are, as ratios against plain references measured in the same run. `make bench` prints them.

Nothing here asserts a time; what is asserted is that both sides computed the same thing.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import minimize

from scalinglaws import fit
from scalinglaws.fit.huber import HuberObjective
from scalinglaws.fit.newton import minimise
from scalinglaws.fit.surface import HIGH, LOW


def plain_fit(N, D, loss, start, delta=1e-3):
    """The textbook way: SciPy's BFGS on one problem, gradient by finite differences."""
    x, y, z = np.log(N), np.log(D), np.log(loss)

    def objective(t):
        a, b, e, alpha, beta = t
        r = np.log(np.exp(a - alpha * x) + np.exp(b - beta * y) + np.exp(e)) - z
        return 1e3 * np.where(np.abs(r) <= delta, r**2 / 2, delta * (np.abs(r) - delta / 2)).sum()

    return minimize(objective, start, method="BFGS", options={"gtol": 1e-9})


def cpu(function):
    started = time.process_time()
    result = function()
    return result, time.process_time() - started


@pytest.mark.benchmark(group="approach 3")
def test_full_fit_against_scipy_multistart(benchmark, epoch):
    arrays = tuple(epoch[c].to_numpy() for c in ("N", "D", "loss"))
    ours = benchmark.pedantic(fit.fit_surface, args=arrays, rounds=10, warmup_rounds=2)
    _, seconds = cpu(lambda: fit.fit_surface(*arrays))
    starts = fit.hoffmann_grid()[::225]  # 20 of the paper's 4500
    with np.errstate(all="ignore"):
        runs, plain = cpu(lambda: [plain_fit(*arrays, s) for s in starts])
    best = min(r.fun for r in runs) / 1e3
    assert ours.objective <= best * (1 + 1e-9)
    print(f"\nfull fit: {1000 * seconds:.1f} ms CPU; SciPy BFGS from 20 of the 4500 starts: {plain:.2f} s, {plain / seconds:.0f}×, "
          f"its best objective {100 * (best / ours.objective - 1):.4f} % above ours; all 4500: {225 * plain / seconds:,.0f}×")  # fmt: skip


@pytest.mark.benchmark(group="approach 3")
def test_bootstrap_against_one_at_a_time(benchmark, epoch):
    arrays = tuple(epoch[c].to_numpy() for c in ("N", "D", "loss"))
    found = fit.fit_surface(*arrays)
    W = fit.resample_weights(240, 4000, np.random.default_rng(0))
    benchmark.pedantic(found.refit, args=(W,), rounds=3, warmup_rounds=1)
    samples, seconds = cpu(lambda: found.refit(W))

    rows = [np.repeat(np.arange(240), w.astype(int)) for w in W[:40]]
    plain, plain_seconds = cpu(lambda: [plain_fit(*(v[r] for v in arrays), found.law.theta) for r in rows])
    ratio = (plain_seconds / 40) / (seconds / 4000)
    theirs = np.array([r.x[4] / (r.x[3] + r.x[4]) for r in plain])
    assert np.median(np.abs(samples["a"][:40] - theirs)) < 0.01

    objective = HuberObjective.of(*arrays)
    centre = objective.from_theta(found.law.theta)
    mine = minimise(objective, np.repeat(centre[None], 4000, 0), W, LOW, HIGH).f
    best, rng = mine.copy(), np.random.default_rng(1)
    for _ in range(20):
        start = centre + rng.normal(size=(4000, 5)) * [1, 1, 0.5, 0.2, 0.2]
        best = np.minimum(best, minimise(objective, start, W, LOW, HIGH).f)
    share = ((mine - best) / best <= 1e-9).mean()
    print(f"\n4000 bootstraps: {seconds:.2f} s CPU, {1e3 * seconds / 4000:.3f} ms each; SciPy BFGS one at a time {1e3 * plain_seconds / 40:.0f} ms each: "
          f"{ratio:.0f}×; within 1e-9 of the best of 20 random starts: {100 * share:.3f} %")  # fmt: skip
    assert share >= 0.999


@pytest.mark.benchmark(group="variable projection")
def test_varpro_against_scipy_nnls(benchmark, epoch):
    from scipy.optimize import nnls

    N, D, loss = (epoch[c].to_numpy() for c in ("N", "D", "loss"))
    ours = benchmark.pedantic(fit.fit_varpro, args=(N, D, loss), rounds=5, warmup_rounds=1)
    _, seconds = cpu(lambda: fit.fit_varpro(N, D, loss))

    def reduced(t):
        columns = np.stack([np.ones_like(N), (N / 1e9) ** -t[0], (D / 1e10) ** -t[1]], axis=1)
        return nnls(columns, loss)[1] ** 2

    def plain():
        grid = [(a, b) for a in np.geomspace(0.05, 1.6, 18) for b in np.geomspace(0.05, 1.6, 18)]
        start = min(grid, key=reduced)
        return minimize(reduced, start, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14})

    theirs, plain_seconds = cpu(plain)
    assert ours.objective == pytest.approx(theirs.fun, rel=1e-6)
    print(
        f"\nvariable projection: {1000 * seconds:.1f} ms CPU; SciPy NNLS + Nelder–Mead {1000 * plain_seconds:.0f} ms: {plain_seconds / seconds:.0f}×"
    )
