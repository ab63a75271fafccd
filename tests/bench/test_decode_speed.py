"""Decoding speed as a ratio: a proposer against Hugging Face `generate` on the same weights, in one run."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from scalinglaws.lm.examples import Recipe, Size
from scalinglaws.testtime.chain import Chain
from scalinglaws.testtime.proposer import Proposer, train
from scalinglaws.testtime.world import ANSWER, PAD

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

WORLD, SIZE = Chain(), Size(4, 144, 4)
PROBLEMS, SAMPLES = 8, 64


class Feedforward(torch.nn.Module):
    """The ungated GELU of our model, in place of Llama's gated one."""

    def __init__(self, up, down):
        super().__init__()
        self.up, self.down = (torch.nn.Linear(*w.shape, bias=False) for w in (up, down))
        self.up.weight.data, self.down.weight.data = up.T.contiguous(), down.T.contiguous()

    def forward(self, x):
        return self.down(torch.nn.functional.gelu(self.up(x), approximate="tanh"))


def equivalent(model, flat):
    """A LlamaForCausalLM with the same weights: no gains, ungated feed-forward, tied embeddings."""
    d = model.d
    config = transformers.LlamaConfig(
        vocab_size=model.vocabulary, hidden_size=d, intermediate_size=4 * d, num_hidden_layers=model.n_layer,
        num_attention_heads=model.heads, max_position_embeddings=model.context, tie_word_embeddings=True,
        rms_norm_eps=torch.finfo(torch.float32).eps, pad_token_id=PAD, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    theirs = transformers.LlamaForCausalLM(config).eval()
    p = {k: v[0] for k, v in model.layout.views(flat[None]).items()}
    with torch.no_grad():
        theirs.model.embed_tokens.weight.copy_(p["embedding"])
        for i, layer in enumerate(theirs.model.layers):
            q, k, v = p[f"{i}.qkv"].split(d, 1)
            a = layer.self_attn
            for linear, w in ((a.q_proj, q), (a.k_proj, k), (a.v_proj, v), (a.o_proj, p[f"{i}.out"])):
                linear.weight.copy_(w.T)
            layer.mlp = Feedforward(p[f"{i}.up"], p[f"{i}.down"])
    return theirs


class Answered(transformers.StoppingCriteria):
    """Stop a row after the token that follows ANSWER."""

    def __call__(self, ids, scores, **_):
        return ids[:, -2] == ANSWER


@pytest.fixture(scope="module")
def setting():
    torch.set_num_threads(1)
    model = SIZE.transformer(len(WORLD.tokens))
    flat = train(WORLD, SIZE, Recipe(steps=250, batch=32, learning_rate=0.003, warmup=10))
    problems = WORLD.sample(PROBLEMS, np.random.default_rng(0), target=True)
    return model, flat, problems


def generate(theirs, problems, samples, greedy):
    """Prompts padded on the left, each `samples` times; returns the new tokens."""
    prompts = [p.prompt for p in problems for _ in range(samples)]
    longest = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (longest - len(p)) + list(p) for p in prompts])
    room = max(WORLD.longest(p) for p in problems)
    with torch.no_grad():
        out = theirs.generate(
            ids, attention_mask=(ids != PAD).long(), max_new_tokens=room, do_sample=not greedy,
            stopping_criteria=transformers.StoppingCriteriaList([Answered()]),
        )  # fmt: skip
    return out[:, longest:]


def test_the_two_write_the_same_greedily(setting):
    model, flat, problems = setting
    ours = Proposer(WORLD, model, flat).solve(problems, 1, 0.0)
    theirs = generate(equivalent(model, flat), problems, 1, greedy=True).tolist()
    for i in range(PROBLEMS):
        solution = list(ours.solution(i))
        assert solution == theirs[i][: len(solution)]


def test_tokens_a_second_against_generate(setting):
    """512 sequences at one million parameters, one thread; printed, not asserted."""
    model, flat, problems = setting
    theirs, rate = equivalent(model, flat), {"generate": 0.0, "fp32": 0.0, "bf16": 0.0}
    for _ in range(3):
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            proposer = Proposer(WORLD, model, flat, seed=1, dtype=dtype)
            started = time.perf_counter()
            rows = proposer.solve(problems, SAMPLES)
            rate[name] = max(rate[name], int(rows.length.sum()) / (time.perf_counter() - started))
        started = time.perf_counter()
        new = generate(theirs, problems, SAMPLES, greedy=False)
        rate["generate"] = max(rate["generate"], int((new != PAD).sum()) / (time.perf_counter() - started))
    ours = " and ".join(f"{rate[k]:.0f} in {k} = {rate[k] / rate['generate']:.2f}×" for k in ("fp32", "bf16"))
    print(
        f"\ndecoding {model.layout.size / 1e6:.1f}M parameters, {PROBLEMS * SAMPLES} sequences, tokens a second: "
        f"generate {rate['generate']:.0f}, proposer {ours}"
    )
    assert min(rate.values()) > 0
