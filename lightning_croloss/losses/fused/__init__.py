"""The fused path: loss and gradients straight from embeddings, never the whole (B, M) matrix of scores.

Rows are taken in blocks, candidates in tiles that fit the cache. The gradient of a score is a product of two
factors, ``∂loss/∂s_ij = c_i · u_j φ′(d_ij)``, and only ``c_i`` needs the finished rank of the row. So a block
computes φ, φ′ and the users' gradients in one sweep over its tiles, keeping φ′, and then, with ``c_i`` known,
the candidates' gradients by one more product: three products in all, as many as any training step needs.
Gradients are computed in the forward pass; the backward pass multiplies them by a number.

Who calls whom::

    FusedLoss.from_embeddings                 loss.py      chooses the path; base of CROLoss and SoftmaxLoss
    ├── fused_form                            form.py      what the computation must know of the loss
    ├── Tiling.choose                         plan.py      how to cut; Plan holds all that stays the same
    └── fused_loss                            function.py  the autograd function
        └── Computation.run                   compute.py   block by block
            ├── Sweep                         sweep.py     one block over all tiles: scores, φ, φ′
            │   ├── AccidentalHits.ignore     ../batches/accidental_hits.py
            │   └── add_tile, Kernel.slope_   sums.py      Σ u φ, by logarithms where φ may overflow
            ├── FusedForm.weigh               form.py      from the finished ranks: loss and c_i
            └── Sweep.add_candidate_gradient  sweep.py     with c_i known

Scores that are there already, logits or those of ``forward``, take one pass with the same forms and sums::

    ScoreLoss.from_logits, forward            score_loss.py      chooses the path; base of FusedLoss
    └── loss_of_scores                        score_function.py  the autograd function
        └── ScoreComputation.run              scores.py          block of rows by block of rows
            └── ScorePlan                     score_plan.py      what stays the same, and how to cut
"""
