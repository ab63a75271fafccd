"""Language models that write programs, many samples of one task at once: by transformers, our own sampler, or vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..testtime import open_models, open_own


class Coder(Protocol):
    """A language model that writes programs. chat: whether it answers questions rather than continues text."""

    chat: bool

    def write(self, text: str, count: int, temperature: float, stops: Sequence[str], limit: int, seed: int):
        """`count` samples [str] of what follows the text, up to a stop or `limit` tokens, the same for the same seed."""

    def prompt(self, question: str) -> str:
        """A question in the model's chat format."""


class Transformers(open_models.Transformers):
    """A `Coder` by transformers: `batch` samples of a task side by side. Raises open_load.ModelError."""

    def __init__(self, name: str, batch: int = 16, device: str | None = None):
        super().__init__(name, batch, device=device)
        self.chat = self.tokenizer.chat_template is not None

    def prompt(self, question: str) -> str:
        return asked(self.tokenizer, question)

    def write(self, text, count, temperature, stops, limit, seed):  # type: ignore[override]  # of one task
        import torch

        torch.manual_seed(seed)
        fed = self.tokenizer([text], return_tensors="pt", add_special_tokens=not self.chat)
        fed = {k: fed[k].to(self.device) for k in ("input_ids", "attention_mask")}
        # the model's own distribution: many models bring a top-k or top-p along
        warm = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        how = (warm if temperature else {"do_sample": False}) | {"max_new_tokens": limit}
        if stops:
            how |= {"stop_strings": list(stops), "tokenizer": self.tokenizer}
        written: list[str] = []
        while len(written) < count:
            with torch.no_grad():
                found = self.model.generate(
                    **fed, **how, pad_token_id=self.tokenizer.pad_token_id,
                    num_return_sequences=min(self.batch, count - len(written)),
                )  # fmt: skip
            new = found[:, fed["input_ids"].shape[1] :]
            written += self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return written


class Own(open_own.Own):
    """A `Coder` by this library's own sampler, for models of the Llama family that answer questions."""

    chat = True

    def prompt(self, question: str) -> str:
        return asked(self.tokenizer, question)

    def write(self, text, count, temperature, stops, limit, seed):  # type: ignore[override]  # of one task
        self.generator.manual_seed(seed)
        (written,) = self.samples([text], count, temperature, None, limit)
        return [row[0] for row in written]


class VLLM(open_models.VLLM):
    """A `Coder` by vLLM, all samples of a task at once."""

    def __init__(self, name: str):
        super().__init__(name)
        self.chat = self.tokenizer.chat_template is not None

    def prompt(self, question: str) -> str:
        return asked(self.tokenizer, question)

    def write(self, text, count, temperature, stops, limit, seed):  # type: ignore[override]  # of one task
        from vllm import SamplingParams

        how = SamplingParams(n=count, temperature=temperature, max_tokens=limit, stop=list(stops), seed=seed)
        fed = {"prompt_token_ids": self.tokenizer(text, add_special_tokens=not self.chat)["input_ids"]}
        return [o.text for o in self.model.generate([fed], how, use_tqdm=False)[0].outputs]


def asked(tokenizer, question: str) -> str:
    """A question in the model's chat format."""
    return tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
    )
