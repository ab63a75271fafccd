"""Models trained on one corpus, from scratch and after another corpus: what pretraining is worth (Hernandez et al. 2021)."""

from __future__ import annotations

from functools import partial

import pandas as pd
import torch

from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from .config import Run
from .corpus import same_tokens
from .study import described
from .train import Trainer


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """Pretraining of each shape and seed, then a job for each amount of the target.

    sizes: run (as in a grid of `study`), from, to, pretraining (tokens), rates (from scratch, after pretraining), shapes,
    amounts (distinct tokens of the target), epochs over them at most, evaluations on the way, seeds. Raises DataError.
    """
    same_tokens(sizes["from"], sizes["to"])
    each = [Transferred(sizes, artefacts, s, k) for s in sizes["shapes"] for k in range(sizes["seeds"])]
    first = [Job(f"pretraining {t.shape} {t.seed}", t.pretrained) for t in each]
    then = [
        Job(f"{t.shape} {amount} {t.seed}", partial(t.finetuned, amount))
        for amount in sizes["amounts"]
        for t in each
    ]
    return [*first, *then]


class Transferred:
    """One shape and seed of the study."""

    def __init__(self, sizes: dict, artefacts: ArtefactStore, shape: str, seed: int):
        self.sizes, self.artefacts, self.shape, self.seed = sizes, artefacts, shape, seed

    def run(self, corpus: str, tokens: int, rate: float, unique: int = 0) -> Run:
        """A run of this shape and seed; of a cut corpus the loss is measured on the way. Raises StudyError."""
        parts = self.sizes["evaluations"] if unique else 0
        about = {
            "corpus": corpus, "shape": self.shape, "tokens": tokens, "learning_rate": rate, "seed": self.seed,
            "unique_tokens": unique, "evaluate_at": [tokens * (i + 1) // parts for i in range(parts)],
        }  # fmt: skip
        return described(self.sizes["run"] | about, f"transfer, {self.shape}")

    def pretrained(self) -> torch.Tensor:
        """Parameters [1, P] after the first corpus."""
        run = self.run(self.sizes["from"], self.sizes["pretraining"], self.sizes["rates"][0])

        def make() -> torch.Tensor:
            trainer = Trainer([run])
            trainer.train()
            return trainer.flat

        return self.artefacts.artefact("pretrained", {"run": run.to_dict()}, make)

    def finetuned(self, amount: int) -> pd.DataFrame:
        """Two rows, from scratch and after pretraining: the lowest held-out loss on the way, nats per token.

        The lowest of a few evaluations is what stopping early would have kept, the same for both.
        """
        tokens = min(self.sizes["epochs"] * amount, self.sizes["pretraining"])
        runs = [self.run(self.sizes["to"], tokens, rate, amount) for rate in self.sizes["rates"]]
        about = {"runs": [r.to_dict() for r in runs], "pretraining": self.sizes["pretraining"]}
        return self.artefacts.table("finetuned", about, lambda: self._finetuned(amount, runs))

    def _finetuned(self, amount: int, runs: list[Run]) -> pd.DataFrame:
        rows = []
        for run, start in zip(runs, (None, self.pretrained()), strict=True):
            trainer = Trainer([run])
            before = float("nan")
            if start is not None:
                trainer.flat.copy_(start)
                before = trainer.evaluate()[0][0]
            (result,) = trainer.train()
            known = [*result["evaluation_loss"], result["loss"]] + ([before] if start is not None else [])
            told = {k: result[k] for k in ("N", "N_total", "D")}
            told |= {"hash": run.hash, "seed": self.seed, "amount": amount, "pretrained": start is not None}
            rows.append(told | {"before": before, "loss": min(known), "last": result["loss"]})
        return pd.DataFrame(rows)
