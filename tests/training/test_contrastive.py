"""Contrastive pretraining: the loss against its formula, what a run leaves, resuming, two processes, and the arm."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dermdemo.cli import main
from dermdemo.config import ContrastiveConfig, FinetuneConfig
from dermdemo.data.readable import prepare
from dermdemo.data.synthetic import write_synthetic
from dermdemo.errors import CheckpointError, DataError
from dermdemo.models.checkpoint import load_classifier, load_encoder, load_meta, trim
from dermdemo.training import loop
from dermdemo.training.contrastive import ContrastiveTask, collapse_warnings, nt_xent
from dermdemo.training.events import read_events
from dermdemo.training.runs import RunRequest, run_contrastive, run_train
from tests.models.tiny import ATTO, save_vae, without_gradient
from tests.training.test_loop import environment, epochs

TINY = {"encoder": ATTO, "projection_hidden": 32, "projection": 16, "batch_size": 16, "schedule": "32x1",
        "device": "cpu", "precision": "fp32"}  # fmt: skip
FIGURES = {"loss", "accuracy", "alignment", "uniformity", "std", "effective_rank"}


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("lesions"), n_lesions=80, seed=3)


@pytest.fixture(scope="module")
def store(lesions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an encoder of two epochs, its run beside it; not to be changed."""
    root = tmp_path_factory.mktemp("finished")
    run_contrastive(request(lesions, root / "store", "ssl"), config(schedule="32x2"))
    return root / "store"


def config(**changes: Any) -> ContrastiveConfig:
    return ContrastiveConfig(**(TINY | changes))


def request(lesions: Path, store: Path, name: str, **changes: Any) -> RunRequest:
    return RunRequest(source=str(lesions), out=store.parent / name, store=store, **changes)


def make_task(lesions: Path, **changes: Any) -> tuple[ContrastiveTask, Any]:
    """A task that can take steps, and its wrapped model."""
    settings = config(**changes)
    table, split = prepare(str(lesions), split_seed=0)
    task = ContrastiveTask(settings, table, split, loop.make_fabric(settings))
    task.start_phase(32)
    return task, task.fabric.setup_module(task.module)


