"""A little denoising after pretraining: what it does to the next token and to a gap (Tay et al. 2022, UL2R)."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch

from ..studies.artefacts import ArtefactStore
from ..studies.jobs import Job
from .batches import cut_out, generator, mark
from .config import Run
from .corpus import open_corpus
from .model import token_losses
from .study import described
from .train import Trainer


def jobs(sizes: dict, artefacts: ArtefactStore) -> list[Job]:
    """Pretraining of each shape and seed, then a job for each share of cut windows.

    sizes: run (as in a grid of `study`), shapes, pretraining and more (tokens), rates (of both), shares, gaps (windows that
    the filling of gaps is measured on), seeds. Raises StudyError.
    """
    each = [Denoised(sizes, artefacts, s, k) for s in sizes["shapes"] for k in range(sizes["seeds"])]
    first = [Job(f"pretraining {d.shape} {d.seed}", d.pretrained) for d in each]
    return first + [Job(f"{d.shape} {share} {d.seed}", partial(d.continued, share)) for share in sizes["shares"] for d in each]


def infilling(trainer: Trainer, windows: torch.Tensor, sign: int) -> float:
    """Mean loss, nats per token, of what was cut out, given all the rest: windows [n, context + 1] of `cut_out`."""
    with torch.no_grad():
        losses = torch.cat([token_losses(trainer.model, trainer.flat, part[None])[0] for part in windows.split(64)])
    behind = (windows == sign).cumsum(1)[:, :-1] > 1  # predicted from the second mark on
    return float(losses[behind].mean())


class Denoised:
    """One shape and seed of the study."""

    def __init__(self, sizes: dict, artefacts: ArtefactStore, shape: str, seed: int):
        self.sizes, self.artefacts, self.shape, self.seed = sizes, artefacts, shape, seed

    def run(self, tokens: int, rate: float, share: float = 0.0) -> Run:
        """A run of this shape and seed. Raises StudyError."""
        about = {"shape": self.shape, "tokens": tokens, "learning_rate": rate, "seed": self.seed, "denoised": share}
        return described(self.sizes["run"] | about, f"denoising, {self.shape}")

    def pretrained(self) -> torch.Tensor:
        """Parameters [1, P] after reading from left to right."""
        run = self.run(self.sizes["pretraining"], self.sizes["rates"][0])

        def make() -> torch.Tensor:
            trainer = Trainer([run])
            trainer.train()
            return trainer.flat

        return self.artefacts.artefact("pretrained", {"run": run.to_dict()}, make)

    def continued(self, share: float) -> pd.DataFrame:
        """One row: the losses before and after more training, of which a share of windows is cut; nats per token."""
        run = self.run(self.sizes["more"], self.sizes["rates"][1], share)
        about = {"run": run.to_dict(), "pretraining": self.sizes["pretraining"], "gaps": self.sizes["gaps"]}
        return self.artefacts.table("continued", about, lambda: self._continued(run))

    def _continued(self, run: Run) -> pd.DataFrame:
        corpus = open_corpus(run.corpus)
        text = corpus.evaluation(self.sizes["gaps"] * run.context, run.context)[:, : run.context - 1]
        sign = mark(corpus.vocabulary)
        windows = torch.from_numpy(cut_out(text, sign, generator(self.seed, 2**62 + 3)).astype(np.int64))
        trainer = Trainer([run])
        trainer.flat.copy_(self.pretrained())
        before = {"before": trainer.evaluate()[0][0], "gap_before": infilling(trainer, windows, sign)}
        (result,) = trainer.train()
        told = {k: result[k] for k in ("N", "N_total", "D", "loss")}
        told |= {"hash": run.hash, "seed": self.seed, "denoised": run.denoised, "gap": infilling(trainer, windows, sign)}
        return pd.DataFrame([told | before])
