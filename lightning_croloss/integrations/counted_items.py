"""CountedItems: log q of items that were counted in the training data."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lightning_croloss.integrations.text_ids import text_ids
from lightning_croloss.losses import log_prob_from_counts

#: Texts that are turned into tokens at once.
CHUNK = 1024
WANTED = "how often each text comes, Counter(dataset['positive']), or a tensor (C,) by label"
#: What to count, if an item was not.
TEXTS = "count every column of texts behind the anchor, in all rows and, if there is one, behind the prompt"
LABELS = "it is indexed by the label column, torch.bincount(labels of all rows)"


class CountedItems(nn.Module):
    """Looks up log q of items by any ids.

    Args:
        item_ids: (n,) any integers; an id that comes twice has the sum of its counts.
        counts: (n,) how often each occurs.
        by_label: whether the ids are those of a label column, not of texts.
    """

    ids: Tensor
    log_prob: Tensor

    def __init__(self, item_ids: Tensor, counts: Tensor, by_label: bool) -> None:
        super().__init__()
        ids, index = item_ids[counts != 0].unique(return_inverse=True)  # below 0 is an error
        total = torch.zeros(len(ids), dtype=torch.float64).index_add(0, index, counts[counts != 0].double())
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("log_prob", log_prob_from_counts(total), persistent=False)
        self.by_label, self._seen = by_label, False

    @classmethod
    def of(cls, item_counts: Mapping[str, int] | Tensor, model: Any) -> CountedItems:
        """Return the counts (C,) by id, or those of texts as a model's ``preprocess`` turns them to tokens.

        Raises:
            TypeError: it is neither, or counts nothing.
            ValueError: they are no counts.
        """
        if isinstance(item_counts, Tensor):
            counts = item_counts.detach().cpu()
            return cls(torch.arange(len(counts)), counts, by_label=True)
        texts = list(item_counts) if isinstance(item_counts, Mapping) else [None]
        if not (texts and all(isinstance(text, str) for text in texts) and any(item_counts.values())):
            got = f"{type(item_counts).__name__}: {reprlib.repr(item_counts)}"
            raise TypeError(f"item_counts must be {WANTED}, got {got}")
        routes = getattr(model[0], "sub_modules", {}) if isinstance(model, nn.Sequential) else {}
        route = {"task": "document"} if "document" in routes else {}  # of a Router, which items take
        chunks = [texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK)]
        ids = torch.cat([text_ids(model.preprocess(chunk, **route)) for chunk in chunks])
        return cls(ids.cpu(), torch.tensor([item_counts[text] for text in texts]), by_label=False)

    def forward(self, ids: Tensor, strict: bool) -> Tensor:
        """Return log q (B,); an item that was not counted has the least of all.

        Raises:
            ValueError: ``strict``, and one was not counted; a device is asked at the first batch only.
        """
        index = torch.searchsorted(self.ids, ids).clamp(max=len(self.ids) - 1)
        known = self.ids[index] == ids
        if strict and (ids.device.type == "cpu" or not self._seen):
            self._seen = True
            if missing := int((~known).sum()):
                items = f"{missing} of the {len(ids)} items of this batch"
                raise ValueError(f"item_counts lacks {items}: {LABELS if self.by_label else TEXTS}")
        return torch.where(known, self.log_prob[index], self.log_prob.min())
