"""The fused loss by kernels written in Triton, for NVIDIA's GPUs of data centres.

The test suite runs them in Triton's interpreter on a CPU, value and gradients, and compiles them for compute
capability 9.0; ``tests/gpu`` compares them on a GPU. The portable path beside them computes the same; it
takes over where Triton is missing, the device or the loss is none that they are made for, they are slower
(``choice.pays``), or somebody turned them off.

The forward sweep is one program for a block of rows and a part of the candidates. It adds up Σ u φ, and in
the same pass Σ u φ′ times the candidates: the users' gradient but for a factor of each row, which is known
when the sum is complete. The backward sweep is one program for a tile of candidates and a part of the rows,
and computes φ′ again. That makes four products, and nothing of (B, M) in memory. Programs share no place:
each writes its part, and the parts are added up in their order, so that the same inputs give the same bits.

Who calls whom::

    plan_of_vectors                       ../planning.py   by Triton or portably
    └── is_computable                     choice.py        Triton is imported only for compiled/
    fused_loss                            ../function.py   the autograd function
    └── TritonComputation                 compute.py       forward and backward pass
        ├── sweep, candidates_gradient    sweeps.py        start the kernels, bring their parts together
        │   ├── Vectors, Layout           vectors.py, layout.py   what they read, sizes of tiles
        │   ├── IgnoredPairs              plan.py          ids to compare, further pairs tile by tile
        │   └── sweep_kernel              compiled/sweep.py
        │       candidates_kernel         compiled/candidates.py
        │       ├── value_and_slope …     compiled/kernels.py
        │       └── ignore_pairs          compiled/pairs.py
        └── FusedForm.finish              ../form.py       ranks, importance and Lambda: in PyTorch, of (B,)
"""
