"""Launching over HTTP: what can be chosen, a check that says what would be done and what it costs, the launch.

The check answers at once. Where the cost is not known yet it is measured in a task: `cost` is then null and
`cost_task` names the task; when that is done, the same check has the cost. `cost_problem` says why there is none.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal, get_args, get_origin, get_type_hints

from fastapi import APIRouter, Request

from dermdemo.config import PRESETS
from dermdemo.errors import ConfigError, JobError
from dermdemo.evaluation.records import decode
from dermdemo.jobs import machine
from dermdemo.jobs.cluster import SlurmSettings
from dermdemo.jobs.costs import Cost, Costs
from dermdemo.jobs.datasets import DataSet
from dermdemo.jobs.files import free_bytes
from dermdemo.jobs.gate import GATES
from dermdemo.jobs.plan import KNOBS, Recipe, RetrainRequest, plan
from dermdemo.jobs.records import JobRecord
from dermdemo.ui.admin.access import Actor, Reader
from dermdemo.ui.admin.bodies import Body
from dermdemo.ui.admin.site import AdminSite, site_of
from dermdemo.ui.wording import knobs as words

API = "/administration/api"
MEASURING = "measure"
TYPES = {int: "integer", float: "number"}

router = APIRouter()


@router.get(API + "/launch")
def choices(admin: Reader, request: Request) -> dict[str, Any]:
    """Recipes, settings, devices and gates to choose from."""
    site = site_of(request)
    return {"recipes": [_recipe(name) for name in get_args(Recipe)],
            "knobs": [_knob(stage, name) for stage, names in KNOBS.items() for name in names],
            "devices": devices(site), "gates": list(GATES), "machine": machine.in_words()}


@router.post(API + "/launch/check")
def check(admin: Actor, body: Body, request: Request) -> dict[str, Any]:
    """What a job would do and cost. Raises what launching it would."""
    site = site_of(request)
    wanted, data, record = _planned(site, body, admin.who)
    found: dict[str, Any] = {"summary": summary(wanted, data, record), "warnings": [], "cost": None,
                             "cost_task": None, "cost_problem": None}
    if wanted.device == "slurm":
        return found | {"cost_problem": words.SLURM_COST}
    costs, encoder = Costs(site.jobs.data), _encoder(record)
    cost = costs.known(wanted, data, encoder)
    if cost is not None:
        return found | {"cost": asdict(cost), "warnings": warnings(cost, wanted, site)}
    try:
        running = site.tasks.running(MEASURING)
        task = running or site.tasks.start("measuring this machine", lambda: _measured(costs, wanted, data, encoder),
                                           alone=MEASURING)
    except JobError as error:  # too many tasks, or another was just begun
        return found | {"cost_problem": str(error)}
    return found | {"cost_task": task}


@router.post(API + "/launch")
def launch(admin: Actor, body: Body, request: Request) -> dict[str, str]:
    """Queue a job."""
    site = site_of(request)
    wanted, _, _ = _planned(site, body, admin.who)
    return {"id": site.jobs.launch(wanted, who=admin.who)}


def _planned(site: AdminSite, body: dict[str, Any], who: str) -> tuple[RetrainRequest, DataSet, JobRecord]:
    """A request from a body, with its data set and the record it would become. Raises DermdemoError."""
    wanted = decode(RetrainRequest, body)
    place = next((d for d in devices(site) if d["name"] == wanted.device), None)
    if place is None or not place["usable"]:
        raise ConfigError(words.NOT_USABLE.format(device=wanted.device, note=place["note"] if place else ""))
    data = site.jobs.data.get(wanted.data)
    slurm = SlurmSettings.parse(site.settings.slurm)
    return wanted, data, plan(wanted, data, site.registry, who=who, slurm=slurm)


def _measured(costs: Costs, wanted: RetrainRequest, data: DataSet, encoder: str) -> dict[str, Any]:
    """The result of a measuring task: the cost of the request that began it."""
    costs.measure(wanted, data, encoder)
    cost = costs.known(wanted, data, encoder)
    return {"cost": asdict(cost) if cost else None}


def _encoder(record: JobRecord) -> str:
    """Name of the network that a job trains."""
    argv = next(s.argv for s in record.steps if s.name == "stage II vae")
    return argv[argv.index("--encoder") + 1]


def _recipe(name: str) -> dict[str, Any]:
    values = {f"{stage}.{knob}": getattr(PRESETS[stage][name].config, knob) for stage, names in KNOBS.items()
              for knob in names}
    return {"name": name, "expects": words.RECIPES.format(**{s: PRESETS[s][name].expects for s in KNOBS}),
            "values": values}


def _knob(stage: str, name: str) -> dict[str, Any]:
    """A setting as the page shows it; its type is that of the field."""
    hint = get_type_hints(type(PRESETS[stage]["quick"].config))[name]
    options = list(get_args(hint)) if get_origin(hint) is Literal else []
    said = words.KNOBS[f"{stage}.{name}"]
    return {"name": f"{stage}.{name}", "stage": stage, "label": said.label, "help": said.help,
            "type": "choice" if options else TYPES.get(hint, "text"), "choices": options}


def devices(site: AdminSite) -> list[dict[str, Any]]:
    """Where jobs run, how many at once, and whether they can."""
    found = []
    for name, limit in site.jobs.jobs.limits.items():
        able, note = usable(name, site)
        found.append({"name": name, "limit": limit, "note": note, "usable": able})
    return found


def usable(name: str, site: AdminSite) -> tuple[bool, str]:
    """Whether jobs can run on a device here, and what is known of it or missing."""
    if name == "cuda":
        if not machine.torch_has_cuda():
            return False, words.NO_CUDA_TORCH
        names = [g.name for g in machine.gpus()]
        return bool(names), words.CUDA_NOTE.format(names=", ".join(names)) if names else words.NO_GPU
    slurm = SlurmSettings.parse(site.settings.slurm)
    if name == "slurm" and slurm:
        return True, words.SLURM_NOTE.format(where=slurm.partition or "its default partition", gpus=slurm.gpus,
                                             nodes=slurm.nodes, cpus=slurm.cpus)
    return name == "cpu", words.CPU_NOTE.format(cores=machine.cores())


def summary(wanted: RetrainRequest, data: DataSet, record: JobRecord) -> list[str]:
    """What the job will do, a line for each part."""
    first, second = wanted.config("pretrain"), wanted.config("train")
    knobs = ", ".join(f"{k} = {v}" for k, v in wanted.knobs.items())
    changed = f"Changed from the recipe '{wanted.recipe}': {knobs}." if knobs else f"The recipe '{wanted.recipe}'."
    return [
        f"Data: {data.name} ({data.id}), {data.images} images of {data.groups} lesions.",
        f"Starts from version {record.facts['base']} ({_encoder(record)}).",
        f"Stage I: {first.schedule} (pixels x epochs), batches of {first.batch_size}." if wanted.stage1
        else "Stage I: not trained, the VAE stays.",
        f"Stage II, both arms: {second.schedule}, batches of {second.batch_size}.",
        f"Judged on '{wanted.gate}' with {wanted.resamples} resamples; test is not read.",
        *(["First a dry run of a batch of every stage."] if wanted.dry_run else []),
        changed, f"On {wanted.device}, seed {wanted.seed}, at most {wanted.hours:g} hours an attempt."]


def warnings(cost: Cost, wanted: RetrainRequest, site: AdminSite) -> list[str]:
    """What the job may run into here."""
    found, gb, needs = [], 2**30, "It needs about {:.1f} GB of {}; {:.1f} GB are free now."
    available, free = machine.memory()[1], free_bytes(site.jobs.data.home)
    if cost.seconds_high > wanted.hours * 3600:
        found.append(f"It may take longer than its limit of {wanted.hours:g} hours; it can then be resumed.")
    if available and cost.memory_bytes > available:
        found.append(needs.format(cost.memory_bytes / gb, "memory", available / gb))
    if cost.disk_bytes > free:
        found.append(needs.format(cost.disk_bytes / gb, "disk", free / gb))
    return found
