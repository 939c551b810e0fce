"""Training on a GPU by the fastest method that works, in child processes, so that no fault of the GPU can end it."""
