"""Training on a GPU that no fault of the GPU can end: in processes of their own, by the fastest method that works."""
