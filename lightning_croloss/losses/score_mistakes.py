"""What scores that do not fit probably are: logits, vectors or a matrix of similarities."""

from __future__ import annotations

from typing import NoReturn

from torch import Tensor

from lightning_croloss.losses.kinds import check_tensor


def refuse_no_tensors(positive: object, negative: object) -> NoReturn:
    """Say that one of the two is not a tensor, or is missing."""
    positive = check_tensor("positive_scores", positive, "(B,)")
    if negative is None:
        matrix = (
            ": row i's positive in column i of a matrix of similarities is loss.from_logits(similarities, "
            "torch.arange(B)), and from vectors loss.in_batch(users, items)"
        ) * (positive.dim() == 2)
        raise TypeError(
            f"negative_scores must be a tensor (B, M), got positive_scores {tuple(positive.shape)} "
            f"alone{matrix}"
        )
    check_tensor("negative_scores", negative, "(B, M)")
    raise AssertionError("one of the two is not a tensor")


def refuse_scores(positive: Tensor, negative: Tensor) -> NoReturn:
    """Say what scores that do not fit probably are."""
    check_tensor("positive_scores", positive, "(B,)")
    check_tensor("negative_scores", negative, "(B, M)")
    first, second = tuple(positive.shape), tuple(negative.shape)
    whole = (positive.is_floating_point(), negative.is_floating_point())
    got = (
        "positive_scores must be floating-point numbers (B,) and negative_scores (B, M), got "
        f"{first} of {positive.dtype} and {second} of {negative.dtype}"
    )
    logits = ": for logits and labels call loss.from_logits(logits, labels)"
    hint = ""
    if (whole == (True, False) and positive.dim() > 1) or (positive.dim(), negative.dim()) == (2, 1):
        hint = logits
    elif whole == (False, True) and negative.dim() > positive.dim():
        hint = f"{logits}, the labels second"
    elif whole == (True, True) and first == second and len(first) == 2:
        hint = (
            ": for the vectors of users and their items call loss.in_batch(users, items), with other "
            "negatives loss.from_embeddings(users, positives, candidates)"
        )
    elif whole == (True, True) and len(first) == len(second) == 2 and first[1] == 1:
        hint = ": give positive_scores.squeeze(1)"
    elif whole == (True, True) and first == second and len(first) == 1:
        hint = ": where each row has one negative, give negative_scores.unsqueeze(1)"
    elif whole == (True, True) and first and len(second) == len(first) + 1:
        hint = f": positive_scores has {first[0]} rows, negative_scores {second[0]} rows"
        if len(first) == 2:
            hint = ": positions (B, L) and (B, L, M) must have the same positions"
    raise ValueError(got + hint)
