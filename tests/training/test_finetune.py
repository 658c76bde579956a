"""Stage II: the frozen part runs once per view, only what should train trains, arms differ by weights alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dermdemo.config import FinetuneConfig, PretrainConfig
from dermdemo.data.readable import prepare
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import CheckpointError, ConfigError
from dermdemo.evaluation.constant import ConstantAnswer
from dermdemo.evaluation.predict import predict
from dermdemo.models.checkpoint import load_classifier, load_meta
from dermdemo.models.encoder import Encoder
from dermdemo.training.events import Epoch, read_events
from dermdemo.training.finetune import FinetuneTask, classifier_warnings
from dermdemo.training.loop import make_fabric
from dermdemo.training.runs import RunRequest, run_pretrain, run_train
from dermdemo.training.telling import epoch_line, seconds_left

pytestmark = pytest.mark.slow

ATTO = "convnext_atto"


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("lesions"), n_lesions=80, seed=5)


@pytest.fixture(scope="module")
def store(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a VAE in it."""
    root = tmp_path_factory.mktemp("stage-one")
    config = PretrainConfig(encoder=ATTO, latent=8, batch_size=16, schedule="32x1", device="cpu")
    run_pretrain(RunRequest(source=str(lesions), out=root / "vae", store=root / "store"), config)
    return root / "store"


def config(**changes: Any) -> FinetuneConfig:
    return FinetuneConfig(**({"schedule": "32x2", "batch_size": 16, "views": 2, "device": "cpu"} | changes))


def task(lesions: Path, **changes: Any) -> FinetuneTask:
    table, split = prepare(str(lesions), split_seed=0)
    settings = config(**changes)
    return FinetuneTask(settings, table, split, make_fabric(settings), Encoder(ATTO))


def train(lesions: Path, store: Path, out: Path, arm: Any = "vae", weights: str | None = None, **changes: Any
          ) -> Path:
    request = RunRequest(source=str(lesions), out=out, store=store)
    return run_train(request, config(**changes), arm=arm, weights=weights, encoder=ATTO)


@pytest.mark.parametrize("unfrozen", [0, 1, 2])
def test_the_frozen_part_runs_once_per_image_and_view(lesions: Path, monkeypatch: pytest.MonkeyPatch, unfrozen: int
                                                      ) -> None:
    work = task(lesions, unfrozen_stages=unfrozen)
    seen = 0
    original = Encoder.trunk

    def counted(self: Encoder, x: torch.Tensor, stages: int = 3) -> torch.Tensor:
        nonlocal seen
        seen += len(x)
        return original(self, x, stages)

    monkeypatch.setattr(Encoder, "trunk", counted)
    work.start_phase(32)
    prepared = seen
    assert prepared == 2 * len(work.train_rows) + len(work.plain[1]) + len(work.val[1])
    for step, batch in enumerate(work.batches(1)):
        work.training_loss(work.module, batch, epoch=1, step=step, progress=0.0)
    work.validate(work.module, 1)
    assert seen == prepared


def test_cached_features_give_the_logits_of_the_whole_network(lesions: Path) -> None:
    work = task(lesions)
    work.start_phase(32)
    x = work.store.batch(torch.arange(8)).float() / 255
    whole = work.module(x)
    cached = work.module.forward_features(work.module.frozen_part(x))
    torch.testing.assert_close(whole, cached)


def test_a_run_tells_of_its_views_and_epochs_as_it_goes(
        lesions: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(lesions, store, tmp_path / "told")
    events = read_events(tmp_path / "told")
    assert [e["kind"] for e in events[:4]] == ["started", "prepared", "prepared", "epoch"]
    assert [(e["done"], e["total"], e["size"]) for e in events if e["kind"] == "prepared"] == [(1, 2, 32), (2, 2, 32)]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith(("frozen", "epoch"))]
    assert lines[:2] == ["frozen part at 32 px: view 1 of 2", "frozen part at 32 px: view 2 of 2"]
    trained = [e for e in events if e["kind"] == "epoch"]
    for line, e in zip(lines[2:], trained, strict=True):
        assert line.startswith(f"epoch {e['epoch']}/2 at 32 px: loss {e['train']['loss']:.3f}, val "
                               f"{e['val']['loss']:.3f}, val balanced accuracy {e['val']['balanced_accuracy']:.3f}; ")
    assert [" left" in line for line in lines[2:]] == [False, True, False], "neither before nor after training"


def test_time_left_goes_by_the_pixels_to_come() -> None:
    record = Epoch(epoch=1, epochs=4, size=64, train={"loss": 1.0}, val={"loss": 2.0, "psnr": 20.0}, lr=1e-3,
                   images_per_second=1.0, seconds=10.0)
    planned = PretrainConfig(schedule="64x2,128x2")
    assert seconds_left(record, planned) == pytest.approx(10 + 2 * 40)
    said = epoch_line(record, planned)
    assert said == "epoch 1/4 at 64 px: loss 1.000, val 2.000, val PSNR 20.00 dB; 10 s, 2 min left"


def test_only_unfrozen_parameters_change(lesions: Path, store: Path, tmp_path: Path) -> None:
    folder = train(lesions, store, tmp_path / "run")
    base = {k: v for k, v in load_meta(store / "vae").files.items()}
    meta = load_meta(folder)
    assert meta.files.keys() == {"top", "head"}
    assert [(b.checkpoint, b.part, b.sha256) for b in meta.base] == [("vae", "trunk", base["trunk"])]
    assert meta.files["top"] != base["top"]


def test_head_only_borrows_the_whole_encoder(lesions: Path, store: Path, tmp_path: Path) -> None:
    meta = load_meta(train(lesions, store, tmp_path / "head-only", unfrozen_stages=0))
    assert meta.files.keys() == {"head"} and {b.part for b in meta.base} == {"trunk", "top"}


