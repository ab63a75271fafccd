"""A Llama in this library's decoder: the numbers of transformers, and samples that are drawn from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scalinglaws.lm import sampling
from scalinglaws.lm.llama import Llama, NotLlama

transformers = pytest.importorskip("transformers")
END, VOCABULARY = 2, 300


def build(seed=0, **more):
    torch.manual_seed(seed)
    how = {
        "vocab_size": VOCABULARY, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 160, "rope_theta": 500.0,
        "eos_token_id": END, "initializer_range": 0.3,
    }  # fmt: skip
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**how | more)).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name:
                p.uniform_(0.5, 2.0)  # gains of 1 would hide one that is forgotten
    return model


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "own head"])
def model(request):
    return build(tie_word_embeddings=request.param)


@pytest.fixture(scope="module")
def decoder(model):
    return Llama(model)


def plain(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0]


def stop(before, token):
    return token == END


def ragged(n, longest, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(3, VOCABULARY, rng.integers(1, longest)).tolist() for _ in range(n)]


def test_logits_are_those_of_transformers_also_where_rows_stand_at_different_places(model, decoder):
    contexts = ragged(4, 20)
    cache = decoder.cache(4, 60)
    for more in (contexts, ragged(4, 12, 1)):
        before = cache.used.clone()
        lengths = torch.tensor([len(c) for c in more])
        fed = torch.tensor([c + [0] * (max(map(len, more)) - len(c)) for c in more])
        hidden = decoder.feed(cache, fed, lengths)
        for r, context in enumerate(more):
            whole = context if more is contexts else contexts[r] + context
            got = decoder.logits(hidden[r, : len(context)])
            assert torch.allclose(got, plain(model, whole)[int(before[r]) :], atol=2e-4)


@pytest.mark.parametrize("common", [0, 80])
@pytest.mark.parametrize(("samples", "at_once"), [(1, 512), (3, 4)])
def test_greedy_rows_are_those_of_transformers_and_their_likelihood_is_told(model, decoder, common, samples, at_once):
    """common: tokens that all contexts begin with; so many are read once for all."""
    first = np.random.default_rng(3).integers(3, VOCABULARY, common).tolist()
    contexts, room = [first + c for c in ragged(5, 20)], np.array([7, 9, 4, 12, 1])
    tokens, lengths, told = sampling.sample(decoder, contexts, samples, room, stop, 0.0, at_once=at_once)
    for i, context in enumerate(contexts):
        want, likely = list(context), 0.0
        while len(want) < len(context) + room[i] and want[len(context) :][-1:] != [END]:
            odds = plain(model, want)[-1].log_softmax(-1)
            want.append(int(odds.argmax()))
            likely += float(odds.max())
        for j in range(samples):
            assert tokens[i, j, : lengths[i, j]].tolist() == want[len(context) :]
            assert told[i, j] == pytest.approx(likely, abs=2e-3)


def test_samples_have_the_frequencies_of_the_model_at_their_temperature(model, decoder):
    """The first token of 20,000 rows, and the likelihood of each at temperature 1."""
    context, temperature = ragged(1, 30)[0], 0.7
    draws = sampling.sample(decoder, [context], 20_000, [1], stop, temperature, torch.Generator().manual_seed(0))
    odds = plain(model, context)[-1]
    p = (odds / temperature).softmax(-1).numpy()
    found = np.bincount(draws[0][0, :, 0], minlength=VOCABULARY)
    often = p > 5e-3
    z = (found - 20_000 * p)[often] / np.sqrt(20_000 * p * (1 - p))[often]
    assert np.abs(z).max() < 4.5
    assert often.sum() > 5
    assert np.allclose(draws[2][0], odds.log_softmax(-1).numpy()[draws[0][0, :, 0]], atol=1e-3)


def test_a_tokens_number_above_a_byte_is_kept(decoder):
    tokens, _, _ = sampling.sample(decoder, ragged(2, 9), 40, [20, 20], stop, 3.0, torch.Generator().manual_seed(1))
    assert tokens.max() > 255


def test_bf16_is_as_near_to_exact_as_that_of_transformers(model):
    import copy

    context, narrow = ragged(1, 60)[0], copy.deepcopy(model).bfloat16()
    decoder = Llama(model, torch.bfloat16)
    exact = plain(model, context).softmax(-1)
    ours = decoder.logits(decoder.feed(decoder.cache(1, 60), torch.tensor([context]))[0]).softmax(-1)
    off = lambda p: float((p - exact).abs().sum(-1).mean())
    assert 0 < off(ours) < 1.5 * off(plain(narrow, context).float().softmax(-1))


@pytest.mark.parametrize("more", [{"attention_bias": True}, {"hidden_act": "gelu"}, {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}}, {"head_dim": 16}])  # fmt: skip
def test_other_blocks_are_refused(more):
    with pytest.raises(NotLlama):
        Llama(build(**more))
