"""The fused path: loss and gradients straight from embeddings, never the whole (B, M) matrix of scores.

Rows are taken in blocks, candidates in tiles that fit the cache. The gradient of a score is a product of two
factors, ``∂loss/∂s_ij = c_i · u_j φ′(d_ij)``, and only ``c_i`` needs the finished rank of the row. So a block
computes φ, φ′ and the users' gradients in one sweep over its tiles, keeping φ′, and then, with ``c_i`` known,
the candidates' gradients by one more product: three products in all, as many as any training step needs.
Gradients are computed in the forward pass; the backward pass multiplies them by a number. Where φ′ of enough
rows would not fit, a second sweep in the backward pass computes it again, which keeps nothing between.

Who calls whom::

    FusedLoss.from_embeddings                 loss.py      chooses the path; base of CROLoss and SoftmaxLoss
    ├── fused_form                            form.py      what the computation must know of the loss
    ├── Tiling.choose                         plan.py      how to cut; Plan holds all that stays the same
    └── fused_loss                            function.py  the autograd functions
        └── Computation                       compute.py   in one sweep, block by block, or in two
            ├── Tiles                         tiles.py     candidates, to unit length if asked; their gradient
            ├── Block                         block.py     some rows: scores of a tile, products with φ′
            │   └── TileHits.ignore           ../batches/tile_hits.py
            ├── Sweep                         sweep.py     one block over all tiles: Σ φ, φ′ kept
            │   └── add_tile, Kernel.slope_   sums.py      Σ u φ, by logarithms where φ may overflow
            ├── TwoSweeps                     two_sweeps.py  all blocks over all tiles, φ′ computed again
            └── FusedForm.finish              form.py      from the finished ranks: loss and c_i

Scores that are there already, logits or those of ``forward``, take one pass with the same forms and sums::

    ScoreLoss.from_logits, forward            score_loss.py      chooses the path; base of FusedLoss
    └── loss_of_scores                        score_function.py  the autograd function
        └── ScoreComputation.run              scores.py          block of rows by block of rows
            └── ScorePlan                     score_plan.py      what stays the same, and how to cut
"""
