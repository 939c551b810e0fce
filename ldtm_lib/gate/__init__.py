"""The gate: the rules that a candidate must pass to become active, the evidence, and the model card."""
