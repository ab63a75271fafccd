"""The objective of approach 3 and its exact derivatives, for many problems at once.

    f(θ) = Σ_i w_i · H_δ(r_i),   r_i = log[exp(a − αx_i) + exp(b − βy_i) + exp(e)] − log L_i

with θ = (a, b, e, α, β), x = log N, y = log D and Huber's H_δ(r) = r²/2 for |r| ≤ δ and
δ(|r| − δ/2) beyond (Hoffmann et al. 2022, Eq. 3; they use δ = 1e-3). A problem is one θ with
one vector of weights: a bootstrap resample has integer weights w, so K resamples of n runs
are K problems over the same n points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Entries (j, k) of the symmetric 5×5 Hessian as ±Σ A_pq·m: for each, the pair of softmax terms
# p, q (0: N term, 1: D term, 2: E term), the monomial m and the sign from ∂z/∂θ.
_ONE, _X, _Y, _XX, _XY, _YY = range(6)
_HESSIAN = [
    (0, 0, (0, 0), _ONE, 1), (0, 3, (0, 0), _X, -1), (3, 3, (0, 0), _XX, 1),
    (0, 1, (0, 1), _ONE, 1), (0, 4, (0, 1), _Y, -1), (1, 3, (0, 1), _X, -1), (3, 4, (0, 1), _XY, 1),
    (0, 2, (0, 2), _ONE, 1), (2, 3, (0, 2), _X, -1),
    (1, 1, (1, 1), _ONE, 1), (1, 4, (1, 1), _Y, -1), (4, 4, (1, 1), _YY, 1),
    (1, 2, (1, 2), _ONE, 1), (2, 4, (1, 2), _Y, -1),
    (2, 2, (2, 2), _ONE, 1),
]  # fmt: skip
_PAIRS = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]


@dataclass(frozen=True)
class HuberObjective:
    """f, ∇f and ∇²f over n points.

    x = log N − mean, y = log D − mean and the loss divided by its geometric mean: centring
    cuts the condition number of the problem by two orders of magnitude and keeps exp in
    range. `to_theta` and `from_theta` translate to the uncentred coordinates.
    """

    x: np.ndarray
    y: np.ndarray
    inverse_loss: np.ndarray
    delta: float
    centre: tuple[float, float, float]
    monomials: np.ndarray
    forgiven: float = 1.0

    @classmethod
    def of(cls, N, D, loss, delta: float = 1e-3, asymmetric: float = 1.0) -> HuberObjective:
        """From runs: N parameters, D tokens, loss in nats per token, each of shape (n,).

        A run above the law (r < 0: badly tuned, perhaps) counts 1/`asymmetric`.
        """
        x, y, z = (np.log(np.asarray(v, float)) for v in (N, D, loss))
        centre = (float(x.mean()), float(y.mean()), float(z.mean()))
        x, y, z = x - centre[0], y - centre[1], z - centre[2]
        monomials = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
        return cls(x, y, np.exp(-z), float(delta), centre, monomials, 1 / asymmetric)

    def from_theta(self, theta) -> np.ndarray:
        """Centred coordinates of θ = (a, b, e, α, β); shape (…, 5) in and out."""
        a, b, e, alpha, beta = np.moveaxis(np.asarray(theta, float), -1, 0)
        cx, cy, cz = self.centre
        return np.stack([a - alpha * cx - cz, b - beta * cy - cz, e - cz, alpha, beta], axis=-1)

    def to_theta(self, centred) -> np.ndarray:
        """The inverse of `from_theta`."""
        a, b, e, alpha, beta = np.moveaxis(np.asarray(centred, float), -1, 0)
        cx, cy, cz = self.centre
        return np.stack([a + alpha * cx + cz, b + beta * cy + cz, e + cz, alpha, beta], axis=-1)

    def residual_terms(self, t):
        """The three terms of L̂/L, shape (K, n) each, for centred t of shape (K, 5)."""
        a, b, e, alpha, beta = (t[:, j, None] for j in range(5))
        u = np.exp(a - alpha * self.x) * self.inverse_loss
        v = np.exp(b - beta * self.y) * self.inverse_loss
        return u, v, np.exp(e) * self.inverse_loss

    def _weights(self, w, r):
        return w if self.forgiven == 1 else np.where(r < 0, self.forgiven * w, w)

    def value(self, t, w) -> np.ndarray:
        """f, shape (K,), for centred t (K, 5) and weights w (K, n) or (n,)."""
        u, v, c = self.residual_terms(t)
        r = np.log(u + v + c)
        psi = np.clip(r, -self.delta, self.delta)
        w = self._weights(w, r)
        return np.sum(w * psi * (r - psi / 2), axis=1)

    def derivatives(self, t, w):
        """f (K,), ∇f (K, 5) and ∇²f (K, 5, 5).

        With p = softmax of the terms, ψ = H'_δ(r) and z the log terms,
        ∇²f = Σ w (ψ' p pᵀ + ψ (diag p − p pᵀ)) chained through ∂z/∂θ. Every entry is a row
        sum of an elementwise product with one of 1, x, y, x², xy, y².
        """
        u, v, c = self.residual_terms(t)
        total = u + v + c
        r = np.log(total)
        psi = np.clip(r, -self.delta, self.delta)
        inside = psi == r
        w = self._weights(w, r)
        g = w * psi
        f = np.einsum("kn,kn->k", g, r - psi / 2)
        p = (u / total, v / total, c / total)
        curve = np.where(inside, w, 0.0) - g
        gp = [g * q for q in p]
        K = len(t)
        sums = {}
        for j, k in _PAIRS:
            A = curve * p[j]
            A *= p[k]
            if j == k:
                A += gp[j]
            sums[j, k] = A @ self.monomials
        first = [q @ self.monomials[:, :3] for q in gp]
        grad = np.stack(
            [first[0][:, 0], first[1][:, 0], first[2][:, 0], -first[0][:, _X], -first[1][:, _Y]], axis=1
        )
        hess = np.empty((K, 5, 5))
        for j, k, pair, monomial, sign in _HESSIAN:
            hess[:, j, k] = hess[:, k, j] = sign * sums[pair][:, monomial]
        return f, grad, hess
