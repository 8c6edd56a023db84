"""The files of a pretrained model, and damage to them."""

import json

import pytest

from lightning_croloss import load_pretrained
from lightning_croloss.errors import PretrainedError
from lightning_croloss.pretrained.layout import REQUIRED, read_manifest, write_manifest
from tests.pretrained.cases import refused


@pytest.mark.parametrize("name", REQUIRED)
def test_a_file_that_is_cut_off_changed_or_missing(saved, name):
    path = saved / name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    sentence = refused(saved)
    assert f"{name} has {len(content) - 1} bytes instead of {len(content)}" in sentence
    assert "get the folder again" in sentence
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert f"{name} is damaged or was changed (its checksum differs)" in refused(saved)
    path.unlink()
    assert f"lacks the file {name}" in refused(saved)


def test_a_card_may_be_corrected_by_hand(saved):
    (saved / "README.md").write_text("# A better card\n")
    load_pretrained(saved)
    with pytest.raises(PretrainedError, match=r"README\.md has .* bytes instead of"):
        read_manifest(saved, check=("README.md",))


def test_a_manifest_that_was_changed(saved):
    path = saved / "manifest.json"
    text = path.read_text()
    path.write_text(text.replace('"num_items": 40', '"num_items": 41'))
    assert "manifest.json is damaged or was changed" in refused(saved)
    path.write_text(text[:-20])
    assert "manifest.json is damaged" in refused(saved)
    path.write_text(text.replace('"format_version": 1', '"format_version": 2'))
    assert "was saved in format version 2; this lightning-croloss reads up to 1" in refused(saved)
    manifest = json.loads(text)
    write_manifest(saved, {"facts": manifest["facts"]})
    assert "manifest.json is incomplete" in refused(saved)