def test_scratch_trains_everything_and_random_only_its_top(lesions: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unfrozen-stages 4"):
        train(lesions, store, tmp_path / "refused", arm="scratch")
    meta = load_meta(train(lesions, store, tmp_path / "scratch", arm="scratch", unfrozen_stages=4))
    assert meta.files.keys() == {"trunk", "top", "head"} and not meta.base and meta.origin == "random"
    random = load_meta(train(lesions, store, tmp_path / "random", arm="random"))
    assert random.files["trunk"] != meta.files["trunk"] and "never trained" in random.origin_text


def test_an_arm_refuses_weights_of_another_kind(lesions: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a vae"):
        train(lesions, store, tmp_path / "a", arm="ae", weights=str(store / "vae"))
    with pytest.raises(ConfigError, match="leave --weights out"):
        train(lesions, store, tmp_path / "b", arm="random", weights=str(store / "vae"))
    with pytest.raises(CheckpointError, match="asks for a convnext_femto"):
        run_train(RunRequest(source=str(lesions), out=tmp_path / "c", store=store), config(), arm="vae", weights=None,
                  encoder="convnext_femto")


def test_stored_logits_are_those_of_the_validation_file(lesions: Path, store: Path, tmp_path: Path) -> None:
    folder = train(lesions, store, tmp_path / "stored")
    table, split = prepare(str(lesions), split_seed=0)
    again = predict(load_classifier(folder), table, split.rows("val"), device="cpu")
    with np.load(tmp_path / "stored" / "val_predictions.npz") as saved:
        np.testing.assert_allclose(again.logits, saved["logits"], atol=1e-4)
        assert saved["image_id"].tolist() == again.image_id.tolist()


def test_runs_with_the_same_seed_agree_and_with_another_do_not(lesions: Path, store: Path, tmp_path: Path) -> None:
    def files(name: str, seed: int) -> Any:
        return load_meta(train(lesions, store, tmp_path / name, seed=seed)).files

    assert files("one", 0) == files("two", 0)
    assert files("three", 1)["head"] != files("one-again", 0)["head"]


def test_epoch_zero_is_before_the_first_update(lesions: Path, store: Path, tmp_path: Path) -> None:
    train(lesions, store, tmp_path / "zero")
    records = [e for e in read_events(tmp_path / "zero") if e["kind"] == "epoch"]
    assert [r["epoch"] for r in records] == [0, 1, 2]
    assert {"loss", "accuracy", "balanced_accuracy"} <= set(records[0]["train"]) & set(records[0]["val"])


def test_training_learns_the_synthetic_classes(lesions: Path, store: Path, tmp_path: Path) -> None:
    train(lesions, store, tmp_path / "learns", arm="scratch", unfrozen_stages=4, schedule="32x12", lr=2e-3,
          stage_lr=1e-3, layer_scale=0.1, dropout=0.0)
    records = [e for e in read_events(tmp_path / "learns") if e["kind"] == "epoch"]
    assert records[-1]["train"]["loss"] < 0.7 * records[0]["train"]["loss"]


def test_early_stopping_ships_the_best_epoch(lesions: Path, store: Path, tmp_path: Path) -> None:
    folder = train(lesions, store, tmp_path / "early", schedule="32x6", early_stopping=1, lr=0.2, stage_lr=0.1)
    end = read_events(tmp_path / "early")
    finished = next(e for e in end if e["kind"] == "finished")
    assert finished["reason"] == "early-stopping" and finished["epochs"] < 6
    best = torch.load(tmp_path / "early" / "best.pt", weights_only=True)["model"]
    stored = load_classifier(folder).module.state_dict()
    torch.testing.assert_close(stored["head.0.bias"], best["head.0.bias"])


def test_warnings_name_overfitting_underfitting_and_constancy() -> None:
    def history(train: list[float], val: list[float], accuracy: float = 0.5, balanced: float = 0.5) -> list[dict]:
        return [{"epoch": k, "train": {"loss": t}, "val": {"loss": v, "accuracy": accuracy,
                                                           "balanced_accuracy": balanced}}
                for k, (t, v) in enumerate(zip(train, val, strict=True))]

    falling, constant = [1.0, 0.8, 0.6, 0.4, 0.3, 0.2], ConstantAnswer(accuracy=0.67, balanced_accuracy=1 / 7)
    names = lambda *args, **kw: [n for n, _ in classifier_warnings(history(*args, **kw), constant=constant)]  # noqa: E731
    assert names(falling, falling) == []
    assert names(falling, [1.0, 0.8, 0.7, 0.75, 0.8, 0.9]) == ["overfitting"]
    assert names([1.0] * 6, [1.0] * 6) == ["underfitting"]
    assert names(falling, falling, accuracy=0.67, balanced=0.143) == ["constant-predictor"]
    assert names(falling, falling, accuracy=0.67, balanced=0.44) == []


@pytest.mark.parametrize("unfrozen", [0, 1, 4])
def test_steps_and_measurements_run_in_the_precision_that_was_asked_for(lesions: Path, unfrozen: int) -> None:
    work = task(lesions, unfrozen_stages=unfrozen, precision="bf16")
    seen: list[torch.dtype] = []
    model = work.fabric.setup_module(work.module)
    model.mark_forward_method("forward_features")
    work.start_phase(32)
    model.train()
    work.module.head.register_forward_hook(lambda head, given, logits: seen.append(logits.dtype))
    loss, _ = work.training_loss(model, next(iter(work.batches(1))), epoch=1, step=0, progress=0.0)
    assert set(seen) == {torch.bfloat16}
    assert loss.dtype == torch.float32
    seen.clear()
    work.validate(model.eval(), 1)
    assert set(seen) == {torch.bfloat16}
