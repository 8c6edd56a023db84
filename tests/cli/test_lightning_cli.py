"""The commands of Lightning's trainer, end to end on ml-100k."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import torch
import yaml

from lightning_croloss.cli import main
from tests.cli.cases import CONFIG, QUICK, error_of, in_process

pytest.importorskip("recbole", reason="the command line is tested on the dataset that RecBole bundles")


pytestmark = pytest.mark.filterwarnings(
    "ignore:LightningCLI's args parameter",
    "ignore:.*smaller than the logging interval",
    "ignore:.*was deprecated in v4.49",
)


class TestRuns:
    @pytest.mark.slow
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
        main(
            ["test", "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints/best.ckpt")]
        )
        assert json.loads(Path("runs/croloss/version_1/test_results.json").read_text()) == results

    @pytest.mark.slow
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
        assert values["croloss/n"][-1] == 150.0
        assert len(values["val/recall@50"]) == 2

    @pytest.mark.parametrize(
        "name",
        [
            "youtube_dnn_lambda",
            "youtube_dnn_softmax",
            "two_tower",
            "two_tower_interactions",
            "mind",
            "gru4rec",
            "sasrec",
            "esasrec",
            "hstu",
            "bert4rec",
            "bsarec",
            "caser",
            "comirec_sa",
            "comirec_dr",
            "matrix_factorization",
            "lightgcn",
            "ngcf",
        ],
    )
    @pytest.mark.slow
    def test_the_other_configs_run(self, name: str) -> None:
        config = CONFIG.with_name(f"{name}.yaml")
        short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=5"]
        main(["fit", "--config", str(config), *QUICK, *short])
        results = json.loads(Path("runs/croloss/version_0/test_results.json").read_text())
        assert results["recall"]["200"] > 0.1

    def test_validate_prints_the_table(self, capfd: pytest.CaptureFixture[str]) -> None:
        weights = "--pretrained=ml-100k/gru4rec"
        config = str(CONFIG.with_name("gru4rec.yaml"))
        main(["validate", "--config", config, weights, "--trainer.enable_progress_bar=false"])
        printed = capfd.readouterr()
        assert "val metrics" in printed.out + printed.err

    @pytest.mark.slow
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

    @pytest.mark.slow
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
        main([*arguments, "--trainer.logger.init_args.name=whole"])
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
        main([*arguments, "--ckpt_path", str(checkpoints / "step=39.ckpt")])
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

    @pytest.mark.slow
    def test_ctrl_c_says_how_to_go_on(self, capfd: pytest.CaptureFixture[str]) -> None:
        run = ["fit", "--config", str(CONFIG), *QUICK, "--test_after_fit=false"]
        interrupting = [
            "--trainer.callbacks+=tests.killer.InterruptAt",
            "--trainer.callbacks.step=5",
            "--trainer.callbacks.epoch=1",
        ]
        with pytest.raises(SystemExit) as caught:
            main([*run, *interrupting])
        assert caught.value.code == 130
        last = "runs/croloss/version_0/checkpoints/last.ckpt"
        config = "runs/croloss/version_0/config.yaml"
        command = f"croloss fit --config {config} --ckpt_path {last}"
        assert f"croloss: interrupted; go on with: {command}\n" in capfd.readouterr().err
        main([*run, "--ckpt_path", last])
        assert torch.load(last, weights_only=True)["global_step"] == 60

    @pytest.mark.slow
    def test_an_overridden_field_of_a_checkpoint_is_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        run = ["fit", "--config", str(CONFIG), *QUICK, "--test_after_fit=false"]
        main([*run, "--trainer.max_epochs=1"])
        last = "runs/croloss/version_0/checkpoints/last.ckpt"
        temperature = "--model.init_args.loss.init_args.temperature=0.3"
        assert error_of(capsys, *run, "--ckpt_path", last, temperature).startswith(
            f"model.loss.temperature was given as 0.3, but --ckpt_path {last} was trained with 0.05: leave "
            "it out or give the same, or start a new run from its weights with --pretrained"
        )
