"""How a problem is put to an open model, and how its answer is read.

Models differ in what they write: \\boxed{…}, a number after ####, or just a number at the end. A form is a prompt and
a way to read; what cannot be read is no answer, and is counted, never taken for a wrong one in silence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

BY_STEPS = "Solve the following problem step by step. Separate the steps by blank lines"
BY_HASHES = "{problem}\n\nWork it out step by step in a few short sentences. End with the final number after ####."
PROMPTS = {
    "boxed": BY_STEPS + " and put the final answer in \\boxed{{}}.\n\n{problem}",
    "hashes": BY_HASHES,
    "lenient": BY_HASHES,
    "last-number": BY_STEPS + " and end with the answer.\n\n{problem}",
}
"""The prompt for each way of answering, with {problem}; {{ and }} stand for braces."""

_NUMBER = re.compile(r"[-−]?\$?\d[\d,]*(?:\.\d+)?|[-−]?\$?\.\d+")


@dataclass(frozen=True)
class Question:
    """A problem of a data set: its text, the reference answer (LaTeX or a number), and a worked solution, if any."""

    text: str
    answer: str
    solution: str = ""


def boxed(text: str) -> str | None:
    """What stands in the last \\boxed{…} with balanced braces; None without one."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len("\\boxed{")
    for i in range(begin, len(text)):
        if text[i] == "{":
            depth += 1
        elif text[i] == "}":
            if depth == 0:
                return text[begin:i].strip()
            depth -= 1
    return None


def hashes(text: str) -> str | None:
    """The first number after the last ####, plain (1,234 and $5 become 1234 and 5); None without one."""
    _, found, rest = text.rpartition("####")
    number = _NUMBER.search(rest) if found else None
    return plain(number[0]) if number else None


def last_number(text: str) -> str | None:
    """The last number of the text, plain; None without one."""
    numbers = _NUMBER.findall(text)
    return plain(numbers[-1]) if numbers else None


def plain(number: str) -> str:
    """A number without thousands separators and currency, as ASCII."""
    return number.replace(",", "").replace("$", "").replace("−", "-")


def lenient(text: str) -> str | None:
    """The number after ####, and where there is none the last number of the text."""
    return hashes(text) or last_number(text)


READERS = {"boxed": boxed, "hashes": hashes, "last-number": last_number, "lenient": lenient}


def same_answer(gold: str, given: str) -> bool:
    """Whether two answers, LaTeX or numbers, mean the same (math-verify); equal text always does."""
    if gold.strip() == given.strip():
        return True
    from math_verify import parse, verify

    return bool(verify(parse(f"\\boxed{{{gold}}}"), parse(f"\\boxed{{{given}}}")))


@dataclass(frozen=True)
class Form:
    """A prompt, a way to read answers (a key of READERS), and solved examples that come first.

    Raises ValueError for another way, or a prompt in which the problem has no place.
    """

    answer: str = "boxed"
    prompt: str = ""
    shots: tuple[Question, ...] = ()

    def __post_init__(self):
        if self.answer not in READERS:
            raise ValueError(f"--answer {self.answer!r}: there are {', '.join(READERS)}")
        try:
            placed = self.template.format(problem="PLACE")
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(f"--prompt: braces other than {{problem}} are written {{{{ and }}}} ({error})") from None
        if "PLACE" not in placed:
            raise ValueError("--prompt needs {problem} where the problem goes")

    @property
    def step(self) -> str:
        """What ends a step: the line break of GSM8K's solutions, a blank line where the prompt asks for one."""
        return "\n" if self.answer in ("hashes", "lenient") else "\n\n"

    @property
    def template(self) -> str:
        """The prompt, the one for this way of answering unless another was given."""
        return self.prompt or PROMPTS[self.answer]

    def read(self, text: str) -> str | None:
        """The answer that a solution gives; None where none can be read."""
        return READERS[self.answer](text)

    def turns(self, problem: str) -> list[dict[str, str]]:
        """The conversation that asks a problem: each example as a question and its solution, then the problem."""
        ask = lambda text: {"role": "user", "content": self.template.format(problem=text)}
        told = [turn for q in self.shots for turn in (ask(q.text), {"role": "assistant", "content": self.told(q)})]
        return [*told, ask(problem)]

    def told(self, question: Question) -> str:
        """A worked solution that ends as this form wants it."""
        ends = {"boxed": "\\boxed{%s}", "last-number": "The answer is %s."}
        last = ends.get(self.answer, "#### %s") % question.answer
        return "\n".join(filter(None, (question.solution.strip(), last)))


def asked(tokenizer, form: Form, problem: str) -> str:
    """The text that asks a problem, in the model's chat format if it has one."""
    turns = form.turns(problem)
    if tokenizer.chat_template is None:
        return "\n\n".join(turn["content"] for turn in turns) + "\n\n"
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)


def said(form: Form, unread: float) -> str:
    """A line on answers that could not be read (a share of finished solutions); empty where all could."""
    if not unread:
        return ""
    others = " or ".join(f"--answer {name}" for name in READERS if name != form.answer)
    return (
        f"warning: {100 * unread:.0f} % of the finished solutions have no answer that could be read as {form.answer}; "
        f"they count as wrong. See the stored texts, and try {others}"
    )


def distinct(known: Sequence[str], given: str) -> int:
    """Which of the known answers the given one is; their number where it is a new one."""
    return next((i for i, answer in enumerate(known) if same_answer(answer, given)), len(known))
