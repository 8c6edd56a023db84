"""CROLoss for a query and a document encoder in the style of Hugging Face, with in-batch negatives.

Run: python examples/query_document_encoders.py
`TinyEncoder` is called and answers as `transformers.AutoModel` does: replace it by
`AutoModel.from_pretrained(name)`, and let the tokenizer make `input_ids` and `attention_mask`.
"""

from types import SimpleNamespace

import torch
from torch.nn.functional import normalize

from lightning_croloss import CROLoss, RecallAtN
from lightning_croloss.retrieval import target_ranks

WORDS, DOCUMENTS, TRAINED, LENGTH, WIDTH, STEPS = 200, 2_000, 1_600, 12, 64, 150


class TinyEncoder(torch.nn.Module):
    """One Transformer layer on token vectors, randomly initialised; token 0 is padding."""

    def __init__(self) -> None:
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, batch_first=True)
        self.tokens = torch.nn.Embedding(WORDS + 1, WIDTH)
        self.layers = torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
        """Return an object with `last_hidden_state` (B, L, WIDTH)."""
        states = self.layers(self.tokens(input_ids), src_key_padding_mask=attention_mask == 0)
        return SimpleNamespace(last_hidden_state=states)


def embed(encoder: torch.nn.Module, input_ids: torch.Tensor) -> torch.Tensor:
    """Return (B, WIDTH) unit vectors: the mean of the states of the real tokens."""
    attention_mask = (input_ids != 0).long()
    states = encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
    return normalize((states * attention_mask.unsqueeze(-1)).sum(1), dim=-1)


def ask(document_ids: torch.Tensor) -> torch.Tensor:
    """Return queries: three to six words of each document, in the words of another language."""
    words = documents[document_ids - 1].gather(1, torch.rand(len(document_ids), LENGTH).argsort(1))[:, :6]
    return translation[words] * (torch.arange(6) < torch.randint(3, 7, (len(document_ids), 1)))


@torch.no_grad()
def recall() -> float:
    """Return Recall@10, out of all documents, of queries for documents that training never saw."""
    unseen = torch.arange(TRAINED + 1, DOCUMENTS + 1)
    queries, index = embed(query_encoder, ask(unseen)), embed(document_encoder, documents)
    metric = RecallAtN(ns=(10,))
    metric.update(target_ranks(queries.unsqueeze(1), index, unseen.unsqueeze(1)))
    return float(metric.compute()["recall@10"])


torch.manual_seed(0)
documents = torch.rand(DOCUMENTS, WORDS).topk(LENGTH).indices + 1  # row i is document id i + 1
translation = torch.cat([torch.zeros(1, dtype=torch.long), torch.randperm(WORDS) + 1])
query_encoder, document_encoder = TinyEncoder(), TinyEncoder()
loss = CROLoss(temperature=0.1, num_items=DOCUMENTS)
parameters = [*query_encoder.parameters(), *document_encoder.parameters()]
optimizer = torch.optim.AdamW(parameters, lr=3e-3)

print(f"before: recall@10 {recall():.3f}")
for step in range(1, STEPS + 1):
    ids = torch.randint(1, TRAINED + 1, (256,))  # by their ids, repeats are not each other's negatives
    queries, positives = embed(query_encoder, ask(ids)), embed(document_encoder, documents[ids - 1])
    # documents asked for unequally often? give candidate_log_prob=log of their shares, and the loss corrects
    value = loss.from_embeddings(
        queries, positives, positives, target_ids=ids, candidate_ids=ids, num_sampled=len(ids) - 1
    )
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    if step % 30 == 0:
        print(f"step {step}: loss {value:.3f}")
print(f"after: recall@10 {recall():.3f}")
