"""Which classes the config of a pretrained model may name."""

import pytest

from lightning_croloss import YouTubeDNN, load_pretrained, save_pretrained
from tests.data_for_tests import fit, small_model
from tests.pretrained.cases import refused, rewrite_config


class Mine(YouTubeDNN):
    """A model that the package does not know."""


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "subprocess.Popen",
        "tests.pretrained.test_safe_config.Mine",
        "lightning_croloss.cli.run.main",
        3,
        None,
    ],
)
def test_a_foreign_class_is_refused_wherever_it_stands(saved, path, monkeypatch):
    def spy(name, *args):
        raise AssertionError(f"{name} was imported")

    monkeypatch.setattr("lightning_croloss.common.safe_config.import_module", spy)

    def loss(config):
        config["model"]["init_args"]["loss"] = {"class_path": path, "init_args": {"args": "echo"}}

    rewrite_config(saved, loss)
    assert f"names the class {str(path)!r}, which is neither in this package nor allowed" in refused(saved)

    def harmless(config):
        config["model"]["init_args"]["loss"] = None
        config["trainer"] = {"callbacks": [{"class_path": path}]}

    rewrite_config(saved, harmless)
    assert f"names the class {str(path)!r}" in refused(saved)


def test_a_foreign_class_in_a_checkpoint_is_refused(tmp_path):
    model = small_model(Mine)
    fit(model, limit_train_batches=1).save_checkpoint(tmp_path / "mine.ckpt")
    assert "names the class 'tests.pretrained.test_safe_config.Mine'" in refused(tmp_path / "mine.ckpt")
    assert isinstance(load_pretrained(tmp_path / "mine.ckpt", allow=[Mine]), Mine)


def test_a_class_of_ones_own_can_be_allowed(tmp_path):
    model = small_model(Mine)
    fit(model, limit_train_batches=1)
    folder = save_pretrained(model, tmp_path / "mine")
    sentence = refused(folder)
    assert sentence.endswith("if you trust it: allow=['tests.pretrained.test_safe_config.Mine']")
    for allowed in (Mine, "tests.pretrained.test_safe_config.Mine"):
        assert isinstance(load_pretrained(folder, allow=[allowed]), Mine)
    with pytest.raises(
        ValueError, match=r"allow: 'tests\.pretrained\.test_safe_config\.None' is not a class"
    ):
        load_pretrained(folder, allow=["tests.pretrained.test_safe_config.None"])
