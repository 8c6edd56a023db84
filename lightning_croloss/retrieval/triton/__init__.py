"""Counting for exact ranks by kernels written in Triton, for NVIDIA's GPUs of data centres.

The test suite runs them in Triton's interpreter on a CPU, ``tests/gpu`` on a GPU. No score is written to
memory: a program compares those of its tile with the targets' scores, and keeps the counts. A target's score
comes from a product of the same shape, and is compared with that of the tile it is in; should they differ in
a bit, the portable counting does the block again.
"""
