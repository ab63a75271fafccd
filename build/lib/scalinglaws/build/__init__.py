"""From chapter sources to the site: execute what changed, check the ledger, render."""
