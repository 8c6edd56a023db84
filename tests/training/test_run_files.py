"""Paths that a checkpoint names count within the folders of its own run."""

import os

import pytest
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from lightning_croloss.training.run_files import folder_of_run, name_in_run, run_file, without_paths


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder of a run beside files of others, and links from the one to the other."""
    folder = tmp_path / "run"
    (folder / "deeper").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    for name in ("run/best.ckpt", "run/deeper/in.ckpt", "run/notes.txt", "other/theirs.ckpt", "home.ckpt"):
        (tmp_path / name).touch()
    (folder / "link.ckpt").symlink_to("best.ckpt")
    (folder / "out.ckpt").symlink_to(tmp_path / "other" / "theirs.ckpt")
    (folder / "away").symlink_to(tmp_path / "other")
    (folder / "loop.ckpt").symlink_to("loop.ckpt")
    (folder / "gone.ckpt").symlink_to("nowhere.ckpt")
    (folder / "folder.ckpt").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


OUTSIDE = [
    "../other/theirs.ckpt",
    "./../other/theirs.ckpt",
    "deeper/../../other/theirs.ckpt",
    "out.ckpt",
    "away/theirs.ckpt",
    "loop.ckpt",
    "gone.ckpt",
    "folder.ckpt",
    "~/home.ckpt",
    "file:home.ckpt",
    "best.ckpt\0",
    "\0.ckpt",
    "notes.txt",
    "",
    ".",
    "..",
    "/",
    ".ckpt",
    "a" * 5000 + ".ckpt",
    "s3://bucket/best.ckpt",
    None,
    5,
    True,
    b"best.ckpt",
    ["best.ckpt"],
    {"best.ckpt": 1},
]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: repr(path)[:30])
def test_what_lies_elsewhere_is_not_of_the_run(run, path):
    assert run_file(path, str(run), None, ".ckpt") == ""
    assert run_file(path, ".", str(run), ".ckpt") == ""
    if isinstance(path, str) and path[:1] not in ("/", "~") and "://" not in path and len(path) < 100:
        assert run_file(f"{run}/{path}", str(run), None, ".ckpt") == ""
        assert run_file(f"file://{run}/{path}", str(run), None, ".ckpt") == ""


def test_files_of_the_run_are_spelt_as_its_folder(run, tmp_path):
    assert run_file("best.ckpt", ".", None, ".ckpt") == os.path.join(".", "best.ckpt")
    assert run_file("deeper/../best.ckpt", str(run), None, ".ckpt") == f"{run}/best.ckpt"
    assert run_file(f"{run}/deeper/in.ckpt", str(run), None, ".ckpt") == f"{run}/deeper/in.ckpt"
    assert run_file("link.ckpt", str(run), None, ".ckpt") == f"{run}/link.ckpt"
    assert run_file("../other/theirs.ckpt", str(run), str(tmp_path / "other"), ".ckpt") == (
        f"{tmp_path}/other/theirs.ckpt"
    )
    (tmp_path / "way").symlink_to(run)
    assert (
        run_file(f"{run}/best.ckpt", str(run), str(tmp_path / "way"), ".ckpt") == f"{tmp_path}/way/best.ckpt"
    )


def test_a_run_that_has_moved_keeps_its_files(run, tmp_path):
    for path in ("/old/run/best.ckpt", "../../old/best.ckpt", "file:///old/best.ckpt"):
        found = run_file(path, str(run), str(tmp_path / "next"), ".ckpt")
        assert found == ("" if "://" in path else f"{run}/best.ckpt")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("s3://b/run/best.ckpt", True),
        ("s3://b/run/../best.ckpt", False),
        ("s3://b/run/deeper/best.ckpt", False),
        ("s3://b/best.ckpt", False),
        ("s3://other/run/best.ckpt", False),
        ("zip://x::s3://b/run/best.ckpt", False),
        ("file:///b/run/best.ckpt", False),
        ("/b/run/best.ckpt", False),
    ],
)
def test_a_run_at_an_address(path, found):
    assert run_file(path, "s3://b/run", "s3://b/run/", ".ckpt") == (path if found else "")


def test_texts_that_could_lead_out_are_left_empty():
    state = {
        "path": "/etc/passwd",
        "up": "../x",
        "home": "~/x",
        "url": "s3://b/x",
        "zero": "a\0",
        5: ("\\x", 1),
    }
    assert without_paths(state) == {**dict.fromkeys(("path", "up", "home", "url", "zero"), ""), 5: ("", 1)}
    kept = {"monitor": "val/recall@50", "reason": "no better: stopped", "none": None, "empty": ""}
    assert without_paths(kept) == kept


def named(filename, **options):
    return [EarlyStopping("val/recall@5"), ModelCheckpoint(), ModelCheckpoint(filename=filename, **options)]


PLAIN = {"auto_insert_metric_name": False}


@pytest.mark.parametrize(
    ("filename", "options", "name", "levels"),
    [
        ("{epoch}-{val/recall@5:.4f}", {}, "epoch=3-val/recall@5=0.1234.ckpt", 2),
        ("{epoch}-{val/recall@5:.4f}", {}, "epoch=3-val/recall@5=0.1234-v12.ckpt", 2),
        ("{val/recall@5}", {}, "val/recall@5=1e-05.ckpt", 2),
        ("{val/recall@5}", {}, "val/recall@5=nan.ckpt", 2),
        ("{val/recall@5}-{val/ndcg@5:8.2f}", {}, "val/recall@5=0.1-val/ndcg@5=    0.25.ckpt", 3),
        ("every.step/{step}", {}, "every.step/step=5.ckpt", 2),
        ("{epoch}/{step}", PLAIN, "3/5.ckpt", 2),
        ("{epoch}-{val/recall@5:.4f}", PLAIN, "3-0.1234.ckpt", 1),
        # names that these callbacks do not give
        ("{epoch}-{val/recall@5:.4f}", {}, "epoch=3-val/recall@5=.ckpt", 1),
        ("{epoch}-{val/recall@5:.4f}", {}, "epoch=..-val/recall@5=0.1.ckpt", 1),
        ("{epoch}-{val/recall@5:.4f}", {}, "epoch=3-val/last.ckpt", 1),
        ("{epoch}-{val/recall@5:.4f}", {}, "a/epoch=3-val/recall@5=0.1.ckpt", 2),
        ("every.step/{step}", {}, "everyXstep/step=5.ckpt", 1),
        ("{epoch}/{step}", PLAIN, "../5.ckpt", 1),
        ("{epoch}/{step}", PLAIN, "downloads/evil.ckpt", 1),
        (None, {}, "val/epoch=3-step=5.ckpt", 1),
    ],
)
def test_the_folder_above_those_of_a_file_name(tmp_path, monkeypatch, filename, options, name, levels):
    monkeypatch.chdir(tmp_path)
    callbacks = named(filename, **options)
    for folder in ("s3://bucket/run", str(tmp_path / "run"), "run", "."):
        path = f"{folder}/{name}"
        above = path.rsplit("/", levels)[0]
        assert os.path.normpath(folder_of_run(path, callbacks)) == os.path.normpath(above)
        if levels > 1:
            assert run_file(
                f"s3://b/{name}", f"s3://b/{name}".rsplit("/", levels)[0], None, ".ckpt", callbacks
            )
    (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir((tmp_path / "run" / name).parent)
    inside = folder_of_run(name.rpartition("/")[2], callbacks)
    assert os.path.realpath(inside) == os.path.realpath((tmp_path / "run" / name).parents[levels - 1])
    assert bool(name_in_run(f"/x/{name}", callbacks)) == (levels > 1)


def test_a_file_name_with_folders_leads_nowhere_else(run, tmp_path):
    callbacks = named("{epoch}-{val/recall@5:.4f}")
    name = "epoch=3-val/recall@5=0.1.ckpt"
    for folder in (run, tmp_path / "other"):
        (folder / name).parent.mkdir()
        (folder / name).touch()
    assert run_file(f"/old/{name}", str(run), None, ".ckpt", callbacks) == f"{run}/{name}"
    assert run_file(f"{run}/{name}", str(run), None, ".ckpt", callbacks) == f"{run}/{name}"
    for path in (f"{tmp_path}/other/{name}", f"../other/{name}"):
        assert run_file(path, str(run), None, ".ckpt", callbacks) == f"{run}/{name}"  # its own of that name
    (run / name).unlink()
    for path in (f"{tmp_path}/other/{name}", f"../other/{name}", f"away/{name}"):
        assert run_file(path, str(run), None, ".ckpt", callbacks) == ""
    for address in (f"s3://b/{name}", f"s3://b/run/../{name}", f"zip://x::s3://b/run/{name}"):
        assert run_file(address, "s3://b/run", None, ".ckpt", callbacks) == ""
