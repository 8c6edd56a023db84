"""What the Hub's client raises, in a sentence that says what to do; no network is used."""

from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from lightning_croloss import list_pretrained, load_pretrained, push_to_hub, save_pretrained
from lightning_croloss.cli.errors import meant_for_user, root_cause
from lightning_croloss.errors import PretrainedError
from tests.data_for_tests import ClusteredData, fit, small_model

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the Hub's own client is needed")


def kind(name, *bases, **attributes):
    """Return an error as a client might define it."""
    return type(name, bases or (Exception,), attributes)("Got: ConnectError: \nand many\nmore lines")


def answer(status, name="HfHubHTTPError"):
    return kind(name, OSError, response=SimpleNamespace(status_code=status))


def chained(error, cause):
    error.__cause__ = cause
    return error


FAILURES = [
    (
        kind("LocalEntryNotFoundError", FileNotFoundError),
        "the Hub cannot be reached, and it is not in the cache",
    ),
    (
        kind("OfflineModeIsEnabled", ConnectionError),
        "neither HF_HUB_OFFLINE nor HF_ENDPOINT stands in the way",
    ),
    (kind("ConnectError", kind("NetworkError").__class__), "the Hub cannot be reached"),
    (kind("ProxyError"), "the Hub cannot be reached"),
    (
        kind("ReadTimeout", kind("TimeoutException").__class__),
        "took too long .* larger HF_HUB_DOWNLOAD_TIMEOUT",
    ),
    (TimeoutError("timed out"), "took too long"),
    (chained(kind("LocalEntryNotFoundError", OSError), TimeoutError()), "took too long"),
    (answer(401), "there is no such repository, or it is private: check the name 'me/models', or log in"),
    (answer(404, "RepositoryNotFoundError"), "no such repository, or it is private.*hf auth login.*HF_TOKEN"),
    (
        answer(403, "GatedRepoError"),
        "access on request: ask at https://huggingface.co/me/models, then log in",
    ),
    (answer(404, "RevisionNotFoundError"), "it has no revision 'v9': name a branch, a tag or a whole commit"),
    (answer(403), "you have no permission"),
    (answer(429), "refuses so many requests: wait"),
    (answer(503), r"an error of its own \(503\): try again later"),
    (OSError(errno.ENOSPC, "No space left on device"), "no space is left in the cache .* set HF_HOME"),
    (chained(OSError("x"), OSError(errno.EDQUOT, "quota")), "no space is left in the cache"),
    (
        PermissionError(errno.EACCES, "denied", "/the/cache"),
        "/the/cache cannot be written: set HF_HOME to a folder",
    ),
    (kind("CorruptedCacheException"), "the cache .* is damaged: remove the repository's folder in it"),
    (NotADirectoryError(errno.ENOTDIR, "no"), "the cache .* is damaged"),
    (kind("LocalTokenNotFoundError", OSError), "no token was found: log in"),
    (kind("HFValidationError", ValueError), "Got: ConnectError:"),
    (RuntimeError(), "RuntimeError"),
]


@pytest.mark.parametrize(("error", "said"), FAILURES, ids=range(len(FAILURES)))
@pytest.mark.parametrize("read", [load_pretrained, list_pretrained])
def test_reading(monkeypatch, read, error, said):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    address = "hf://me/models@v9"
    with pytest.raises(
        PretrainedError, match=f"^{address} cannot be read from the Hub or its cache: .*{said}"
    ) as caught:
        read(address)
    assert "\n" not in str(caught.value)
    # and what the command line makes of it
    assert root_cause(caught.value) is caught.value
    assert meant_for_user(caught.value)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = small_model()
    fit(model, ClusteredData(), limit_train_batches=1)
    return save_pretrained(model, tmp_path_factory.mktemp("zoo") / "dnn")


@pytest.mark.parametrize("step", ["create_repo", "upload_folder"])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (kind("ConnectError"), "the Hub cannot be reached: check the connection"),
        (answer(401), "no such repository, or it is private"),
        (answer(403), "no permission to write there: log in .* with a token that may"),
        (answer(500), "an error of its own"),
        (kind("LocalTokenNotFoundError", OSError), "no token was found: log in"),
    ],
    ids=range(5),
)
def test_writing(monkeypatch, saved, step, error, said):
    def fail(*args, **kwargs):
        raise error

    for name in ("create_repo", "upload_folder"):
        monkeypatch.setattr(huggingface_hub, name, fail if name == step else lambda *args, **kwargs: None)
    with pytest.raises(PretrainedError, match=f"^hf://me/models cannot be written: .*{said}"):
        push_to_hub(saved, "hf://me/models")


def test_an_interrupt_is_none_of_these(monkeypatch):
    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(KeyboardInterrupt):
        load_pretrained("hf://me/models")
