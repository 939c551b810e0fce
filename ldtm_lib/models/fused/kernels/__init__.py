"""Triton kernels of the fused trainer."""
