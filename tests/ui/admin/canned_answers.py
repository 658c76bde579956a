"""Answers of an administration API that holds one of everything, with texts that would be markup as HTML."""

from __future__ import annotations

import math
from typing import Any

EVIL = "<img src=x onerror=\"document.title='owned'\">"
HASH = {name: f"{k:x}" * 64 for k, name in enumerate(("shipped", "one", "two", "data", "split", "entry"), 1)}
CLASSES = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]
STEPS = ["prepare", "dry stage I", "dry stage II vae", "dry stage II imagenet", "dry gate", "dry atlas", "stage I",
         "stage II vae", "stage II imagenet", "gate", "atlas", "candidate"]
ACTIONS = {"running": ["stop", "cancel"], "queued": ["cancel"], "finished": ["repeat"],
           "failed": ["resume", "finish", "retry", "repeat"]}
Answer = dict[str, Any]


def job_row(job: str, state: str, **more: Any) -> Answer:
    """One job in a list."""
    running = state == "running"
    return {"id": job, "state": state, "who": "Ada", "created": "2026-11-24T09:12:00+00:00", "device": "cpu",
            "data": "d0001", "data_name": "Clinic 2026", "recipe": "quick", "stage1": True, "attempt": 1,
            "step": "stage I" if running else "", "steps_done": 6 if running else 0, "steps_total": len(STEPS),
            "progress": 0.31 if running else None, "eta_seconds": 1500.0 if running else None, "reason": "",
            "stopped": [], "actions": ACTIONS.get(state, []), "candidate": None, "repeats": None} | more


def version_row(number: int, standing: str, *actions: str, **more: Any) -> Answer:
    """One version in a list."""
    name = ("shipped", "one", "two")[number]
    return {"number": number, "standing": standing, "created": "2026-11-23T17:40:00+00:00" if number else "",
            "who": "Ada" if number else "", "sha256": HASH[name], "job": f"000{number}" if number else "",
            "verdict": "vae arm (49 lesions). On all images: better on accuracy." if number else "", "problem": None,
            "models": {"vae": HASH["one"], "vae arm": HASH["two"]}, "actions": list(actions)} | more


def data_row() -> Answer:
    return {"id": "d0001", "name": "Clinic 2026", "who": "Ada", "created": "2026-11-22T08:00:00+00:00", "images": 709,
            "groups": 500, "classes": CLASSES, "copied": False, "known": 498, "notes": [], "live_version": 0}


def overview() -> Answer:
    """A server in use: one job runs, one waits, one is done; one candidate, one version that was tampered with."""
    tampered = "Version 2 is not as it was registered: vae/trunk is missing, changed or new. It is refused."
    return {"jobs": [job_row("0003", "queued", who=EVIL), job_row("0002", "running"),
                     job_row("0001", "finished", candidate=1)],
            "versions": [version_row(2, "previous", problem=tampered),
                         version_row(1, "candidate", "promote", "archive"), version_row(0, "live")],
            "data": [data_row()], "serving": {"number": 0, "sha256": HASH["shipped"], "problem": None},
            "devices": [{"name": "cpu", "limit": 1, "usable": True, "running": 1, "queued": 1},
                        {"name": "cuda", "limit": 1, "usable": False, "running": 0, "queued": 0}], "problems": []}


def empty() -> Answer:
    """A server on its first day."""
    return overview() | {"jobs": [], "versions": [version_row(0, "live")], "data": [],
                         "devices": [{"name": "cpu", "limit": 1, "usable": True, "running": 0, "queued": 0}]}


def series(epochs: int) -> Answer:
    """Curves of Stage I up to an epoch."""
    def curve(start: float, end: float) -> list[list[float]]:
        return [[e, end + (start - end) * math.exp(-e / 4)] for e in range(epochs + 1)]

    return {"train.loss": curve(900, -2400)[1:], "val.loss": curve(900, -2300), "train.rec": curve(880, -2500)[1:],
            "val.rec": curve(880, -2400), "train.kl": curve(5, 110)[1:], "val.kl": curve(5, 105),
            "val.psnr": curve(13, 24), "val.ssim": curve(0.3, 0.71), "val.active_units": curve(32, 18),
            "beta": [[e, min(1.0, e / 5)] for e in range(epochs + 1)], "lr": curve(1e-3, 0)[1:],
            "images_per_second": [[e, 40 + e % 3] for e in range(1, epochs + 1)]}


