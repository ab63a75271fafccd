"""Variable projection: a two-dimensional search instead of a five-dimensional one.

Given α and β the surface is linear in E, A and B, so

    φ(α, β) = min_{E, A, B ≥ 0} Σ w_i (L_i − E − A·N_i^{−α} − B·D_i^{−β})²

has only two variables (Golub & Pereyra 1973; used for scaling laws by Czech 2026,
arXiv:2603.22339). The objective is least squares on the loss itself, in nats².
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ..laws import Chinchilla
from .result import Fit

EXPONENT_RANGE = (0.01, 3.0)
PROBLEMS_AT_ONCE = 1 << 16  # problems × rows in memory at a time
GRID_ROWS = 2000  # the coarse grid looks at no more rows than these
_SUBSETS = [s for r in (3, 2, 1) for s in itertools.combinations(range(3), r)]


@dataclass(frozen=True)
class Projection:
    """The inner problem at fixed (α, β): coefficients (E, A, B) of the centred columns and the residual."""

    coefficients: np.ndarray
    rss: np.ndarray
    columns: np.ndarray
    residual: np.ndarray


@dataclass(frozen=True)
class _Runs:
    """Centred log N, log D and the loss, each (n,), with the centres."""

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    centre: tuple[float, float]

    @classmethod
    def of(cls, N, D, loss):
        x, y = (np.log(np.asarray(v, float)) for v in (N, D))
        return cls(x - x.mean(), y - y.mean(), np.asarray(loss, float), (float(x.mean()), float(y.mean())))

    def project(self, exponents, w) -> Projection:
        """Solve the inner problem for exponents (K, 2) and weights (K, n) or (n,)."""
        alpha, beta = exponents[:, :1], exponents[:, 1:]
        u, v = np.exp(-alpha * self.x), np.exp(-beta * self.y)
        columns = np.stack([np.ones_like(u), u, v], axis=1)
        weighted = columns * np.asarray(w)[..., None, :] if np.ndim(w) > 1 else columns * w
        gram = weighted @ columns.transpose(0, 2, 1)
        moment = weighted @ self.loss
        coefficients = _nonnegative(gram, moment)
        residual = self.loss - np.einsum("kj,kjn->kn", coefficients, columns)
        return Projection(coefficients, np.sum(w * residual**2, axis=1), columns, residual)

    def law_parameters(self, exponents, coefficients):
        """(E, A, B, α, β) in the uncentred coordinates, columns of shape (K,)."""
        alpha, beta = exponents.T
        return {
            "E": coefficients[:, 0],
            "A": coefficients[:, 1] * np.exp(alpha * self.centre[0]),
            "B": coefficients[:, 2] * np.exp(beta * self.centre[1]),
            "alpha": alpha,
            "beta": beta,
        }


def _solve(gram, moment):
    size = gram.shape[-1]
    ridge = 1e-14 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(size)
    return np.linalg.solve(gram + ridge, moment[..., None])[..., 0]


def _nonnegative(gram, moment):
    """Non-negative least squares in three unknowns, exactly: the best feasible subset of columns."""
    best = _solve(gram, moment)
    infeasible = np.flatnonzero((best < 0).any(axis=1))
    if len(infeasible):
        G, m = gram[infeasible], moment[infeasible]
        lowest, found = np.zeros(len(infeasible)), np.zeros((len(infeasible), 3))
        for subset in _SUBSETS[1:]:
            s = np.array(subset)
            c = np.zeros_like(found)
            c[:, s] = _solve(G[:, s[:, None], s], m[:, s])
            gain = np.einsum("kj,kj->k", c, m)  # the decrease of the squared error from c = 0
            better = (c >= 0).all(axis=1) & (gain > lowest)
            lowest, found = np.where(better, gain, lowest), np.where(better[:, None], c, found)
        best[infeasible] = found
    return best


def grid(low: float = 0.05, high: float = 1.6, points: int = 18) -> np.ndarray:
    """Log-spaced pairs (α, β), shape (points², 2)."""
    g = np.geomspace(low, high, points)
    return np.stack(np.meshgrid(g, g, indexing="ij"), -1).reshape(-1, 2)


def seeds(N, D, loss, count: int, weights=None) -> list[Chinchilla]:
    """The `count` best laws of a coarse grid in (α, β), by relative squared error of the loss."""
    runs = _Runs.of(N, D, loss)
    w = (1.0 if weights is None else weights) / runs.loss**2
    pairs = grid()
    inner = runs.project(pairs, w)
    order = np.argsort(inner.rss)[:count]
    p = runs.law_parameters(pairs[order], np.maximum(inner.coefficients[order], 1e-6 * runs.loss.mean()))
    return [Chinchilla(**{k: float(v[i]) for k, v in p.items()}) for i in range(len(order))]


def _descend(runs: _Runs, start, w, steps: int = 100, tolerance: float = 1e-12):
    """Levenberg–Marquardt on φ with Kaufman's Jacobian: ∂residual/∂(α, β) projected off the columns in use.

    Returns exponents (K, 2), the projection there, and which of the K problems converged.
    Converged problems leave the batch.
    """
    low, high = EXPONENT_RANGE
    best = np.clip(np.array(start, float), low, high)
    w = np.broadcast_to(w, (len(best), len(runs.x)))
    converged = np.zeros(len(best), bool)
    live, t, now, damping = np.arange(len(best)), best.copy(), runs.project(best, w), np.full(len(best), 1e-3)
    for _ in range(steps):
        g, H = _gauss_newton(runs, now, w[live])
        held = ((t <= low) & (g > 0)) | ((t >= high) & (g < 0))
        H = np.where(held[:, :, None] | held[:, None, :], 0.0, H)
        i = np.arange(2)
        H[:, i, i] = np.where(held, 1.0, H[:, i, i] * (1 + damping[:, None]) + 1e-300)
        step = np.linalg.solve(H, -np.where(held, 0.0, g)[..., None])[..., 0]
        trial = np.clip(t + np.clip(step, -0.5, 0.5), low, high)
        new = runs.project(trial, w[live])
        better = new.rss < now.rss
        done = (
            (np.abs(step).max(axis=1) < 1e-9)
            | (better & (now.rss - new.rss < tolerance * now.rss))
            | (damping > 1e9)
        )
        t = np.where(better[:, None], trial, t)
        now = _select(better, new, now)
        damping = np.where(better, np.maximum(damping / 10, 1e-9), damping * 10)
        best[live], converged[live] = t, done
        if done.all():
            break
        keep = ~done
        live, t, damping = live[keep], t[keep], damping[keep]
        now = Projection(now.coefficients[keep], now.rss[keep], now.columns[keep], now.residual[keep])
    return best, runs.project(best, w), converged


def _gauss_newton(runs, now, w):
    """Gradient and Gauss–Newton Hessian of φ/2 in (α, β)."""
    d = np.stack(
        [
            now.coefficients[:, 1, None] * runs.x * now.columns[:, 1],
            now.coefficients[:, 2, None] * runs.y * now.columns[:, 2],
        ],
        axis=1,
    )
    used = now.columns * (now.coefficients > 0)[:, :, None]
    weighted = used * w[:, None, :]
    gram = weighted @ used.transpose(0, 2, 1) + np.eye(3) * (now.coefficients <= 0)[:, :, None]
    J = d - _solve_matrix(gram, weighted @ d.transpose(0, 2, 1)).transpose(0, 2, 1) @ used
    Jw = J * w[:, None, :]
    return (Jw @ now.residual[:, :, None])[..., 0], Jw @ J.transpose(0, 2, 1)


def _select(choose, new, old):
    """The projection with rows from `new` where `choose`, else from `old`."""
    pairs = (
        (new.coefficients, old.coefficients),
        (new.rss, old.rss),
        (new.columns, old.columns),
        (new.residual, old.residual),
    )
    return Projection(*(np.where(choose.reshape((-1,) + (1,) * (n.ndim - 1)), n, o) for n, o in pairs))


def _solve_matrix(gram, right):
    return np.linalg.solve(gram + 1e-14 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(3), right)


def fit_varpro(N, D, loss, weights=None, starts: int = 8, *, groups=None) -> Fit:
    """Fit L = E + A/N^α + B/D^β by variable projection.

    N parameters, D tokens, loss nats per token, each (n,). The best `starts` points of a
    coarse grid are each refined; the lowest wins. `objective` is Σ w·(residual)², nats².
    Rows with one label in `groups` (n,) are resampled together.
    """
    runs = _Runs.of(N, D, loss)
    w = np.ones_like(runs.x) if weights is None else np.asarray(weights, float)
    pairs = grid()
    n = len(runs.x)
    chunk = max(1, PROBLEMS_AT_ONCE // n)
    few = slice(None) if n <= GRID_ROWS else np.linspace(0, n - 1, GRID_ROWS).astype(int)
    coarse = _Runs(runs.x[few], runs.y[few], runs.loss[few], runs.centre)
    order = np.argsort(coarse.project(pairs, w[few]).rss)[:starts]
    t, coefficients, rss, done = _refine(runs, pairs[order], w, chunk)
    k = int(np.argmin(rss))
    p = _named(runs, t[k : k + 1], coefficients[k : k + 1])
    params = {name: float(v[0]) for name, v in p.items()}
    held = [n for n in ("E", "A", "B") if params[n] <= 0]
    held += [n for n in ("alpha", "beta") if not EXPONENT_RANGE[0] < params[n] < EXPONENT_RANGE[1]]
    status = "bound: " + ", ".join(held) if held else "converged" if done[k] else "not converged"

    def refit(W):
        parts = []
        for i in range(0, len(W), chunk):
            part = W[i : i + chunk] if weights is None else W[i : i + chunk] * w
            tt, got, _ = _descend(runs, np.repeat(t[k : k + 1], len(part), 0), part)
            parts.append(_named(runs, tt, got.coefficients))
        return {name: np.concatenate([q[name] for q in parts]) for name in parts[0]}

    law = Chinchilla(
        **{n: max(params[n], 1e-300) if n in "AB" else params[n] for n in ("E", "A", "B", "alpha", "beta")}
    )
    residuals = np.log(runs.loss / law.predict(np.asarray(N, float), np.asarray(D, float)))
    labels = None if groups is None else np.asarray(groups)
    return Fit(
        "varpro",
        law,
        params,
        float(rss[k]),
        status,
        n,
        refit=refit,
        groups=labels,
        residuals=residuals,
    )


def _refine(runs, starts, w, chunk):
    """`_descend` from each start, `chunk` of them at a time: exponents, coefficients, rss, converged."""
    parts = []
    for i in range(0, len(starts), chunk):
        t, got, done = _descend(runs, starts[i : i + chunk], w)
        parts.append((t, got.coefficients, got.rss, done))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _named(runs, exponents, coefficients):
    p = runs.law_parameters(exponents, coefficients)
    p["a"] = p["beta"] / (p["alpha"] + p["beta"])
    p["b"] = 1 - p["a"]
    return p
