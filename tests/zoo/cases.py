"""A small table, and a config for a model of it."""

import polars as pl

from tests.data_for_tests import ClusteredData

NAME = "clusters/dnn"
CONFIG = """
seed_everything: 1
data:
  class_path: TableDataModule
  init_args: {interactions: data/clusters.parquet, batch_size: 32, max_history: 5, time_column: null}
model:
  class_path: YouTubeDNN
  init_args:
    embedding_dim: 8
    ns: [5, 10, 20]
    exclude_history: true
    negatives: {class_path: FullCatalogNegatives}
    loss: {class_path: CROLoss, init_args: {temperature: 0.2}}
    optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 0.02}}
trainer:
  max_epochs: 3
  accelerator: cpu
  enable_progress_bar: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {monitor: val/recall@10, mode: max, filename: best}
"""


def write_inputs(folder):
    """Write a table and a config for it; return the folder of the table."""
    events = ClusteredData(num_users=120).interactions
    users, items = events.user_vocabulary.tokens, events.item_vocabulary.tokens
    frame = pl.DataFrame(
        {
            "user_id": [users[user - 1] for user in events.users.tolist()],
            "item_id": [items[item - 1] for item in events.items.tolist()],
        }
    )
    (folder / "tables").mkdir()
    frame.write_parquet(folder / "tables" / "clusters.parquet")
    (folder / "dnn.yaml").write_text(CONFIG)
    return folder / "tables"
