"""Which GPUs are here and how much of them is free."""
