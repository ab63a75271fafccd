"""One question to the real model, here and now."""

from __future__ import annotations

import textwrap

import pandas as pd

from ..testtime import embedded
from ..testtime.answers import Form, asked
from ..testtime.open_load import ModelError
from ..testtime.open_own import Own


def ask(
    question: str, samples: int = 8, tokens: int = 120, seed: int = 0, width: int = 90
) -> pd.DataFrame | None:
    """Solutions of one question: answer, tokens, log p a token (nats), and how the text begins (`width` characters).

    None, and one line that says what is missing, where the model is not installed. Ten seconds on two cores.
    """
    try:
        embedded.packaged()
        writer = Own(embedded.NAME, seed=seed)
    except (embedded.EmbeddedError, ModelError) as error:
        print(f"not sampled: {error}")
        return None
    form = Form("lenient")
    (written,) = writer.samples([asked(writer.tokenizer, form, question)], samples, 0.8, None, tokens)
    rows = [
        {
            "answer": form.read(text) or "–",
            "tokens": count,
            "log p": f"{told:.2f}".replace("-", "−"),
            "text": textwrap.shorten(" ".join(text.split()), width, placeholder=" …"),
        }
        for (text, count, _), told in zip(written, writer.told.tolist(), strict=True)
    ]
    return pd.DataFrame(rows)
