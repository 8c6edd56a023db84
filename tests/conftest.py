"""What every test starts from."""

import logging
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def no_seed_left_by_another_test() -> Iterator[None]:
    """Forget the seed that ``seed_everything``, and so the command line, leaves in the environment."""
    os.environ.pop("PL_GLOBAL_SEED", None)
    yield
    os.environ.pop("PL_GLOBAL_SEED", None)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Benchmarks silence Lightning for the whole process."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    yield
    logger.setLevel(level)