def pretrain_run(epochs: int) -> Answer:
    dims = [[e, [4 * math.exp(-k / (4 + e)) for k in range(32)]] for e in sorted({0, epochs // 2, epochs})]
    return {"name": "stage I", "stage": "pretrain", "epoch": epochs, "epochs": 20, "size": 64, "finished": None,
            "prepared": [0, 0], "images_per_second": 41.0, "series": series(epochs), "kl_per_dim": dims,
            "grids": [e for e in (5, 10, 15, 20) if e <= epochs]}


def train_run() -> Answer:
    def curve(start: float, end: float) -> list[list[float]]:
        return [[e, end + (start - end) * math.exp(-e / 3)] for e in range(13)]

    return {"name": "stage II vae", "stage": "train", "epoch": 12, "epochs": 12, "size": 64, "finished": "completed",
            "prepared": [0, 0], "images_per_second": 280.0, "kl_per_dim": [], "grids": [],
            "series": {"train.loss": curve(1.4, 0.4), "val.loss": curve(1.4, 0.6), "train.accuracy": curve(0.2, 0.9),
                       "val.accuracy": curve(0.2, 0.8), "val.balanced_accuracy": curve(0.14, 0.6),
                       "accuracy_gap": curve(0, 0.1), "loss_gap": curve(0, 0.2), "lr": curve(3e-3, 0)[1:],
                       "images_per_second": curve(300, 280)[1:]}}


def job(epochs: int = 7) -> Answer:
    """The running job, at an epoch of Stage I."""
    states = [("done", 12.0)] * 6 + [("running", 240.0)] + [("waiting", None)] * 5
    warning = {"level": "warning", "step": "stage I", "time": 1795535816.6,
               "text": f"The KL term is nearly gone. {EVIL} Lower beta."}
    return job_row("0002", "running") | {
        "request": {"data": "d0001", "recipe": "quick", "stage1": True, "device": "cpu", "gate": "calib", "seed": 0,
                    "hours": 24.0, "dry_run": True, "resamples": 1000, "base": 0, "knobs": {"pretrain.latent": "32"}},
        "facts": {"seed": "0", "data": "d0001", "data_hash": HASH["data"], "split_hash": HASH["split"], "base": "0",
                  "base_sha256": HASH["shipped"], "code": HASH["entry"], "torch": "2.12.1", "python": "3.11.7",
                  "stage I": '{"latent": 32, "beta": 1.0}', "stage II": '{"lr": 0.003}'},
        "steps": [{"name": n, "state": s, "seconds": t} for n, (s, t) in zip(STEPS, states, strict=True)],
        "attempts": [{"attempt": 1, "mode": "fresh", "end": "", "reason": "", "started": "", "seconds": 300.0}],
        "messages": [warning], "runs": [pretrain_run(epochs)],
        "resources": {"cpu_percent": 187.0, "memory_bytes": 1_282_428_928, "gpu_memory_bytes": None,
                      "disk_free_bytes": 74_588_897_280},
        "logs": ["prepare", "stage I"], "verdict": None, "drift": []}


def gate_line(scope: str, metric: str, difference: float | None, half: float | None, outcome: str) -> Answer:
    low, high = (None, None) if half is None or difference is None else (difference - half, difference + half)
    return {"scope": scope, "metric": metric, "n_images": 72, "n_lesions": 49, "candidate": 0.7, "live": 0.6,
            "p_value": None, "stands": outcome in ("better", "worse"),
            "difference": difference, "low": low, "high": high, "outcome": outcome,
            "why": "" if half is not None else "4 lesions are too few"}


def version(number: int = 1) -> Answer:
    """The candidate with its comparison."""
    found = [gate_line("all", "balanced_accuracy", 0.02, 0.05, "not distinguishable"),
             gate_line("all", "accuracy", 0.06, 0.04, "better"),
             gate_line("all", "macro_auc", None, None, "not comparable"),
             gate_line("class: mel", "sensitivity", -0.08, 0.05, "worse"),
             gate_line("sex: female", "accuracy", 0.05, 0.04, "better") | {"stands": False}]
    verdict = f"On all images: better on accuracy (+0.060, 95 % interval +0.020 to +0.100). {EVIL}"
    arms = [{"arm": arm, "n_images": 72, "n_lesions": 49, "lines": found, "verdict": verdict}
            for arm in ("vae", "imagenet")]
    return version_row(number, "candidate", "promote", "archive") | {
        "gate": {"source": "Clinic 2026", "split": "calib", "split_hash": HASH["split"], "left_out": 3, "arms": arms,
                 "readings": {"candidate vae": 0, "live vae": 2}, "verdict": verdict},
        "gate_base": 0, "gate_note": "", "files": 17, "bytes": 25_308_144, "data_hash": HASH["data"],
        "classes": CLASSES, "readings": {"vae arm": 1}}


def data_detail() -> Answer:
    counts = {c: {"images": 20 * (k + 1), "groups": 15 * (k + 1)} for k, c in enumerate(CLASSES)}
    split = {s: {"groups": 100, **{c: 5 for c in CLASSES}} for s in ("train", "val", "calib", "test")}
    problems = [{"kind": "near-duplicate", "count": 2, "examples": [EVIL], "message": "near-duplicate pairs"}]
    return data_row() | {"source": "/data/clinic", "mapping": {EVIL: "mel", "junk": ""}, "split_seed": 0,
                         "split": split, "data_hash": HASH["data"], "split_hash": HASH["split"],
                         "audit": {"name": "clinic", "images": 709, "groups": 500, "classes": counts,
                                   "missing": {"age": 12}, "problems": problems, "split_table": split,
                                   "split_hash": HASH["split"], "data_hash": HASH["data"]}}


def knob(name: str, label: str, kind: str, choices: list[str] | None = None) -> Answer:
    return {"name": name, "stage": name.split(".")[0], "label": label, "help": f"What {label} does.", "type": kind,
            "choices": choices or []}


def launch() -> Answer:
    values = {"pretrain.latent": "256", "pretrain.kl_warmup": "linear", "train.lr": "0.001", "train.views": "4"}
    return {"recipes": [{"name": "quick", "expects": "30 epochs at 128 px; runs on CPU.", "values": values},
                        {"name": "paper", "expects": "A GPU is needed.", "values": values | {"train.lr": "0.002"}}],
            "knobs": [knob("pretrain.latent", "Latent numbers", "integer"),
                      knob("pretrain.kl_warmup", "KL warm-up", "choice", ["linear", "cyclic"]),
                      knob("train.lr", "Learning rate", "number"), knob("train.views", "Views per image", "integer")],
            "devices": [{"name": "cpu", "limit": 1, "note": "2 cores", "usable": True},
                        {"name": "cuda", "limit": 1, "note": "There is no graphics card.", "usable": False}],
            "gates": ["calib", "val"], "machine": "2 processor cores, 8 GB of memory"}


def launch_plan(request: Answer, cost_task: str | None = None) -> Answer:
    """What a launch would do and take; what it takes is not known while a task measures it."""
    hours = 2 if request["stage1"] else 1
    parts = [{"name": "stage II", "seconds_low": 900.0, "seconds_high": 1800.0}]
    cost = {"seconds_low": 1800 * hours, "seconds_high": 3600 * hours, "memory_bytes": 3_000_000_000, "parts": parts,
            "gpu_memory_bytes": None, "disk_bytes": 500_000_000, "basis": "From 3 jobs on this machine."}
    return {"summary": [f"Train on {request['data']}.", "Compare on calib.", EVIL], "warnings": [],
            "cost": None if cost_task else cost, "cost_task": cost_task, "cost_problem": None}


def folders() -> Answer:
    return {"roots": [{"path": "/data", "entries": [
        {"name": "clinic", "path": "/data/clinic", "kind": "folder"},
        {"name": EVIL, "path": f"/data/{EVIL}", "kind": "csv"}]}]}


def audit(before: int | None, total: int = 130) -> Answer:
    newest = total if before is None else before - 1
    entries = [{"seq": n, "time": "2026-11-24T09:12:00.123+00:00", "who": EVIL if n == total else "Ada",
                "action": "promote" if n % 2 else "login",
                "details": {"version": "1", "before": "0"} if n % 2 else {},
                "model_hash": HASH["one"] if n % 2 else "", "data_hash": "", "hash": f"{n:064x}"}
               for n in range(newest, max(0, newest - 100), -1)]
    return {"verified": True, "problem": None, "entries": entries, "total": total}
