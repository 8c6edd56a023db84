"""Checks of what the arguments of a loss are: one sentence before anything reaches a tensor operation.

They look at types, shapes and devices, which the host knows, and at few values, those on the host, so that
nothing waits for a device. What others tell is asked in ``lightning_croloss.losses.checking.inspection``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_croloss.losses.checking.kinds import (
    OF_COLUMNS,
    check_amounts,
    check_columns,
    check_excluded,
    check_floats,
    check_ids,
    check_mask,
    check_number,
    check_tensor,
    check_weight,
    refuse_device,
)
from lightning_croloss.losses.checking.score_mistakes import refuse_no_tensors, refuse_scores


def check_scores(
    positive: object, negative: object, mask: object, log_prob: object, num_sampled: object, weight: object
) -> Tensor:
    """Check the arguments of ``RetrievalLoss.forward``, in their order, and return ``negative``.

    Raises:
        TypeError: an argument is not a tensor.
        ValueError: types, shapes or devices do not fit.
    """
    if not isinstance(positive, Tensor) or not isinstance(negative, Tensor):
        refuse_no_tensors(positive, negative)
    rows, shape, device = positive.shape, negative.shape, positive.device
    if (
        len(rows) not in (1, 2)
        or shape[:-1] != rows
        or not (positive.is_floating_point() and negative.is_floating_point())
        or not (positive.layout is negative.layout is torch.strided)
    ):
        refuse_scores(positive, negative)
    if negative.device != device:
        refuse_device("negative_scores", negative, "positive_scores", device)
    if mask is not None:
        check_columns("negative_mask", check_mask("negative_mask", mask), shape, device)
    if log_prob is not None:
        log_prob = check_floats("negative_log_prob", log_prob, OF_COLUMNS)
        check_columns("negative_log_prob", log_prob, shape, device)
    if num_sampled is not None:
        check_number(num_sampled, rows)
    if weight is not None:
        check_weight(weight, rows, "positive_scores", device)
    return negative


def check_user_ids(user_ids: object, rows: torch.Size, device: torch.device) -> None:
    """Check ``user_ids``: one for each of the users, ``rows`` being (B,).

    Raises:
        TypeError: it is not a tensor.
        ValueError: its type, shape or device does not fit, or an id is negative.
    """
    ids = check_ids("user_ids", user_ids, "(B,)")
    if ids.shape != rows:
        raise ValueError(f"user_ids must be {tuple(rows)}, one for each user, got {tuple(ids.shape)}")
    if ids.device != device:
        refuse_device("user_ids", ids, "users", device)
    if device.type == "cpu" and ids.numel() and int(ids.min()) < 0:
        raise ValueError(f"user_ids must be from 0 on, got {int(ids.min())}")


def check_embeddings(
    users: object,
    positives: object,
    candidates: object,
    target_ids: object,
    candidate_ids: object,
    excluded_ids: object,
    log_prob: object,
    num_sampled: object,
    weight: object,
    padding_id: object,
) -> None:
    """Check the arguments of ``RetrievalLoss.from_embeddings``, in their order.

    Raises:
        TypeError: an argument is not a tensor.
        ValueError: types, shapes or devices do not fit.
    """
    if candidate_ids is None and not (target_ids is None and excluded_ids is None):
        raise ValueError(
            "target_ids and excluded_ids are compared with candidate_ids: give candidate_ids too"
        )
    users = check_floats("users", users, "(B, D)")
    positives = check_floats("positives", positives, "(B, D)")
    candidates = check_floats("candidates", candidates, "(M, D) or (B, M, D)")
    _check_vectors(users, positives, candidates)
    rows, device = positives.shape[:-1], users.device
    shape = torch.Size((*rows, candidates.shape[-2]))
    if padding_id is not None and (not isinstance(padding_id, int) or isinstance(padding_id, bool)):
        raise TypeError(f"padding_id must be an integer, or None where no id is padding, got {padding_id!r}")
    if target_ids is not None:
        target_ids = check_ids("target_ids", target_ids, "(B,)")
        if target_ids.shape != rows:
            raise ValueError(
                f"target_ids must be {tuple(rows)} like the positives {tuple(positives.shape)}, got "
                f"{tuple(target_ids.shape)}"
            )
        if target_ids.device != device:
            refuse_device("target_ids", target_ids, "users", device)
    if candidate_ids is not None:
        candidate_ids = check_ids("candidate_ids", candidate_ids, OF_COLUMNS)
        check_columns("candidate_ids", candidate_ids, shape, device)
    if excluded_ids is not None:
        check_excluded(excluded_ids, rows, device)
    if log_prob is not None:
        log_prob = check_floats("candidate_log_prob", log_prob, OF_COLUMNS)
        check_columns("candidate_log_prob", log_prob, shape, device)
    if num_sampled is not None:
        check_number(num_sampled, rows)
    if weight is not None:
        check_weight(weight, rows, "users", device)


def check_pairs(users: object, items: object, item_ids: object, weight: object, user_ids: object) -> None:
    """Check the arguments of ``RetrievalLoss.in_batch`` but the counts, in their order.

    Raises:
        TypeError: an argument is not a tensor.
        ValueError: types, shapes or devices do not fit.
    """
    users = check_floats("users", users, "(B, D)")
    items = check_floats("items", items, "(B, D)")
    if users.dim() != 2 or users.shape != items.shape:
        raise ValueError(
            "users and items must be (B, D) both, row i's positive being item i, got "
            f"{tuple(users.shape)} and {tuple(items.shape)}"
        )
    device = users.device
    if items.device != device:
        refuse_device("items", items, "users", device)
    for name, given in (("item_ids", item_ids), ("user_ids", user_ids)):
        if given is None:
            continue
        ids = check_ids(name, given, "(B,)")
        if ids.shape != users.shape[:1]:
            raise ValueError(f"{name} must be (B,) with B={users.shape[0]}, got {tuple(ids.shape)}")
        if ids.device != device:
            refuse_device(name, ids, "users", device)
    if weight is not None:
        check_weight(weight, users.shape[:1], "users", device)


def check_logits(
    logits: object,
    labels: object,
    mask: object,
    log_prob: object,
    ignore_index: object,
    weight: object,
    class_dim: object,
) -> None:
    """Check what the arguments of ``RetrievalLoss.from_logits`` are; their shapes depend on one another.

    Raises:
        TypeError: an argument is not a tensor.
        ValueError: types or devices do not fit.
    """
    logits = check_tensor("logits", logits, "(B, C), (B, L, C) or (B, C, L)")
    labels = check_tensor("labels", labels, "(B,) or (B, L)")
    if logits.is_floating_point():
        check_floats("logits", logits, "(B, C)")
    device, columns = logits.device, "(C,) or like the logits"
    if mask is not None:
        mask = check_mask("mask", mask, columns)
        if mask.device != device:
            refuse_device("mask", mask, "logits", device)
    if log_prob is not None:
        log_prob = check_floats("log_prob", log_prob, columns)
        if log_prob.device != device:
            refuse_device("log_prob", log_prob, "logits", device)
    if weight is not None:
        weight = check_tensor("sample_weight", weight, "(B,) or (B, L)")
        if weight.is_complex():
            raise ValueError(f"sample_weight must be real numbers, got {weight.dtype}")
        if weight.device != device:
            refuse_device("sample_weight", weight, "logits", device)
        check_amounts("sample_weight", weight)
    if not isinstance(ignore_index, int) or isinstance(ignore_index, bool):
        raise TypeError(f"ignore_index must be an integer that is no class, as -100, got {ignore_index!r}")
    if class_dim is not None and (not isinstance(class_dim, int) or isinstance(class_dim, bool)):
        raise TypeError(f"class_dim must be -1, 1 or None, got {class_dim!r}")


def _check_vectors(users: Tensor, positives: Tensor, candidates: Tensor) -> None:
    of_users, of_positives, of_candidates = users.shape, positives.shape, candidates.shape
    several = len(of_users) == 2 and len(of_positives) == 3 and of_users[0] == of_positives[0]
    width = of_users[-1] if of_users else 0
    if (
        not (several or of_users == of_positives)
        or len(of_positives) not in (2, 3)
        or of_positives[-1] != width
    ):
        raise ValueError(
            "users and positives must be (B, D) both, (B, L, D) both for L positions, or (B, D) and "
            f"(B, P, D) for several positives, got {tuple(of_users)} and {tuple(of_positives)}"
        )
    shared = len(of_candidates) == 2
    own = len(of_candidates) > 2 and of_candidates[:-2] in (of_positives[:1], of_positives[:-1])
    if not (shared or own):
        rows = tuple(of_positives[:-1])
        raise ValueError(
            f"candidates must be (M, D), shared by the batch, or (B, M, D), those of each row, with "
            f"B={rows[0]}{f' or {rows} before M' * (len(rows) > 1)}, got {tuple(of_candidates)}"
        )
    if of_candidates[-1] != width:
        raise ValueError(
            f"candidates must have vectors of the users' width D={width}, got {tuple(of_candidates)}"
        )
    device = users.device
    if positives.device != device:
        refuse_device("positives", positives, "users", device)
    if candidates.device != device:
        refuse_device("candidates", candidates, "users", device)
