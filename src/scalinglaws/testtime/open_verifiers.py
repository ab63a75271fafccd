"""Public process verifiers: P that each step is right, for a question and its steps.

Two families ask in two ways. A *chat* verifier (RLHFlow's Llama-3.1 PRMs) is told one step a turn and
answers + or −. A *tag* verifier (Math-Shepherd) reads all steps at once and its opinion stands
at a tag after each. Both are the softmax of two logits.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import open_load


class VerifierError(Exception):
    """A model that no adapter fits. One line, with the remedy."""


class _Reader:
    def __init__(self, name: str, dtype: str = "auto"):
        self.tokenizer = open_load.tokenizer(name)
        self.model = open_load.model(name, dtype)
        self.device, self.most = self.model.device, open_load.context(name)
        self.good, self.bad = self._token("+"), self._token("-")

    def _token(self, text: str) -> int:
        """The token that a model writes for this text in a turn of its own."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids[-1]

    def _logits(self, ids: list[int]):
        """Raises VerifierError for more tokens than the model can read."""
        import torch

        if self.most is not None and len(ids) > self.most:
            raise VerifierError(
                f"the verifier reads at most {self.most} tokens and a solution with its question has {len(ids)}: "
                "give a smaller --tokens, or another --prm"
            )
        with torch.no_grad():
            return self.model(torch.tensor([ids], device=self.device)).logits[0].float().cpu()

    @property
    def parameters(self) -> int:
        """Parameters of the model."""
        return sum(p.numel() for p in self.model.parameters())


class ChatVerifier(_Reader):
    """RLHFlow's format: user turns hold the steps (the first after the question), the answer to each is + or −."""

    def scores(self, question: str, steps: Sequence[str]) -> list[float]:
        """P(+) after each step."""
        turns, found = [], []
        for k, step in enumerate(steps):
            turns.append({"role": "user", "content": f"{question} {step}" if k == 0 else step})
            text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            pair = self._logits(ids)[-1, [self.good, self.bad]]
            found.append(float(pair.softmax(-1)[0]))
            turns.append({"role": "assistant", "content": "+"})
        return found


class TagVerifier(_Reader):
    """Math-Shepherd's format: `question step ки` …, the opinion is read at each tag."""

    tag = "ки"

    def scores(self, question: str, steps: Sequence[str]) -> list[float]:
        """P(+) at the tag after each step. Raises VerifierError if the tag is no single token of the model."""
        text = f"{question} " + "\n".join(f"{s} {self.tag}" for s in steps)
        mark = self.tokenizer(self.tag, add_special_tokens=False)["input_ids"][-1]
        ids = self.tokenizer(text)["input_ids"]
        at = [i for i, t in enumerate(ids) if t == mark]
        if len(at) < len(steps):
            raise VerifierError(
                f"the tokenizer has no token for the tag {self.tag!r}: use another family of verifier"
            )
        pair = self._logits(ids)[at[-len(steps) :]][:, [self.good, self.bad]]
        return pair.softmax(-1)[:, 0].tolist()


FAMILIES = {"rlhflow": ChatVerifier, "math-shepherd": TagVerifier}


def family_of(name: str, family: str | None = None) -> str:
    """The family asked for, or the one that the name tells. Raises VerifierError for a name that tells none."""
    found = family or next((f for f in FAMILIES if f in name.lower()), None)
    if found not in FAMILIES:
        raise VerifierError(
            f"--prm {name}: its name tells none of the known families; say which with --prm-family {' or '.join(FAMILIES)}"
        )
    return found


def open_verifier(name: str, family: str | None = None, dtype: str = "auto"):
    """The adapter for a model. Raises VerifierError as `family_of`, open_load.ModelError."""
    return FAMILIES[family_of(name, family)](name, dtype)
