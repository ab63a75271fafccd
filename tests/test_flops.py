"""Counts against the papers' tables and against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from scalinglaws import flops
from scalinglaws.datasets import paper_table


def shapes(table):
    return flops.Shape(
        *(table[c].to_numpy() for c in ("n_layers", "d_model", "ffw_size", "kv_size", "n_heads"))
    )


def test_table_a9_within_three_per_mille_above_57m():
    table = paper_table("chinchilla_tableA9")
    assert len(table) == 50
    error = flops.parameters(shapes(table)) / 1e6 / table["params_million"] - 1
    # sizes are printed in whole millions: half a million of 90 is .6 %
    allowed = np.maximum(0.003, 0.5 / table["params_million"])
    assert (np.abs(error) <= allowed)[table["params_million"] > 57].all()


def test_table_a4_to_half_its_last_digit():
    table = paper_table("chinchilla_tableA4")
    assert np.abs(flops.ratio_to_6nd(shapes(table)) - table["ratio"]).max() <= 0.005
    assert np.abs(flops.ratio_to_6nd(shapes(table), last_layer=True) - table["ratio"]).max() > 0.1


def test_kaplan_count_is_twelve_layers_d_squared():
    shape = flops.Shape.standard(n_layer=6, d_model=512, n_head=8)
    assert flops.parameters(shape, "kaplan") == 12 * 6 * 512**2
    assert flops.parameters(shape, "total") == 12 * 6 * 512**2 + 50_257 * 512
    assert flops.training_flops(shape, 1e6, "kaplan") == 6 * 12 * 6 * 512**2 * 1e6


def test_attention_and_last_layer_are_added_once():
    shape = flops.Shape.standard(n_layer=4, d_model=256, n_head=4, vocabulary=1000, context=128)
    plain = flops.training_flops(shape, 1.0, "kaplan")
    assert flops.training_flops(shape, 1.0, "kaplan", attention=True) - plain == 3 * 2 * 4 * 128 * 256
    assert flops.training_flops(shape, 1.0, "kaplan", last_layer=True) - plain == 3 * 2 * 1000 * 256
    six_nd = flops.training_flops(shape, 1.0, "6nd")
    assert six_nd == 6 * flops.parameters(shape)
    assert six_nd - flops.training_flops(shape, 1.0, "6nd", last_layer=False) == 3 * 2 * 1000 * 256


def test_appendix_f_by_hand():
    # one layer, d = 2, one head of width 3, ffw 5, vocabulary 7, context 11; per token, forward
    shape = flops.Shape(1, 2, 5, 3, 1, vocabulary=7, context=11)
    embedding = 2 * 7 * 2
    attention = 2 * 3 * 2 * 3 + 2 * 11 * 3 + 3 * 1 * 11 + 2 * 11 * 3 + 2 * 3 * 2
    dense = 2 * (2 * 5 + 2 * 5)
    logits = 2 * 2 * 7
    assert flops.training_flops(shape, 1.0) == 3 * (embedding + attention + dense + logits)
    assert flops.training_flops(shape, 10.0) == 10 * flops.training_flops(shape, 1.0)


def test_unknown_conventions_are_named():
    shape = flops.Shape.standard(1, 64, 2)
    with pytest.raises(ValueError, match="'kaplan', 'total' or 'chinchilla'"):
        flops.parameters(shape, "mine")
    with pytest.raises(ValueError, match="'kaplan', '6nd' or 'chinchilla'"):
        flops.training_flops(shape, 1.0, "mine")
