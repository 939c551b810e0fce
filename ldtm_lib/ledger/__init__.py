"""The forecast ledger: what was said, on what grounds, what became of it, and who was right."""
