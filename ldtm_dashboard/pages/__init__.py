"""The pages: each draws what `frames` reads and `charts` draws."""
