"""The exact loss over a catalogue in shards: each process compares all rows with its own items.

What a row needs of all items is a sum, Σ_j u_j φ(d_j), which processes add up; the gradients of the items
stay where these are. Both paths of ``RetrievalLoss.from_sharded_embeddings`` begin with ``ShardedBatch``::

    ShardedBatch.of             batch.py     one header for numbers of rows, weights and errors; hits sent to
    │                                        the owners of the items
    ├── naive_losses            naive.py     all rows by autograd; ``ShardSums`` adds up; any loss that
    │                                        ``supports_shards``
    └── fused_losses            function.py  the autograd function of the fused path
        └── ShardedComputation  compute.py   block by block as ``fused.Computation``, one sum over the
                                             processes a block
"""
