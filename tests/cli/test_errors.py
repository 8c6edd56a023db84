"""Mistakes of the user's: one sentence that names what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lightning_croloss import RecBoleDataModule
from lightning_croloss.cli import main
from tests.cli.cases import CONFIG, QUICK, error_of

pytest.importorskip("recbole", reason="the command line is tested on the dataset that RecBole bundles")


pytestmark = pytest.mark.filterwarnings(
    "ignore:LightningCLI's args parameter",
    "ignore:.*smaller than the logging interval",
    "ignore:.*was deprecated in v4.49",
)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--model.init_args.loss.class_path=SoftmaxLos"], "did you mean 'SoftmaxLoss'?"),
            (["--model=YouTubeDN"], "did you mean 'YouTubeDNN'?"),
            (["--model.init_args.embeding_dim=3"], "did you mean 'embedding_dim'?"),
            (
                ["--model.init_args.embedding_dim=abc"],
                "model.init_args.embedding_dim: must be a whole number, got 'abc'",
            ),
            (["--trainer.max_epochs=x"], "trainer.max_epochs: must be a whole number or null, got 'x'"),
            (
                ["--model.init_args.loss.init_args.temperature=0"],
                "temperature must be a positive number, got 0.0",
            ),
            (["--model.init_args.loss.init_args.kernel=sigmod"], "did you mean 'sigmoid'?"),
            (["--model.init_args.loss.init_args.lambda_weight=0.5"], "lambda_weight > 0 does nothing"),
            (
                ["--model.init_args.loss.init_args.importance.init_args.n=0.5"],
                "n must be a number of at least 1",
            ),
            (["--model.init_args.loss.init_args.importance.init_args.n=1683"], "n must be at most"),
            (["--model.init_args.ns=[10,5000]"], "the catalogue has only 1682 items"),
            (["--data.init_args.dataset=ml-10k"], "'ml-10k'"),
            (["--data.init_args.config={load_col: {inter: [user_id, item]}}"], "item"),
            (["--data.init_args.config={val_interval: {rating: '[9,10]'}}"], "val_interval"),
            (["--trainer.callbacks+=CROLossCallback", "--trainer.callbacks.alpha=1"], "'alpha'"),
            (
                ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/recall@51"],
                "val/recall@51",
            ),
            (["--ckpt_path=missing.ckpt"], "missing.ckpt"),
        ],
    )
    def test_one_sentence_that_names_what_is_wrong(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
    ) -> None:
        assert said in error_of(capsys, "fit", "--config", str(CONFIG), *QUICK, *arguments)

    def test_the_name_of_another_class_field_is_not_its_own_advice(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        field = "--model.init_args.loss.init_args.margin=1"  # which TripletLoss has
        said = error_of(capsys, "fit", "--config", str(CONFIG), *QUICK, field)
        assert said.startswith("model.init_args.loss: there is no field 'margin'")
        assert said.endswith("but TripletLoss has one")
        assert "mean 'margin'" not in said

    @pytest.mark.parametrize(
        ("overlay", "said"),
        [
            (
                "trainer: {logger: {class_path: lightning.pytorch.loggers.WandbLoger, init_args: {name: x}}}",
                "trainer.logger: unknown class 'WandbLoger'; did you mean 'WandbLogger'?",
            ),
            (
                "trainer: {logger: {class_path: CSVLoger}}",
                "trainer.logger: unknown class 'CSVLoger'; did you mean 'CSVLogger'?",
            ),
            (
                "trainer: {logger: {class_path: CSVLogger, init_arg: {save_dir: x}}}",
                "trainer.logger: there is no field 'init_arg'; did you mean 'init_args'?",
            ),
            (
                "model: {init_args: {loss: {class_path: CROLoss, init_arg: {temperature: 1}}}}",
                "model.init_args.loss: there is no field 'init_arg'; did you mean 'init_args'?",
            ),
            (
                "trainer: {callbacks: [{class_path: CROLosCallback, init_args: {n: 5}}]}",
                "trainer.callbacks: unknown class 'CROLosCallback'; did you mean 'CROLossCallback'?",
            ),
            (
                "trainer: {callbacks: [{class_path: lightning.pytorch.callbacks.EarlyStoping}]}",
                "trainer.callbacks: unknown class 'EarlyStoping'; did you mean 'EarlyStopping'?",
            ),
            (
                "trainer: {callbacks: [{class_path: EarlyStopping, init_args: {monitr: x}}]}",
                "trainer.callbacks: there is no field 'monitr'; did you mean 'monitor'?",
            ),
            (
                "trainer: {callbacks: {class_path: CROLossCallback, init_args: {n: {class_path: Geometrc}}}}",
                "trainer.callbacks.init_args.n: unknown class 'Geometrc'; did you mean 'Geometric'?",
            ),
            (
                "model: {init_args: {optimizer: {class_path: torch.optim.Adan}}}",
                "model.init_args.optimizer: unknown class 'Adan'; did you mean 'Adam'?",
            ),
            (
                "model: {init_args: {optimizer: {class_path: torch.optim.SGD, init_args: {momentun: 1}}}}",
                "model.init_args.optimizer: there is no field 'momentun'; did you mean 'momentum'?",
            ),
            ("trainer: {loger: true}", "trainer: there is no field 'loger'; did you mean 'logger'?"),
            (
                "trainer: {precision: 17}",
                "trainer.precision: must be one of 64, 32, 16, transformer-engine, "
                "transformer-engine-float16, 16-true, 16-mixed, bf16-true, bf16-mixed, 32-true, 64-true, "
                "bf16; got '17'",
            ),
            (
                "data: {init_args: {split: {class_path: Fancy}}}",
                "data.init_args.split: unknown class 'Fancy'; known: ",
            ),
            ("trainer: {callbacks: {class_path: Fancy}}", "trainer.callbacks: unknown class 'Fancy'"),
            ("trainer: [", "overlay.yaml is not valid YAML: the bracket [ or { of line 1 is not closed"),
            (
                "# nothing",
                "overlay.yaml is empty: it must consist of fields such as 'data:', 'model:' and 'trainer:'",
            ),
        ],
    )
    def test_a_slip_in_an_overlay_names_what_was_meant(
        self, capsys: pytest.CaptureFixture[str], overlay: str, said: str
    ) -> None:
        Path("overlay.yaml").write_text(overlay)
        found = error_of(capsys, "fit", "--config", str(CONFIG), *QUICK, "--config=overlay.yaml")
        assert found.startswith(said)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (
                ["--trainer.max_epochs=1"],
                "no data and model given: name a config file with --config, or give --data and --model",
            ),
            ([str(CONFIG)], f"unexpected argument '{CONFIG}'; did you mean --config {CONFIG}?"),
            (["--config", str(CONFIG), "1"], "unexpected argument '1'; fields are set by --name=value"),
            (
                ["--config", str(CONFIG), "--max_epochs=1"],
                "there is no field 'max_epochs'; did you mean 'trainer.max_epochs'?",
            ),
            (
                ["--config", str(CONFIG), "--trainer.loger=CSVLogger"],
                "trainer: there is no field 'loger'; did you mean 'logger'?",
            ),
            (
                ["--config", str(CONFIG), "--chkpt_path=x"],
                "there is no field 'chkpt_path'; did you mean 'ckpt_path'?",
            ),
            (
                ["--config", str(CONFIG), "--trainer.logger=CSVLoger"],
                "trainer.logger: unknown class 'CSVLoger'; did you mean 'CSVLogger'?",
            ),
        ],
    )
    def test_first_attempts(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
    ) -> None:
        assert error_of(capsys, "fit", *arguments) == said

    @pytest.mark.parametrize("command", ["validate", "test", "predict"])
    @pytest.mark.parametrize("name", ["best", "last"])
    def test_a_checkpoint_of_no_run(
        self, capsys: pytest.CaptureFixture[str], command: str, name: str
    ) -> None:
        said = error_of(capsys, command, "--config", str(CONFIG), f"--ckpt_path={name}")
        why = {"best": "is known only within a run", "last": "checkpoint, as no earlier run has kept"}[name]
        assert said.startswith("ckpt_path: ")
        assert f"'{name}' {why}" in said

    @pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
    def test_a_damaged_checkpoint(self, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
        Path("model.ckpt").write_bytes(content)
        said = error_of(capsys, "test", "--config", str(CONFIG), "--ckpt_path=model.ckpt")
        assert said.startswith("ckpt_path: 'model.ckpt' is not a checkpoint of plain types, or is damaged")

    def test_a_checkpoint_that_names_a_class_of_a_stranger(self, capsys: pytest.CaptureFixture[str]) -> None:
        model = {"_class_path": "stranger.Model", "num_items": 3}
        torch.save({"hyper_parameters": model, "state_dict": {}}, "model.ckpt")
        said = error_of(capsys, "test", "--config", str(CONFIG), "--ckpt_path=model.ckpt")
        assert said.startswith(
            "model.ckpt names the class 'stranger.Model', which is neither in this package"
        )
        assert "if you trust it: name 'stranger.Model' in a config, which imports it" in said
        assert "allow=" not in said

    def test_ctrl_c_before_training(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(data: RecBoleDataModule) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(RecBoleDataModule, "load", interrupted)
        with pytest.raises(SystemExit) as caught:
            main(["fit", "--config", str(CONFIG), *QUICK])
        assert caught.value.code == 130
        assert capsys.readouterr().err.splitlines()[-1] == "croloss: interrupted"

    def test_missing_config(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "nowhere.yaml" in error_of(capsys, "fit", "--config", "nowhere.yaml")

    def test_unknown_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "'fitt'" in error_of(capsys, "fitt")

    @pytest.mark.slow
    def test_a_checkpoint_of_another_catalogue(self, capsys: pytest.CaptureFixture[str]) -> None:
        run = ["--config", str(CONFIG), *QUICK]
        main(["fit", *run, "--trainer.max_epochs=1", "--test_after_fit=false"])
        said = error_of(
            capsys,
            "test",
            *run[:2],
            "--data.init_args.config={item_inter_num_interval: '[5,inf)'}",
            "--ckpt_path=runs/croloss/version_0/checkpoints/last.ckpt",
        )
        assert "another catalogue (1682 items)" in said
