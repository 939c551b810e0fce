"""The GPUs of a machine, how many training jobs fit beside their other tenants, and who holds which place."""
