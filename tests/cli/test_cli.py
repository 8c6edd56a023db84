"""The command line, end to end on ml-100k."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from lightning_croloss import RecBoleDataModule
from lightning_croloss.cli import main

pytest.importorskip("recbole", reason="the command line is tested on the dataset that RecBole bundles")

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "ml-100k" / "youtube_dnn.yaml"
QUICK = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=30", "--trainer.enable_progress_bar=false"]


pytestmark = pytest.mark.filterwarnings(
    "ignore:LightningCLI's args parameter",
    "ignore:.*smaller than the logging interval",
    "ignore:.*was deprecated in v4.49",
)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def in_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "lightning_croloss", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail and return what it says after ``croloss: error:``."""
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    assert exit_info.value.code != 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("croloss: error: ")]
    assert len(lines) == 1
    return lines[0].removeprefix("croloss: error: ")


class TestRuns:
    def test_fit_ends_with_a_table_a_checkpoint_and_a_plot(self) -> None:
        done = in_process("fit", "--config", str(CONFIG), *QUICK)
        assert done.returncode == 0, done.stderr
        printed = done.stdout + done.stderr
        table = printed[printed.index("test metrics") :].splitlines()
        assert table[0].split() == ["test", "metrics", "@10", "@20", "@50", "@100", "@200", "@500"]
        run = Path("runs/croloss/version_0")
        results = json.loads((run / "test_results.json").read_text())
        shown = {line.split()[0]: line.split()[1:] for line in table[2:6]}
        assert set(shown) == {"recall", "hit_rate", "ndcg", "mrr"}
        for metric, cells in shown.items():
            assert cells == [f"{value:.4f}" for value in results[metric].values()]
        assert 0.1 < results["recall"]["200"] < results["recall"]["500"] < 1.0
        assert (run / "test_recall_at_n.png").read_bytes().startswith(b"\x89PNG")
        assert "checkpoint: runs/croloss/version_0/checkpoints/best.ckpt" in printed
        kept = yaml.safe_load((run / "config.yaml").read_text())
        assert kept["model"]["init_args"]["loss"]["class_path"].endswith("CROLoss")

        # the same figures again from the checkpoint alone, and from the config that was kept
        again = in_process(
            "test", "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints/best.ckpt")
        )
        assert again.returncode == 0, again.stderr
        assert json.loads(Path("runs/croloss/version_1/test_results.json").read_text()) == results

    def test_the_schedule_and_the_soft_rank_are_logged(self) -> None:
        main(
            [
                "fit",
                "--config",
                str(CONFIG),
                *QUICK,
                "--trainer.log_every_n_steps=10",
                "--test_after_fit=false",
            ]
        )
        rows = Path("runs/croloss/version_0/metrics.csv").read_text().splitlines()
        columns = rows[0].split(",")
        values = {
            name: [
                float(row.split(",")[columns.index(name)])
                for row in rows[1:]
                if row.split(",")[columns.index(name)]
            ]
            for name in ("train/loss", "train/soft_rank", "croloss/n", "val/recall@50")
        }
        assert len(values["train/loss"]) == len(values["train/soft_rank"]) == len(values["croloss/n"]) == 6
        assert values["croloss/n"] == sorted(values["croloss/n"], reverse=True)
        assert values["croloss/n"][-1] == 50.0
        assert len(values["val/recall@50"]) == 2

    @pytest.mark.parametrize(
        "name",
        [
            "youtube_dnn_lambda",
            "youtube_dnn_softmax",
            "two_tower",
            "mind",
            "gru4rec",
            "sasrec",
            "comirec_sa",
            "comirec_dr",
            "matrix_factorization",
        ],
    )
    def test_the_other_configs_run(self, name: str) -> None:
        config = CONFIG.with_name(f"{name}.yaml")
        main(["fit", "--config", str(config), *QUICK, "--trainer.max_epochs=1"])
        results = json.loads(Path("runs/croloss/version_0/test_results.json").read_text())
        assert results["recall"]["200"] > 0.1

    def test_validate_prints_the_table(self, capfd: pytest.CaptureFixture[str]) -> None:
        main(["validate", "--config", str(CONFIG), "--trainer.enable_progress_bar=false"])
        printed = capfd.readouterr()
        assert "val metrics" in printed.out + printed.err

    def test_fast_dev_run(self) -> None:
        main(
            [
                "fit",
                "--config",
                str(CONFIG),
                "--trainer.fast_dev_run=1",
                "--trainer.enable_progress_bar=false",
            ]
        )

    def test_a_run_killed_in_the_middle_of_an_epoch_resumes_exactly(self, tmp_path: Path) -> None:
        arguments = [
            "fit",
            f"--config={CONFIG}",
            *QUICK,
            "--test_after_fit=false",
            "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint",
            "--trainer.callbacks.every_n_train_steps=13",
            "--trainer.callbacks.save_top_k=-1",
            "--trainer.callbacks.filename={step}",
        ]
        whole = in_process(*arguments, "--trainer.logger.init_args.name=whole")
        assert whole.returncode == 0, whole.stderr
        killed = in_process(
            *arguments,
            "--trainer.callbacks+=tests.killer.KillAt",
            "--trainer.callbacks.step=44",
            "--trainer.logger.init_args.name=killed",
        )
        assert killed.returncode == -signal.SIGKILL
        checkpoints = Path("runs/killed/version_0/checkpoints")
        assert sorted(path.name for path in checkpoints.glob("step=*")) == [
            "step=13.ckpt",
            "step=26.ckpt",
            "step=39.ckpt",
        ]
        resumed = in_process(*arguments, "--ckpt_path", str(checkpoints / "step=39.ckpt"))
        assert resumed.returncode == 0, resumed.stderr
        ends = [
            torch.load(folder / "last.ckpt", weights_only=True)
            for folder in (Path("runs/whole/version_0/checkpoints"), checkpoints)
        ]
        assert ends[0]["global_step"] == ends[1]["global_step"] == 60
        for name, value in ends[0]["state_dict"].items():
            assert torch.equal(value, ends[1]["state_dict"][name]), name
        states = [end["optimizer_states"][0]["state"] for end in ends]
        for index, state in states[0].items():
            for name, value in state.items():
                assert torch.equal(value, states[1][index][name]), (index, name)
        scores = [
            {
                key: state["best_model_score"]
                for key, state in end["callbacks"].items()
                if "best_model_score" in state
            }
            for end in ends
        ]
        assert scores[0] == scores[1]

    def test_ctrl_c_says_how_to_go_on(self, capfd: pytest.CaptureFixture[str]) -> None:
        run = ["fit", "--config", str(CONFIG), *QUICK, "--test_after_fit=false"]
        interrupting = [
            "--trainer.callbacks+=tests.killer.InterruptAt",
            "--trainer.callbacks.step=5",
            "--trainer.callbacks.epoch=1",
        ]
        with pytest.raises(SystemExit) as caught:
            main([*run, *interrupting])
        assert caught.value.code
        last = "runs/croloss/version_0/checkpoints/last.ckpt"
        assert f"croloss: interrupted; go on with: --ckpt_path {last}" in capfd.readouterr().err
        main([*run, "--ckpt_path", last])
        assert torch.load(last, weights_only=True)["global_step"] == 60

    def test_an_overridden_field_of_a_checkpoint_is_reported(self, capfd: pytest.CaptureFixture[str]) -> None:
        run = ["fit", "--config", str(CONFIG), *QUICK, "--test_after_fit=false"]
        main([*run, "--trainer.max_epochs=1"])
        last = "runs/croloss/version_0/checkpoints/last.ckpt"
        main([*run, "--ckpt_path", last, "--model.init_args.loss.init_args.temperature=0.3"])
        printed = capfd.readouterr()
        assert (
            "--ckpt_path sets model.init_args.loss.init_args.temperature to the checkpoint's 0.05 "
            "(the config says 0.3)" in printed.out + printed.err
        )


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--model.init_args.loss.class_path=SoftmaxLos"], "did you mean 'SoftmaxLoss'?"),
            (["--model=YouTubeDN"], "did you mean 'YouTubeDNN'?"),
            (["--model.init_args.embeding_dim=3"], "did you mean 'embedding_dim'?"),
            (["--model.init_args.embedding_dim=abc"], "embedding_dim: must be of type int, got 'abc'"),
            (["--trainer.max_epochs=x"], "trainer.max_epochs: must be of type int, got 'x'"),
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
                "there is no field 'init_arg'; did you mean 'init_args'?",
            ),
            (
                "model: {init_args: {loss: {class_path: CROLoss, init_arg: {temperature: 1}}}}",
                "there is no field 'init_arg'; did you mean 'init_args'?",
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
                "there is no field 'monitr'; did you mean 'monitor'?",
            ),
            (
                "trainer: {callbacks: {class_path: CROLossCallback, init_args: {n: {class_path: Geometrc}}}}",
                "n: unknown class 'Geometrc'; did you mean 'Geometric'?",
            ),
            (
                "model: {init_args: {optimizer: {class_path: torch.optim.Adan}}}",
                "optimizer: unknown class 'Adan'; did you mean 'Adam'?",
            ),
            (
                "model: {init_args: {optimizer: {class_path: torch.optim.SGD, init_args: {momentun: 1}}}}",
                "there is no field 'momentun'; did you mean 'momentum'?",
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
                "split: unknown class 'Fancy'; known: ",
            ),
            ("trainer: {callbacks: {class_path: Fancy}}", "trainer.callbacks: unknown class 'Fancy'"),
            ("trainer: [", "a config file is not valid YAML: while parsing a flow node"),
            (
                "# nothing",
                "a config file is empty, or does not consist of fields such as 'trainer:' and 'model:'",
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
        assert said.startswith(f"ckpt_path: '{name}' is known only within a run: give the file")

    @pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
    def test_a_damaged_checkpoint(self, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
        Path("model.ckpt").write_bytes(content)
        said = error_of(capsys, "test", "--config", str(CONFIG), "--ckpt_path=model.ckpt")
        assert said.startswith("ckpt_path: 'model.ckpt' is not a checkpoint of plain types, or is damaged")

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


def test_the_package_alone_imports_no_torch() -> None:
    code = (
        "import sys, lightning_croloss; print(sorted({'torch', 'lightning'} & set(sys.modules))); "
        "from lightning_croloss import *; print(lightning_croloss.losses.CROLoss is CROLoss); "
        "print(hasattr(lightning_croloss, 'CROLos'), 'MIND' in dir(lightning_croloss))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["[]", "True", "False True"]


def test_import_is_light() -> None:
    code = (
        "import sys, lightning.pytorch.cli; before = set(sys.modules); import lightning_croloss.public; "
        "heavy = {'recbole', 'pandas', 'wandb', 'matplotlib', 'polars', 'faiss'}; "
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
