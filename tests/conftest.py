"""What every test starts from."""

import logging
import os
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

# Triton asks for it where kernels are defined, its own among them: before anything imports it
if (os.environ.get("CROLOSS_TEST_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")) == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")

#: Cases of a parametrised test that --fast keeps.
FAST_CASES = 1
LIGHTNING_LEVEL = logging.INFO  # which Lightning sets when it is imported

# An example may take as long as the machine needs, which others may be using too.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know ``--fast``, of ``make test-fast``, and ``--fuzz``, of ``make fuzz``."""
    parser.addoption(
        "--fast",
        action="store_true",
        help="only the first case of each test, and none that is marked slow",
    )
    parser.addoption(
        "--fuzz",
        type=int,
        default=1,
        metavar="N",
        help="N times as many damaged files for each reader as a plain run tries",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out with ``--fast`` what takes long; every test that is not slow keeps some of its cases."""
    if not config.getoption("--fast"):
        return
    cases: Counter[str] = Counter()
    kept, left = [], []
    for item in items:
        test = item.nodeid.partition("[")[0]
        cases[test] += 1
        is_fast = cases[test] <= FAST_CASES and not any(
            item.get_closest_marker(mark) for mark in ("slow", "gpu")
        )
        (kept if is_fast else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


@pytest.fixture(autouse=True)
def no_search_for_nan() -> None:
    """Undo what an import of RecBole switches on in the whole process, also where tests are collected."""
    torch.autograd.set_detect_anomaly(False)


@pytest.fixture(scope="session")
def fuzz_budget(request: pytest.FixtureRequest) -> int:
    """Return how many times the usual number of damaged files a fuzz test tries: 1, or what --fuzz says."""
    budget: int = request.config.getoption("--fuzz")
    return budget


@pytest.fixture(autouse=True)
def no_seed_left_by_another_test() -> Iterator[None]:
    """Forget the seed that ``seed_everything``, and so the command line, leaves in the environment."""
    os.environ.pop("PL_GLOBAL_SEED", None)
    yield
    os.environ.pop("PL_GLOBAL_SEED", None)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Let Lightning speak again: benchmarks silence it for the whole process, in fixtures of a module too."""
    logger = logging.getLogger("lightning.pytorch")
    logger.setLevel(LIGHTNING_LEVEL)
    yield
    logger.setLevel(LIGHTNING_LEVEL)
