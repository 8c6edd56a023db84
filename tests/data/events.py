"""Events of eight users for the tests of loaders."""

import numpy as np

from lightning_croloss.data import Interactions, RetrievalDataModule


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
