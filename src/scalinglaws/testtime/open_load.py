"""Model folders of others, loaded with care: no code of theirs is run, no weights are unpickled, none are missing.

A folder can be broken in every way; each ends in a `ModelError` of one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import embedded

NO_CODE = {"trust_remote_code": False}
WEIGHTS = NO_CODE | {"use_safetensors": True}


SMALL = 2 << 30
"""Bytes of weights up to which a model on a CPU is held in float32."""


class ModelError(Exception):
    """A model that cannot be loaded. One line, with the place and what is wrong."""


@contextmanager
def _told(name: str) -> Iterator[None]:
    if name.startswith(("/", ".", "~")) and not Path(name).is_dir():
        raise ModelError(
            f"cannot load the model: no folder {name}: give a model's folder, or its name on the Hugging Face hub"
        )
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # the libraries raise whatever a broken file makes them raise
        lines = [x.strip() for x in str(error).splitlines() if x.strip()]
        said = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
        raise ModelError(f"cannot load the model {name}: {said}") from None


def placed(name: str) -> str:
    """Where a model is: its own name or folder, or the folder of the embedded one. Raises ModelError."""
    try:
        return str(embedded.folder()) if name == embedded.NAME else name
    except (embedded.EmbeddedError, ImportError, OSError) as error:
        raise ModelError(str(error)) from None


def config(name: str):
    """A model's configuration. Raises ModelError."""
    from transformers import AutoConfig

    with _told(name):
        return AutoConfig.from_pretrained(placed(name), **NO_CODE)


def skeleton(name: str):
    """A causal language model without weights, for counting. Raises ModelError."""
    import torch
    from transformers import AutoModelForCausalLM

    about = config(name)
    with _told(name), torch.device("meta"):
        return AutoModelForCausalLM.from_config(about, **NO_CODE)


def tokenizer(name: str, **how):
    """A tokenizer that can pad, and whose chat template, if there is one, can be filled in. Raises ModelError."""
    from transformers import AutoTokenizer

    with _told(name):
        found = AutoTokenizer.from_pretrained(placed(name), **NO_CODE, **how)
        if found.pad_token is None:
            found.pad_token = found.eos_token
        if not found("a", add_special_tokens=False)["input_ids"]:
            raise ModelError(f"cannot load the model {name}: its tokenizer gives no tokens")
        if found.chat_template is not None:
            found.apply_chat_template(
                [{"role": "user", "content": "a"}], tokenize=False, add_generation_prompt=True
            )
        return found


def model(name: str, dtype: str = "auto", device: str | None = None):
    """A causal language model with its weights, on a GPU if there is one or where it is asked for. Raises ModelError.

    dtype "auto": as stored; but float32 on a CPU, where few processors multiply bf16 well, if that takes less than
    SMALL bytes.
    """
    import torch
    from transformers import AutoModelForCausalLM

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dtype == "auto" and device == "cpu" and 4 * sum(p.numel() for p in skeleton(name).parameters()) < SMALL:
        dtype = "float32"
    with _told(name):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            placed(name), dtype=dtype, output_loading_info=True, **WEIGHTS
        )
        found, about = loaded
        if lacking := sorted(about["missing_keys"]):
            raise ModelError(
                f"cannot load the model {name}: its files lack {len(lacking)} of its weights ({lacking[0]}, …)"
            )
        return found.to(device).eval()


def vllm(name: str, dtype: str = "auto", seed: int = 0):
    """The same by vLLM, with its cache of prefixes. Raises ModelError."""
    from vllm import LLM

    with _told(name):
        return LLM(
            placed(name), dtype=dtype, seed=seed, enable_prefix_caching=True, load_format="safetensors", **NO_CODE
        )


def context(name: str) -> int | None:
    """Tokens that a model can read at most, its own included; None where its configuration does not say.

    Raises ModelError.
    """
    about = config(name).get_text_config()
    for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        if isinstance(length := getattr(about, key, None), int) and length > 0:
            return length
    return None


def check_room(name: str, spelt: Callable[..., Sequence[str]], tokens: int, option: str) -> None:
    """Raise ModelError where a model cannot read its longest text and `tokens` more.

    spelt: the texts, given the model's tokenizer; option: how the user named `tokens`.
    """
    if (most := context(name)) is None:
        return
    counts = tokenizer(name)
    longest = max(len(counts(text, add_special_tokens=False)["input_ids"]) for text in spelt(counts))
    if longest + tokens > most:
        remedy = f"give {option} {most - longest} or fewer" if most > longest else "take another model"
        raise ModelError(
            f"{option} {tokens}: {name} reads at most {most} tokens, of which the longest question takes {longest}; "
            f"{remedy}"
        )
