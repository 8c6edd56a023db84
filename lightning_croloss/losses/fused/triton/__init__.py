"""The fused loss by kernels written in Triton, for NVIDIA GPUs.

**They never ran on a GPU**: Triton's interpreter tests them on CPUs, and compiles them for none. The portable path beside them
computes the same, and takes over wherever they are not installed, not able or turned off.
"""
