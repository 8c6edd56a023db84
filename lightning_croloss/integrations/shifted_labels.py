"""Labels that are shifted, and the number of them that Hugging Face's Trainer gives."""

import warnings

from torch import Tensor


def shifted(labels: Tensor, number: Tensor | int | None) -> Tensor:
    """Return the labels (B, L - 1) of all positions but the last.

    Nothing predicts the first label of a row, but only of transformers' own causal language models does the
    Trainer not count it. Where batches are not accumulated that can be seen, and is warned of.

    Args:
        labels: (B, L), −100 is ignored.
        number: of the labels that the Trainer has counted, in this batch and those accumulated with it.
    """
    if number is not None:
        counted, all_of_them = int(number), int((labels != -100).sum())
        if counted == all_of_them != int((labels[:, 1:] != -100).sum()):
            warnings.warn(
                "shift_labels: the Trainer counts the first label of each row too, which nothing predicts, "
                "so the loss comes out too small: set those labels to -100 in the data",
                stacklevel=3,
            )
    return labels[:, 1:]
