"""The language-model engine: corpora, models, the training loop, studies, sweeps and the run store.

One path for every scale: a `Run` says what to train, a study file multiplies out into runs, a
sweep trains those that the store lacks, a chapter reads the stored table.
"""
