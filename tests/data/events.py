"""Events of eight users for the tests of loaders."""

import numpy as np

from lightning_croloss.data import Interactions, RetrievalDataModule, Split, Vocabulary


def make_events(num_users=8):
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(num_users), 6)
    return Interactions.from_columns(users, rng.permutation(len(users)))


class Module(RetrievalDataModule):
    loads = 0

    def load(self):
        self.loads += 1
        return make_events()


def targets(batches):
    return [batch.targets.squeeze(1).tolist() for batch in batches]


class GivenEvents(RetrievalDataModule):
    """Events (user, item, time) of six users and eight items, some of which may have none."""

    def __init__(self, log: list[list[int]], split: Split | None = None, max_history: int = 3):
        super().__init__(split, max_history=max_history)
        self.log = log

    def load(self):
        users, items, times = (np.array(column) for column in zip(*self.log, strict=True))
        return Interactions.from_ids(users, items, Vocabulary(range(6)), Vocabulary(range(8)), times)
