"""The manifest of a folder: its kind, its format version and the checksums of its files."""

import hashlib
import json

import pytest

from croloss_serving.common.manifest import MANIFEST, Format
from croloss_serving.errors import PretrainedError

FORMAT = Format("some format", 2, "a box of things", ("about",))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "one.txt").write_bytes(b"one")
    (tmp_path / "two.txt").write_bytes(b"two")
    FORMAT.write(tmp_path, {"about": {"title": "Ünïcode"}}, ["one.txt", "two.txt"])
    return tmp_path


def refused(folder, message, **arguments):
    with pytest.raises(PretrainedError, match=message) as caught:
        FORMAT.read(folder, **arguments)
    assert "\n" not in str(caught.value)


def rewrite(folder, **changes):
    """Change a manifest, and its own checksum with it."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    manifest = {name: value for name, value in {**manifest, **changes}.items() if name != "sha256"}
    manifest["sha256"] = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")


def test_there_and_back(folder):
    found = FORMAT.read(folder)
    assert (found["format"], found["format_version"]) == ("some format", 2)
    assert found["about"] == {"title": "Ünïcode"}
    assert found["files"]["one.txt"] == {"bytes": 3, "sha256": hashlib.sha256(b"one").hexdigest()}
    assert found["files"].keys() == {"one.txt", "two.txt"}


def test_an_earlier_version_is_read(folder):
    rewrite(folder, format_version=1)
    assert FORMAT.read(folder)["format_version"] == 1


@pytest.mark.parametrize("version", [3, 0, -1, "2", "two", 1.0, None])
def test_other_versions_are_refused(folder, version):
    rewrite(folder, format_version=version)
    refused(folder, f"format version {version!r}; this lightning-croloss reads up to 2")


def test_a_folder_of_another_kind(tmp_path, folder):
    rewrite(folder, format="another format")
    refused(folder, "box of things: its manifest.json describes something else")
    (folder / MANIFEST).write_text("[]")
    refused(folder, "box of things: its manifest.json describes something else")
    (folder / MANIFEST).unlink()
    refused(folder, "box of things: it has no manifest.json")
    refused(tmp_path / "nowhere", "box of things: it does not exist")


def test_a_change_of_the_manifest_shows(folder):
    path = folder / MANIFEST
    content = path.read_text("utf-8")
    path.write_text(content.replace("Ünïcode", "Unicode"), "utf-8")
    refused(folder, "manifest.json is damaged or was changed")
    path.write_text(content[:-9], "utf-8")
    refused(folder, "manifest.json is damaged")
    path.write_bytes(b"\xff\xfe")
    refused(folder, "manifest.json is damaged")


@pytest.mark.parametrize("part", ["about", "files"])
def test_a_manifest_that_lacks_a_section(folder, part):
    rewrite(folder, **{part: "text"})
    refused(folder, "manifest.json is incomplete")


def test_a_change_of_a_file_shows(folder):
    (folder / "two.txt").write_bytes(b"twi")
    refused(folder, "two.txt is damaged or was changed .its checksum differs")
    (folder / "two.txt").write_bytes(b"tw")
    refused(folder, "two.txt has 2 bytes instead of 3")
    (folder / "two.txt").unlink()
    refused(folder, "lacks the file two.txt")


def test_only_the_named_files_are_checked(folder):
    (folder / "two.txt").write_bytes(b"corrected by hand")
    assert FORMAT.read(folder, check=["one.txt"]) == FORMAT.read(folder, check=())
    refused(folder, "two.txt has", check=["two.txt"])
    (folder / "three.txt").write_bytes(b"three")
    refused(folder, "three.txt has 5 bytes instead of None", check=["three.txt"])
