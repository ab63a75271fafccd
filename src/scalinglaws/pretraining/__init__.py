"""What pages ask of stored pretraining runs: a paper's quantities, read out of tables. Nothing here trains."""
