"""Parameters and training FLOPs of a decoder-only transformer, under each paper's convention.

"6ND" hides three choices: which parameters count as N, whether attention over the context is
counted, and whether the last (logits) layer is. Porian et al. (2024) show that the last one
alone moves Kaplan's exponent from .84 to .71.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CHINCHILLA_VOCABULARY = 32_000
CHINCHILLA_CONTEXT = 2_048


@dataclass(frozen=True)
class Shape:
    """A transformer: layers, model width, feed-forward width, key/value width a head, heads.

    `vocabulary` and `context` in tokens. Fields may be arrays of one length.
    """

    n_layer: int | np.ndarray
    d_model: int | np.ndarray
    d_ffw: int | np.ndarray
    kv_size: int | np.ndarray
    n_head: int | np.ndarray
    vocabulary: int = CHINCHILLA_VOCABULARY
    context: int = CHINCHILLA_CONTEXT

    @classmethod
    def standard(cls, n_layer, d_model, n_head, vocabulary: int = 50_257, context: int = 1_024) -> Shape:
        """Kaplan's standard shape: d_ffw = 4·d_model, kv_size = d_model/n_head."""
        return cls(n_layer, d_model, 4 * d_model, d_model // n_head, n_head, vocabulary, context)

    @property
    def d_attention(self):
        """Width of all heads together, kv_size · n_head."""
        return self.kv_size * self.n_head


def parameters(shape: Shape, convention: str = "chinchilla"):
    """Number of parameters.

    "kaplan": 2·d·n_layer·(2·d_attention + d_ffw), which is 12·n_layer·d² for the standard
        shape; no embeddings (Kaplan 2020, Table 1).
    "chinchilla": n_layer·(5·d·d_attention + 2·d·d_ffw) + vocabulary·d. The fifth attention
        matrix is the one for relative positions; embeddings are shared with the last layer.
        Reproduces Table A9 of Hoffmann et al. (2022).
    "total": "kaplan" plus vocabulary·d (shared embeddings, no positions).
    Raises ValueError for another convention.
    """
    s = shape
    body = s.n_layer * (4 * s.d_model * s.d_attention + 2 * s.d_model * s.d_ffw)
    if convention == "kaplan":
        return body
    if convention == "total":
        return body + s.vocabulary * s.d_model
    if convention == "chinchilla":
        return body + s.n_layer * s.d_model * s.d_attention + s.vocabulary * s.d_model
    raise ValueError(f"convention must be 'kaplan', 'total' or 'chinchilla', got {convention!r}")


def training_flops(
    shape: Shape,
    tokens,
    convention: str = "chinchilla",
    *,
    attention: bool | None = None,
    last_layer: bool | None = None,
):
    """FLOPs to train on `tokens` tokens; the backward pass costs twice the forward.

    "kaplan": 6·N·D with non-embedding N (Section 2.1).
    "6nd": 6·N·D with Chinchilla's N, embeddings included.
    "chinchilla": Appendix F of Hoffmann et al. (2022), operation by operation: embedding
        look-up as a matrix product, projections, attention logits, softmax, reduction, output
        projection, feed-forward, and the logits of the last layer.
    `attention` adds or leaves out the terms quadratic in the context (default: only
    "chinchilla" counts them); `last_layer` likewise the products with the vocabulary
    (default: all but "kaplan" count them; "6nd" through N, "chinchilla" twice, for the
    look-up and for the logits).
    Raises ValueError for another convention.
    """
    s, D = shape, np.asarray(tokens, float)[()]
    if convention not in ("kaplan", "6nd", "chinchilla"):
        raise ValueError(f"convention must be 'kaplan', '6nd' or 'chinchilla', got {convention!r}")
    attention = convention == "chinchilla" if attention is None else attention
    last_layer = convention != "kaplan" if last_layer is None else last_layer
    logits = 2 * s.vocabulary * s.d_model
    if convention == "chinchilla":
        # per token, forward
        projections = 2 * 3 * s.d_model * s.d_attention + 2 * s.d_attention * s.d_model
        dense = 2 * 2 * s.d_model * s.d_ffw
        forward = s.n_layer * (projections + dense)
        vocabulary = 2 * logits
        quadratic = s.n_layer * (
            2 * s.context * s.d_attention + 3 * s.n_head * s.context + 2 * s.context * s.d_attention
        )
    else:
        N = parameters(s, "kaplan" if convention == "kaplan" else "chinchilla")
        forward = 2 * N - (0 if convention == "kaplan" else logits)
        vocabulary = logits
        quadratic = 2 * s.n_layer * s.context * s.d_attention  # Kaplan, Table 1
    return 3 * D * (forward + (quadratic if attention else 0) + (vocabulary if last_layer else 0))


def ratio_to_6nd(shape: Shape, last_layer: bool = False):
    """Appendix F's training FLOPs over 6·N·D, N with embeddings: the last column of Table A4.

    The printed column is reached, to half its last digit, only without the products with
    the vocabulary, although the appendix lists them; `last_layer` puts them back.
    """
    return training_flops(shape, 1.0, last_layer=last_layer) / (6 * parameters(shape))
