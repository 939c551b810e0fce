"""The GPUs of a machine, the number of training jobs that fit next to other processes, and leases on their slots."""
