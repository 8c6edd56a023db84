"""What several tests of pretrained models need."""

import pytest
import yaml

from lightning_croloss import load_pretrained
from lightning_croloss.errors import PretrainedError
from lightning_croloss.pretrained.layout import read_manifest, write_manifest

HISTORIES = [[1, 2, 3, 4, 5, 6], [11, 12]]


def refused(name, **kwargs):
    """Return the one sentence with which a model is refused."""
    with pytest.raises(PretrainedError) as caught:
        load_pretrained(name, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def vouch_again(folder, **changes):
    """Write the manifest anew, as one who tampers with care would."""
    manifest = read_manifest(folder, check=())
    kept = {name: manifest[name] for name in ("model", "from_data", "facts")}
    write_manifest(folder, {**kept, **changes})


def rewrite_config(folder, change):
    config = yaml.safe_load((folder / "config.yaml").read_text())
    change(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    vouch_again(folder)
