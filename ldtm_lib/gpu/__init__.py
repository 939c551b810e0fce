"""The GPUs of a machine, the number of training jobs that fit beside other processes, and leases on their slots."""
