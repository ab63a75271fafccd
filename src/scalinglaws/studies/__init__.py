"""What every study shares: where finished artefacts are kept, and who makes the missing ones. No subject of its own."""
