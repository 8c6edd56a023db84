"""A small search whose process ends at a moment; run as ``python -m tests.tuning.kill_run folder moment``."""

import functools
import os
import signal
import sys
from pathlib import Path

from lightning_croloss.data.loader import BatchLoader
from lightning_croloss.tuning import tune
from tests.data_for_tests import ClusteredData
from tests.tuning.cases import candidates, retrieval_model


class Killed(BaseException):
    """Ends a search, as it were with its process."""


class Moments:
    """Counts the batches that are drawn and the files that are about to be, or have been, put in place.

    Args:
        last: the moment at which ``end`` is called.
        end: ends the search.
    """

    def __init__(self, last, end):
        self.count, self.last, self.end = 0, last, end

    def __call__(self):
        self.count += 1
        if self.count == self.last:
            self.end()

    def watch(self, setattr):
        """Count from now on; ``setattr`` as that of ``monkeypatch``."""
        replace, iterate = os.replace, BatchLoader.__iter__

        @functools.wraps(replace)
        def replaced(source, target, **options):
            self()
            replace(source, target, **options)
            self()

        def iterated(loader):
            for batch in iterate(loader):
                self()
                yield batch

        setattr(os, "replace", replaced)
        setattr(BatchLoader, "__iter__", iterated)


def run(folder, **options):
    """Three candidates, of which one goes on to the end."""
    given = {"trainer": {"max_epochs": 4, "accelerator": "cpu"}, "candidates": candidates(), "fits": 2.2}
    return tune(retrieval_model, ClusteredData(), 5, folder=folder, **{**given, **options})


def weights(result):
    """Return the trained weights of the first winner."""
    return result.model().state_dict()


if __name__ == "__main__":
    moments = Moments(int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL))
    moments.watch(setattr)
    run(Path(sys.argv[1]))