def step(task: ContrastiveTask, model: Any, batch: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    batch = next(iter(task.batches(1))) if batch is None else batch
    return task.training_loss(model, batch, epoch=1, step=0, progress=0.0)


def formula(first: Tensor, second: Tensor, temperature: float) -> float:
    """Equation 1 of the paper, pair by pair."""
    z = [v / v.norm() for v in torch.cat([first, second]).double()]
    n, total = len(first), 0.0
    for i, anchor in enumerate(z):
        partner = (i + n) % (2 * n)
        share = [math.exp(float(anchor @ other) / temperature) for k, other in enumerate(z) if k != i]
        total -= math.log(math.exp(float(anchor @ z[partner]) / temperature) / sum(share))
    return total / len(z)


# -- the loss
@pytest.mark.parametrize("temperature", [0.07, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [2, 7, 16])
def test_the_loss_is_the_papers_formula(n: int, temperature: float) -> None:
    first, second = torch.randn((2, n, 8), generator=torch.Generator().manual_seed(n))
    second = second + first
    assert float(nt_xent(temperature)(first, second)) == pytest.approx(formula(first, second, temperature), abs=1e-5)


def test_the_loss_and_its_gradient_are_those_of_the_librarys_nt_xent() -> None:
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    found = []
    for loss in (nt_xent(0.1), SelfSupervisedLoss(NTXentLoss(temperature=0.1))):
        z = torch.randn((2, 12, 8), generator=torch.Generator().manual_seed(0)).requires_grad_()
        value = loss(*z)
        value.backward()
        found.append((value.detach(), z.grad))
    torch.testing.assert_close(found[0], found[1])


def test_where_nothing_is_told_apart_the_loss_is_that_of_chance() -> None:
    same = torch.ones(10, 4)
    assert float(nt_xent(0.1)(same, same)) == pytest.approx(math.log(19), rel=1e-5)


# -- a step
def test_gradients_reach_every_parameter(lesions: Path) -> None:
    task, model = make_task(lesions, layer_scale=0.1)
    loss, logs = step(task, model)
    loss.backward()
    assert without_gradient(task.module) == []
    assert logs.keys() == FIGURES and all(v.ndim == 0 and bool(torch.isfinite(v)) for v in logs.values())
    assert logs["loss"] is loss


def test_one_batch_can_be_learned(lesions: Path) -> None:
    task, model = make_task(lesions, layer_scale=0.1)
    optimizer = torch.optim.AdamW(task.module.parameters(), lr=2e-3)
    first = float(step(task, model)[0].detach())
    for _ in range(15):
        optimizer.zero_grad()
        step(task, model)[0].backward()
        optimizer.step()
    loss, logs = step(task, model)
    assert float(loss.detach()) < 0.6 * first and float(logs["accuracy"]) > 0.4  # by chance 0.03


def test_views_depend_on_seed_epoch_and_step_alone(lesions: Path) -> None:
    task, model = make_task(lesions)
    batch = next(iter(task.batches(1)))

    def loss(**where: Any) -> float:
        where = {"epoch": 1, "step": 0, "progress": 0.0} | where
        return float(task.training_loss(model, batch, **where)[0].detach())

    first = loss()
    torch.manual_seed(5)
    assert loss(progress=0.5) == first
    assert loss(epoch=2) != first and loss(step=1) != first
    other, model = make_task(lesions, seed=1)
    other.module.load_state_dict(task.module.state_dict())
    assert float(step(other, model, batch)[0].detach()) != first


def test_only_full_batches_are_contrasted(lesions: Path) -> None:
    task, _ = make_task(lesions)
    images = len(task.train_rows)
    assert images % 16 != 0
    assert [len(b) for b in task.batches(1)] == [16] * (images // 16) and task.steps_per_epoch() == images // 16
    alone, _ = make_task(lesions, batch_size=1000)
    assert [len(b) for b in alone.batches(1)] == [images] and alone.steps_per_epoch() == 1


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_steps_and_validation_run_in_the_precision_that_was_asked_for(lesions: Path, precision: str,
                                                                      dtype: torch.dtype) -> None:
    task, model = make_task(lesions, precision=precision)
    seen: list[torch.dtype] = []
    task.module.projection[0].register_forward_hook(lambda layer, given, out: seen.append(out.dtype))
    loss, _ = step(task, model)
    assert set(seen) == {dtype} and loss.dtype == torch.float32
    seen.clear()
    task.validate(model.eval(), 1)
    assert set(seen) == {dtype}


# -- validation
def test_validation_is_the_same_whatever_the_batch_it_is_computed_in(lesions: Path) -> None:
    task, model = make_task(lesions, batch_size=1000)
    model.eval()
    whole = task.validate(model, 1)
    assert whole.keys() == FIGURES | {"group_size"} and whole["group_size"] == len(task.val_rows)
    assert whole == task.validate(model, 2), "the same views in every epoch"
    other, _ = make_task(lesions, batch_size=1000, seed=3)
    other.module.load_state_dict(task.module.state_dict())
    assert other.validate(other.module.eval(), 1)["loss"] == pytest.approx(whole["loss"]), "and in every run"
    small, _ = make_task(lesions, batch_size=4)
    small.module.load_state_dict(task.module.state_dict())
    grouped = small.validate(small.module.eval(), 1)
    assert 4 <= grouped["group_size"] < 8
    for name in ("alignment", "std", "effective_rank"):
        assert grouped[name] == pytest.approx(whole[name], rel=1e-4), name
    assert grouped["loss"] < whole["loss"], "fewer images to be told apart from"


def test_the_task_sees_neither_calib_nor_test_and_no_label(lesions: Path) -> None:
    table, split = prepare(str(lesions), split_seed=0)
    table.frame["label"] = None
    task = ContrastiveTask(config(), table, split, loop.make_fabric(config()))
    assert {split.names[r] for r in task.train_rows} == {"train"}
    assert sorted(task.val_rows) == split.rows("val") != task.val_rows, "images of a lesion are no neighbours"
    assert len(ContrastiveTask(config(val_limit=3), table, split, task.fabric).val_rows) == 3
    with pytest.raises(DataError, match="at least two"):
        ContrastiveTask(config(val_limit=1), table, split, task.fabric)


# -- runs
def test_a_run_leaves_events_and_an_encoder_with_its_card(store: Path) -> None:
    run, meta = store.parent / "ssl", load_meta(store / "ssl")
    records = epochs(run)
    assert [r["epoch"] for r in records] == [0, 1, 2]
    assert all(FIGURES | {"group_size"} == r["val"].keys() for r in records)
    assert records[0]["train"] == {} and records[1]["train"].keys() == FIGURES
    assert records[1]["images_per_second"] > 0
    assert (meta.kind, meta.origin.split(":")[0], meta.files.keys()) == ("ssl", "ssl", {"trunk", "top"})
    assert meta.spent["schedule"] == "32x2" and meta.split_hash and not meta.classes
    card = (store / "ssl" / "MODEL_CARD.md").read_text()
    for words in ("trained from scratch by SimCLR (contrastive, no labels) on", "unlabelled images",
                  "(32x2 px x epochs)", "projection head is not kept", "effective rank", meta.files["trunk"]):
        assert words in card, words
    assert load_encoder(store / "ssl").module(torch.rand(2, 3, 32, 32)).shape == (2, 320)


def test_a_stopped_run_resumes_to_the_same_weights(lesions: Path, store: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: ContrastiveTask, model: Any, epoch: int, folder: Path, record: Any) -> None:
        if epoch == 1:
            (folder / loop.STOP_FILE).touch()

    torn = request(lesions, tmp_path / "store", "torn")
    with monkeypatch.context() as patch:
        patch.setattr(ContrastiveTask, "after_epoch", stop)
        run_contrastive(torn, config(schedule="32x2"))
    assert load_meta(torn.folder).spent["epochs"] == 1
    run_contrastive(request(lesions, tmp_path / "store", "torn", resume=True), config(schedule="32x2"))
    assert load_meta(torn.folder).files == load_meta(store / "ssl").files
    assert epochs(torn.out)[-1]["val"] == epochs(store.parent / "ssl")[-1]["val"]
    whole, again = (torch.load(p / "last.pt", weights_only=True)["model"] for p in (store.parent / "ssl", torn.out))
    assert all(torch.equal(value, again[key]) for key, value in whole.items())


def test_a_run_goes_on_from_an_earlier_encoder_and_from_no_other_kind(lesions: Path, store: Path, tmp_path: Path
                                                                      ) -> None:
    more = request(lesions, tmp_path / "store", "more", init=store / "ssl")
    meta = load_meta(run_contrastive(more, config(lr=1e-9)))
    assert meta.spent["schedule"] == "32x3" and "started from 'ssl'" in meta.origin_text
    found, start = (load_encoder(f).module.state_dict() for f in (more.folder, store / "ssl"))
    for name, value in start.items():
        torch.testing.assert_close(found[name], value, rtol=1e-2, atol=1e-4)
    assert trim(more.folder).files.keys() == {"trunk"}
    save_vae(tmp_path / "vae")
    with pytest.raises(CheckpointError, match=r"kind 'ssl'; .* is of kind 'vae'"):
        run_contrastive(request(lesions, tmp_path / "store", "vae", init=tmp_path / "vae"), config())
    with pytest.raises(CheckpointError, match="another split of the same data"):
        run_contrastive(request(lesions, tmp_path / "store", "seen", init=store / "ssl", split_seed=9), config())


@pytest.mark.slow
def test_two_processes_agree_with_one(lesions: Path, tmp_path: Path) -> None:
    def command(out: Path, batch: int) -> list[str]:
        return ["-m", "dermdemo", "pretrain-ssl", str(lesions), "--encoder", ATTO, "--projection-hidden", "32",
                "--projection", "16", "--device", "cpu", "--precision", "fp32", "--schedule", "32x2", "--batch-size",
                str(batch), "--out", str(out / "run"), "--store", str(out / "store")]  # fmt: skip

    one, two = tmp_path / "one", tmp_path / "two"
    assert main(command(one, 16)[2:]) == 0
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29583",
                    *command(two, 8), "--devices", "2"], env=environment(), check=True, capture_output=True)
    for first, second in zip(epochs(one / "run"), epochs(two / "run"), strict=True):
        for split in ("train", "val"):
            for name, value in first[split].items():
                assert second[split][name] == pytest.approx(value, rel=5e-3, abs=0.02), (first["epoch"], split, name)


# -- what goes wrong is named
def test_a_collapse_is_named_after_the_warm_up() -> None:
    def epoch(number: int, rank: float) -> dict[str, Any]:
        return {"epoch": number, "val": {"effective_rank": rank, "std": 0.01}}

    found = collapse_warnings([epoch(0, 2.0), epoch(1, 60.0), epoch(2, 3.0)], most=128, after=1)
    assert [name for name, _ in found] == ["dimensional-collapse"] and "3.0 of 128 dimensions" in found[0][1]
    assert collapse_warnings([epoch(1, 3.0)], most=128, after=1) == []
    assert collapse_warnings([epoch(2, 20.0)], most=128, after=1) == []
    assert [len(collapse_warnings([epoch(2, rank)], most=8, after=1)) for rank in (1.2, 2.0)] == [1, 0]


def test_a_collapsed_run_says_so_in_its_events(lesions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                               ) -> None:
    """A head that knows one direction only."""
    original = ContrastiveTask.__init__

    def narrow(self: ContrastiveTask, *args: Any) -> None:
        original(self, *args)
        with torch.no_grad():
            self.module.projection[-1].weight[1:] = 0
        self.module.projection.requires_grad_(False)

    monkeypatch.setattr(ContrastiveTask, "__init__", narrow)
    work = request(lesions, tmp_path / "store", "collapsed")
    run_contrastive(work, config(projection=64))
    warned = [e for e in read_events(work.out) if e["kind"] == "warning"]
    assert [(e["name"], e["epoch"]) for e in warned] == [("dimensional-collapse", 1)]


# -- the arm
def arm(lesions: Path, store: Path, out: Path, weights: Path | None = None) -> Path:
    settings = FinetuneConfig(schedule="32x1", batch_size=16, views=1, device="cpu")
    return run_train(RunRequest(source=str(lesions), out=out, store=store), settings, arm="ssl",
                     weights=str(weights) if weights else None, encoder=ATTO)


def test_the_arm_takes_its_encoder_from_the_store_and_says_where_it_came_from(lesions: Path, store: Path,
                                                                              tmp_path: Path) -> None:
    meta = load_meta(arm(lesions, store, tmp_path / "ssl-arm"))
    assert (meta.arm, meta.kind) == ("ssl", "classifier")
    assert [(b.checkpoint, b.part) for b in meta.base] == [("ssl", "trunk")]
    assert meta.origin_text == load_meta(store / "ssl").origin_text
    assert "by SimCLR" in (store / "ssl-arm" / "MODEL_CARD.md").read_text()
    assert load_classifier(store / "ssl-arm").module(torch.rand(1, 3, 32, 32)).shape == (1, 7)


def test_the_arm_refuses_weights_of_another_kind(lesions: Path, store: Path, tmp_path: Path) -> None:
    save_vae(tmp_path / "vae")
    with pytest.raises(CheckpointError, match=r"arm 'ssl' needs a checkpoint of that kind; .* holds a vae"):
        arm(lesions, store, tmp_path / "a", weights=tmp_path / "vae")
    with pytest.raises(CheckpointError, match=r"arm 'vae' needs .* holds a ssl"):
        run_train(RunRequest(source=str(lesions), out=tmp_path / "b", store=store), FinetuneConfig(schedule="32x1"),
                  arm="vae", weights=str(store / "ssl"), encoder=ATTO)
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        arm(lesions, tmp_path / "empty", tmp_path / "c")
