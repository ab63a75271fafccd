"""The gradient noise scale (McCandlish et al. 2018, Appendix A.1), from gradients of two batch sizes."""

from __future__ import annotations

import numpy as np


def noise_scale(small_norms, mean_norm, small: int) -> dict[str, np.ndarray]:
    """B_simple = tr(Σ)/|G|² from k gradients of `small` examples each and from their mean.

    small_norms [k, R]: squared norms of the k gradients; mean_norm [R]: squared norm of their
    mean, a gradient of k·small examples. Both are biased by the noise; the two unbiased
    combinations are

        |G|²  = (B·m_B − b·m_b)/(B − b)          tr Σ = (m_b − m_B)/(1/b − 1/B)

    with b = small, B = k·small. Returns `gradient` (|G|², may come out negative where noise
    rules), `trace` and `scale` (in examples; NaN where |G|² is not positive), each [R].
    Average the first two over several measurements before dividing: a ratio of means is
    far less biased than a mean of ratios.
    Raises ValueError for fewer than two gradients.
    """
    small_norms = np.asarray(small_norms, float)
    k = len(small_norms)
    if k < 2:
        raise ValueError("the noise scale needs at least two gradients")
    b, B = float(small), float(k * small)
    m_b, m_B = small_norms.mean(0), np.asarray(mean_norm, float)
    gradient = (B * m_B - b * m_b) / (B - b)
    trace = (m_b - m_B) / (1 / b - 1 / B)
    scale = np.divide(trace, gradient, out=np.full_like(trace, np.nan), where=gradient > 0)
    return {"gradient": gradient, "trace": trace, "scale": scale}
