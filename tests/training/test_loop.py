"""The loop: resume after kill -9, two processes against one, and every way a run can end."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dermdemo.cli import main
from dermdemo.config import PretrainConfig
from dermdemo.data.readable import prepare
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import ConfigError, TrainingError
from dermdemo.models.checkpoint import load_meta, load_vae
from dermdemo.training import loop
from dermdemo.training.events import read_events
from dermdemo.training.pretrain import PretrainTask, vae_warnings
from dermdemo.training.runs import RunRequest, run_pretrain

pytestmark = pytest.mark.slow

SMALL = ["--encoder", "convnext_atto", "--latent", "8", "--device", "cpu"]


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("lesions"), n_lesions=40, seed=3)


def config(**changes: Any) -> PretrainConfig:
    values = {"encoder": "convnext_atto", "latent": 8, "batch_size": 16, "schedule": "32x3", "device": "cpu"}
    return PretrainConfig(**(values | changes))


def command(lesions: Path, out: Path, schedule: str, *extra: str) -> list[str]:
    return [sys.executable, "-m", "dermdemo", "pretrain", str(lesions), *SMALL, "--schedule", schedule,
            "--out", str(out / "run"), "--store", str(out / "store"), *extra]


def environment(**extra: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | extra


def epochs(run: Path) -> list[dict[str, Any]]:
    return [e for e in read_events(run) if e["kind"] == "epoch"]


def kill_after_epoch(args: list[str], run: Path, epoch: int) -> None:
    """Start a run and kill -9 it as soon as the checkpoint of `epoch` is written."""
    process = subprocess.Popen(args, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        path = run / "events.jsonl"
        if path.exists() and '"checkpoint"' in path.read_text() and len(epochs(run)) > epoch:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"


def test_a_killed_run_resumes_to_the_same_weights(lesions: Path, tmp_path: Path) -> None:
    schedule = "32x5,64x1"
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    assert main(command(lesions, whole, schedule)[3:]) == 0
    kill_after_epoch(command(lesions, torn, schedule), torn / "run", 2)
    assert main([*command(lesions, torn, schedule)[3:], "--resume"]) == 0
    a, b = load_vae(whole / "store" / "run"), load_vae(torn / "store" / "run")
    for key, value in a.module.state_dict().items():
        assert torch.equal(value, b.module.state_dict()[key]), key
    assert a.meta.files == b.meta.files
    assert epochs(torn / "run")[-1]["val"] == epochs(whole / "run")[-1]["val"]
    resumed = [e for e in read_events(torn / "run") if e["kind"] == "started"][-1]
    assert resumed["resumed_from"] >= 1


def test_two_processes_agree_with_one(lesions: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    exact = ("--precision", "fp32")  # bf16, where the CPU is fast at it, rounds by what the batch is split into
    assert main(command(lesions, one, "32x2", "--batch-size", "16", *exact)[3:]) == 0
    args = command(lesions, two, "32x2", "--batch-size", "8", *exact)[1:]
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29577",
                    *args, "--devices", "2"], env=environment(), check=True, capture_output=True)
    for first, second in zip(epochs(one / "run"), epochs(two / "run"), strict=True):
        assert second["val"]["loss"] == pytest.approx(first["val"]["loss"], rel=2e-3)
    start_one, start_two = epochs(one / "run")[0]["val"], epochs(two / "run")[0]["val"]
    assert start_two["loss"] == pytest.approx(start_one["loss"], rel=1e-6)
    assert start_two["kl_per_dim"] == pytest.approx(start_one["kl_per_dim"], rel=1e-4)


def request(lesions: Path, out: Path, **changes: Any) -> RunRequest:
    return RunRequest(source=str(lesions), out=out / "run", store=out / "store", **changes)


def test_a_run_leaves_events_grids_and_a_loadable_checkpoint(lesions: Path, tmp_path: Path) -> None:
    folder = run_pretrain(request(lesions, tmp_path), config(grid_every=2))
    kinds = [e["kind"] for e in read_events(tmp_path / "run")]
    assert kinds[0] == "started" and kinds[-1] == "finished"
    assert kinds.count("epoch") == 4 and kinds.count("checkpoint") == 3
    last = epochs(tmp_path / "run")[-1]
    wanted = {"loss", "rec", "kl", "mse", "psnr", "ssim", "kl_per_dim", "active_units"}
    assert wanted <= set(last["val"]) and {"rec", "kl", "mse", "psnr", "ssim"} <= set(last["train"])
    assert len(last["val"]["kl_per_dim"]) == 8
    assert sorted(p.name for p in (tmp_path / "run" / "grids").iterdir()) == ["epoch-0002.png", "epoch-0003.png"]
    meta = load_meta(folder)
    assert meta.spent["epochs"] == 3 and meta.latent == 8 and meta.input.size == 32
    assert (folder / "MODEL_CARD.md").read_text().startswith("# run")


def test_preparing_the_images_is_time_spent(lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, waited = PretrainTask.start_phase, 0.3

    def slow(self: PretrainTask, size: int, *told: Any) -> None:
        time.sleep(waited)
        prepared(self, size, *told)

    monkeypatch.setattr(PretrainTask, "start_phase", slow)
    run_pretrain(request(lesions, tmp_path), config(schedule="32x1,64x1"))
    finished = next(e for e in read_events(tmp_path / "run") if e["kind"] == "finished")
    trained = sum(e["seconds"] for e in epochs(tmp_path / "run") if e["epoch"] > 0)
    assert finished["seconds"] >= trained + 2 * waited


def test_training_lowers_the_reconstruction_error(lesions: Path, tmp_path: Path) -> None:
    run_pretrain(request(lesions, tmp_path), config(schedule="32x8", ae=True))
    records = epochs(tmp_path / "run")
    assert records[-1]["val"]["mse"] < 0.6 * records[0]["val"]["mse"]
    assert records[-1]["beta"] == 0.0


def test_a_second_run_in_the_same_folder_is_refused(lesions: Path, tmp_path: Path) -> None:
    run_pretrain(request(lesions, tmp_path), config(schedule="32x1"))
    with pytest.raises(ConfigError, match="already holds a run"):
        run_pretrain(request(lesions, tmp_path), config(schedule="32x1"))
    with pytest.raises(ConfigError, match="other settings"):
        run_pretrain(request(lesions, tmp_path, resume=True), config(schedule="32x1", lr=1e-4))


def test_a_stop_file_ends_the_run_and_it_can_go_on(lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                   ) -> None:
    def stop(self: PretrainTask, model: Any, epoch: int, folder: Path, record: Any) -> None:
        if epoch == 1:
            (folder / loop.STOP_FILE).touch()

    monkeypatch.setattr(PretrainTask, "after_epoch", stop)
    folder = run_pretrain(request(lesions, tmp_path), config())
    assert load_meta(folder).spent == load_meta(folder).spent | {"epochs": 1, "schedule": "32x1"}
    assert read_events(tmp_path / "run")[-1]["reason"] == "stopped"
    run_pretrain(request(lesions, tmp_path, resume=True), config())
    assert load_meta(folder).spent["epochs"] == 3
    assert read_events(tmp_path / "run")[-1]["reason"] == "completed"


def interrupted(lesions: Path, out: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> TrainingError:
    """Run with `error` raised in the second epoch."""
    original = PretrainTask.training_loss

    def failing(self: PretrainTask, model: Any, batch: torch.Tensor, **where: Any) -> Any:
        if where["epoch"] == 2:
            raise error
        return original(self, model, batch, **where)

    monkeypatch.setattr(PretrainTask, "training_loss", failing)
    with pytest.raises(TrainingError) as caught:
        run_pretrain(request(lesions, out), config())
    return caught.value


def test_ctrl_c_keeps_the_last_checkpoint(lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = interrupted(lesions, tmp_path, monkeypatch, KeyboardInterrupt())
    assert error.reason == "interrupted"
    last = read_events(tmp_path / "run")[-1]
    assert (last["kind"], last["reason"], last["epoch"]) == ("failed", "interrupted", 1)
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert saved["state"]["epoch"] == 1


def test_a_full_disk_is_named(lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = torch.save
    calls: list[int] = []

    def save(payload: Any, path: Path) -> None:
        calls.append(1)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(payload, path)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(TrainingError, match="disk is full") as caught:
        run_pretrain(request(lesions, tmp_path), config())
    assert caught.value.reason == "disk-full"
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["state"]["epoch"] == 1
    assert not list((tmp_path / "run").glob(".*.tmp"))


def test_nan_ends_the_run_before_it_reaches_the_weights(lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                        ) -> None:
    original = PretrainTask.training_loss

    def broken(self: PretrainTask, model: Any, batch: torch.Tensor, **where: Any) -> Any:
        loss, logs = original(self, model, batch, **where)
        return (loss * float("nan") if where["epoch"] == 2 else loss), logs

    monkeypatch.setattr(PretrainTask, "training_loss", broken)
    with pytest.raises(TrainingError, match="not a number") as caught:
        run_pretrain(request(lesions, tmp_path), config())
    assert caught.value.reason == "nan"
    assert read_events(tmp_path / "run")[-1]["reason"] == "nan"
    saved = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"]
    assert all(torch.isfinite(v).all() for v in saved.values())


def test_kl_vanishing_and_divergence_are_named() -> None:
    def epoch(number: int, kl: float, active: int, rec: float) -> dict[str, Any]:
        return {"epoch": number, "size": 64, "val": {"kl": kl, "active_units": active, "rec": rec}}

    dead = vae_warnings([epoch(1, 0.2, 0, -5000)], latent=64, ae=False)
    assert [name for name, _ in dead] == ["kl-vanishing"]
    assert vae_warnings([epoch(1, 0.0, 0, -5000)], latent=64, ae=True) == []
    healthy = [epoch(k, 80, 60, -5000 - k) for k in range(1, 5)]
    assert vae_warnings(healthy, latent=64, ae=False) == []
    once = [*healthy, epoch(5, 80, 60, -4000)]
    assert vae_warnings(once, latent=64, ae=False) == []
    assert vae_warnings([*once, epoch(6, 80, 60, -5010)], latent=64, ae=False) == []
    worse = [*once, epoch(6, 80, 60, -4100)]
    assert [name for name, _ in vae_warnings(worse, latent=64, ae=False)] == ["divergence"]


def test_a_run_begun_before_a_setting_existed_goes_on_with_its_default(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    loop.open_run(folder, config(), stage="pretrain", resume=False, extra={})
    saved = json.loads((folder / "config.json").read_text())
    assert saved["config"].pop("restart") == 0.0
    (folder / "config.json").write_text(json.dumps(saved))
    loop.open_run(folder, config(), stage="pretrain", resume=True, extra={})
    with pytest.raises(ConfigError, match=r"other settings \(restart\)"):
        loop.open_run(folder, config(restart=0.5), stage="pretrain", resume=True, extra={})


def test_vae_never_sees_calib_or_test(lesions: Path) -> None:
    table, split = prepare(str(lesions), split_seed=0)
    fabric = loop.make_fabric(config())
    task = PretrainTask(config(), table, split, fabric)
    assert {split.names[r] for r in task.train_rows} == {"train"}
    assert {split.names[r] for r in task.val_rows} == {"val"}


def test_saved_settings_are_complete(lesions: Path, tmp_path: Path) -> None:
    run_pretrain(request(lesions, tmp_path), config(schedule="32x1"))
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert PretrainConfig.from_dict(saved["config"]) == config(schedule="32x1")
    with pytest.raises(ConfigError, match="Unknown settings: colour"):
        PretrainConfig.from_dict(saved["config"] | {"colour": 1})


def test_the_optimiser_takes_the_steps_of_adamw() -> None:
    ours, plain = (torch.nn.Linear(8, 4) for _ in range(2))
    plain.load_state_dict(ours.state_dict())
    optimizers = (loop.make_optimizer([{"params": list(ours.parameters()), "lr": 0.1, "weight_decay": 0.5}]),
                  torch.optim.AdamW(plain.parameters(), lr=0.1, weight_decay=0.5, betas=(0.9, 0.95), fused=False))
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        for net, optimizer in zip((ours, plain), optimizers, strict=True):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)
