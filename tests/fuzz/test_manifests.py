"""Manifests fail closed: what they leave in doubt is refused, for models and exports alike."""

import json

import pytest

from croloss_serving.common.manifest import Format, checked_content
from lightning_croloss.errors import PretrainedError
from tests.fuzz.damage import cases, damaged
from tests.fuzz.folders import make_pipe, manifest_of, sign, soon

FORMAT = Format("some format", 1, "a box of things", ("about",), required=("one.txt", "two.txt"))
USUAL = 150


@pytest.fixture
def box(tmp_path):
    folder = tmp_path / "box"
    folder.mkdir()
    for name in FORMAT.required:
        (folder / name).write_text(f"content of {name}")
    FORMAT.write(folder, {"about": {"a": 1}}, FORMAT.required)
    return folder


def refused(folder):
    """Return the one sentence with which a folder is refused."""
    with soon(), pytest.raises(PretrainedError) as caught:
        FORMAT.read(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../three.txt", "/etc/hostname", "sub/three.txt", "a\\b", "c:three", "a\0b"]
)
def test_a_listed_name_is_a_file_of_the_folder(box, name):
    (box.parent / "three.txt").write_text("outside")
    manifest = manifest_of(box)
    manifest["files"][name] = manifest["files"]["one.txt"]
    sign(box, manifest)
    assert f"lists {name!r}, which is not the name of a file in its folder" in refused(box)


@pytest.mark.parametrize(
    "entry",
    [
        *(None, {}, [], "", 5),
        *({"bytes": 18}, {"sha256": "0" * 64}),
        *({"bytes": size, "sha256": "0" * 64} for size in (-1, True, "18", 18.0, None)),
        *(
            {"bytes": 18, "sha256": digest}
            for digest in ("", "0" * 63, "0" * 65, "G" * 64, 0, None, ["0" * 64])
        ),
    ],
)
def test_each_file_has_a_whole_checksum(box, entry):
    manifest = manifest_of(box)
    manifest["files"]["two.txt"] = entry
    sign(box, manifest)
    assert "does not say how many bytes and which SHA-256 'two.txt' has" in refused(box)


def test_every_file_that_is_needed_is_listed(box):
    manifest = manifest_of(box)
    del manifest["files"]["two.txt"]
    sign(box, manifest)
    assert "does not list two.txt, which must be checked" in refused(box)
    sign(box, {**manifest, "files": {}})
    assert "does not list one.txt, which must be checked" in refused(box)


@pytest.mark.parametrize("version", [True, "1", 1.0, 0, -1, 2, None, [1]])
def test_only_versions_that_are_known(box, version):
    sign(box, {**manifest_of(box), "format_version": version})
    assert f"was saved in format version {version!r}" in refused(box)


@pytest.mark.parametrize("change", [{"files": []}, {"about": None}, {"about": [1]}])
def test_sections_are_dictionaries(box, change):
    sign(box, {**manifest_of(box), **change})
    assert "manifest.json is incomplete" in refused(box)


def test_a_name_that_is_given_twice(box):
    text = (box / "manifest.json").read_text()
    (box / "manifest.json").write_text('{"format": "some format", ' + text.lstrip("{"))
    assert "it gives 'format' twice" in refused(box)


@pytest.mark.parametrize("name", ["one.txt", "manifest.json"])
def test_links_lead_to_files_of_the_folder(box, name):
    (box.parent / "outside").write_bytes((box / name).read_bytes())
    (box / name).unlink()
    (box / name).symlink_to(box.parent / "outside")
    assert "is a link to a file outside its folder" in refused(box)
    (box / "inside").write_bytes((box.parent / "outside").read_bytes())
    (box / name).unlink()
    (box / name).symlink_to("inside")
    FORMAT.read(box)


def test_the_cache_of_the_hub_is_made_of_links(box, tmp_path):
    root = tmp_path / "models--owner--name"
    for part in ("blobs", "snapshots/0123/some/folder"):
        (root / part).mkdir(parents=True)
    snapshot = root / "snapshots/0123/some/folder"
    for number, path in enumerate(sorted(box.iterdir())):
        (root / "blobs" / str(number)).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(f"../../../../blobs/{number}")
    assert FORMAT.read(snapshot)["about"] == {"a": 1}
    (root / "secret").write_bytes((snapshot / "one.txt").read_bytes())
    (snapshot / "one.txt").unlink()
    (snapshot / "one.txt").symlink_to("../../../../secret")
    assert "is a link to a file outside its folder" in refused(snapshot)


@pytest.mark.parametrize("name", ["one.txt", "manifest.json"])
def test_pipes_and_folders_are_no_files(box, name):
    make_pipe(box / name)
    refused(box)
    (box / name).unlink()
    (box / name).mkdir()
    refused(box)
    (box / name).rmdir()
    (box / name).symlink_to("/dev/zero")
    refused(box)


def test_the_bytes_that_were_checked_are_read(box):
    manifest = FORMAT.read(box)
    assert checked_content(box, "one.txt", manifest) == b"content of one.txt"
    (box / "one.txt").write_text("content of 0ne.txt")
    with pytest.raises(PretrainedError, match="its checksum differs"):
        checked_content(box, "one.txt", manifest)
    with pytest.raises(PretrainedError, match=r"since manifest\.json does not list it"):
        checked_content(box, "manifest.json", manifest)


def test_a_manifest_that_is_too_large_or_deep(box):
    (box / "manifest.json").write_text("[" * 200_000)
    assert "nested too deeply" in refused(box)
    (box / "manifest.json").write_bytes(b" " * (16 * 2**20 + 1))
    assert "more than the 16,777,216" in refused(box)


def test_damaged_manifests(box, fuzz_budget):
    path = box / "manifest.json"
    whole = path.read_bytes()
    for case in cases("manifest", USUAL, fuzz_budget):
        path.write_bytes(damaged(whole, case.chance))
        with case.only(PretrainedError):
            # spaces between values are no damage
            assert FORMAT.read(box) == json.loads(whole)


def test_damaged_values_of_signed_manifests(box, fuzz_budget):
    whole = manifest_of(box)
    odd = [None, True, -1, 0, 2**70, 1.5, "", "x" * 100, [], [[]], {}, {"a": {"b": None}}]
    for case in cases("signed manifest", USUAL, fuzz_budget):
        manifest = json.loads(json.dumps(whole))
        place = manifest
        for _ in range(case.chance.randint(0, 2)):
            inner = [value for value in place.values() if isinstance(value, dict)]
            place = case.chance.choice(inner) if inner else place
        key = case.chance.choice([*place, "another"])
        if case.chance.random() < 0.2:
            place.pop(key, None)
        else:
            place[key] = case.chance.choice(odd)
        sign(box, manifest)
        with case.only(PretrainedError):
            FORMAT.read(box)
