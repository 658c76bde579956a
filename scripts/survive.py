"""Kill everything at random moments and see that nothing but the unfinished epoch is lost.

    python -m scripts.survive --rounds 60 --seed 0

Each round waits a moment, does harm (kill -9 of the worker, its training step, submitit's process, the web process,
a launcher in the middle of a launch, an admin in the middle of a promotion; the job database deleted; a stop, a
cancel, a retry), repairs what an admin would repair, and checks what must hold. One line a round; exit code 1 where
something did not hold. The seed decides what is done; when a process is hit depends on the machine.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dermdemo.errors import DermdemoError
from dermdemo.jobs import states
from dermdemo.jobs.records import ACTIVE, ENDS
from dermdemo.jobs.store import View
from scripts.survival import World, kill, over, settings_of

WAIT = 8.0
DRAIN = 600.0  # seconds for each of the last jobs to end, on a busy machine too
FORK = multiprocessing.get_context("fork")


@dataclass
class Survival:
    """The rounds on one state folder.

    Attributes:
        whole: share of the jobs that are whole retrainings.
        wait: seconds before the harm of a round, at most. `unfinished`: jobs that are kept going.
        kills: process kind -> how often it was killed. `faults`: what did not hold.
    """

    world: World
    rng: random.Random
    whole: float = 0.0
    wait: float = WAIT
    unfinished: int = 2
    kills: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)  # jobs whose step was killed: they may fail

    def round(self, number: int, harm: str) -> None:
        """Do one harm, repair, check, and say what was done."""
        self._keep_going()
        self.world.hand_over()  # before a new job can come to its gate, and again for those that harm leaves
        time.sleep(self.rng.uniform(0, self.wait))
        done = getattr(self, harm)()
        self.world.hand_over()
        if self.world.web is None:
            self.world.start_web()
        views, wrong = self.world.settled()
        wrong += self._check(views)
        wrong += self._repair(views)
        self.faults += [f"round {number}: {w}" for w in wrong]
        live, versions = self.world.registry.switch().live, len(self.world.registry.numbers())
        jobs = " ".join(f"{v.id}:{v.state}{'@' + v.history.step if v.state in ACTIVE else ''}" for v in views[-4:])
        print(f"round {number:>3}  {harm:<16}{done:<44}{jobs}  live {live} of {versions}"
              f"{'  FAULT: ' + '; '.join(wrong) if wrong else ''}", flush=True)

    # -- harm ----------------------------------------------------------------------------------------------------

    def kill_worker(self) -> str:
        return self._kill("started", "worker")

    def kill_step(self) -> str:
        return self._kill("step", "step")

    def kill_controller(self) -> str:
        return self._kill("launched", "controller")

    def kill_web(self) -> str:
        self.world.kill_web()
        self.kills["web"] += 1
        return "web"

    def kill_both(self) -> str:
        return f"{self.kill_worker()}, {self.kill_web()}"

    def kill_launcher(self) -> str:
        """A launcher dies between the queue and the worker: in the claim, in submitit, or just after."""
        said = ""
        if self._views(*ACTIVE) and self.rng.random() < 0.7:  # else there may be no place to launch at
            said = f"{self.kill_worker()}; "
        many = len(self._views("queued", "lost", "failed", *ACTIVE)) > 2 * self.unfinished
        act = self.world.jobs.tick if many else lambda: self.world.launch("launcher", whole=False)
        self.kills["launcher"] += 1
        if self.rng.random() < 0.5:
            self._hurt(act, 1.5)
            return f"{said}launching"
        hit = self._hurt_in_submitit(act)
        self.kills["submitting"] += hit
        return f"{said}launching{', submitting' if hit else ''}"

    def kill_admin(self) -> str:
        """An admin's process dies somewhere in a switch."""
        number = self.rng.choice(self.world.registry.numbers())
        self._hurt(lambda: self._switch(number), 2.0)
        self.kills["admin"] += 1
        return f"in a switch to {number}"

    def kill_adding(self) -> str:
        """A process dies while it hands a set in."""
        source = self.world.folder / "sets" / "1"
        self._hurt(lambda: self.world.registry.add(source, who="by hand"), 4.0)
        self.kills["adding"] += 1
        return "in handing a set in"

    def nothing(self) -> str:
        """A round in which jobs get on."""
        time.sleep(3 * self.wait)
        return "done"

    def lose_database(self) -> str:
        """The index goes while a job runs, and its worker with it now and then."""
        for path in self.world.jobs.store.jobs.glob("jobs.sqlite*"):
            path.unlink(missing_ok=True)
        return "and " + self.kill_worker() if self.rng.random() < 0.5 else "alone"

    def promote(self) -> str:
        number = self.rng.choice(self.world.registry.numbers())
        self._switch(number)
        return f"to {number}"

    def promote_twice(self) -> str:
        """Two admins click at once, in two processes."""
        numbers = [self.rng.choice(self.world.registry.numbers()) for _ in range(2)]
        admins = [FORK.Process(target=self._switch, args=(n,)) for n in numbers]
        for admin in admins:
            admin.start()
        for admin in admins:
            admin.join()
        if any(a.exitcode for a in admins):
            self.faults.append(f"an admin's switch among {numbers} failed")
        return f"to {numbers[0]} and {numbers[1]}"

    def stop(self) -> str:
        return self._ask("stop", (*ACTIVE, "lost", "failed"))

    def cancel(self) -> str:
        return self._ask("cancel", ("queued", *ACTIVE))

    # -- parts of them -------------------------------------------------------------------------------------------

    def _views(self, *wanted: str) -> list[View]:
        return [v for v in self.world.jobs.store.views(self.world.jobs.probe) if v.state in wanted]

    def _kill(self, kind: str, name: str) -> str:
        for view in self._views(*ACTIVE):
            if kill(self.world.pid_of(view, kind)):
                self.kills[name] += 1
                if kind == "step":
                    self.expected.add(view.id)
                return f"{name} of {view.id}"
        return f"no {name} there"

    def _hurt(self, act: Callable[[], object], most: float) -> None:
        """Let a process of its own act, and kill it after a random while, rather sooner than later."""
        def run() -> None:
            os.setsid()
            act()

        process = FORK.Process(target=run)
        process.start()
        process.join(most * self.rng.random() ** 2)
        kill(process.pid)
        process.join()

    def _hurt_in_submitit(self, act: Callable[[], object]) -> int:
        """Let a process launch, and kill it and whoever starts the worker for it; how many of these were hit."""
        process = FORK.Process(target=act)
        process.start()
        end = time.monotonic() + 3
        while process.is_alive() and not self.world.submitting() and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.2 * self.rng.random())
        hit = sum(map(kill, self.world.submitting()))
        kill(process.pid)
        process.join()
        return hit

    def _switch(self, number: int) -> None:
        registry = self.world.registry
        (registry.rollback if number == 0 else registry.promote)(number, who="an admin")

    def _ask(self, action: str, allowed: Sequence[str]) -> str:
        found = self._views(*allowed)
        if not found:
            return "nothing there"
        view = self.rng.choice(found)
        try:
            self.world.jobs.act(view.id, action, who="an admin")  # type: ignore[arg-type]
        except DermdemoError as error:
            return f"{view.id}: {error}"[:33]  # it ended in between
        return view.id

    def _keep_going(self) -> None:
        views = self.world.jobs.store.views(self.world.jobs.probe)
        for _ in range(self.unfinished - sum(not over(v) for v in views)):
            self.world.launch("somebody", whole=self.rng.random() < self.whole)

    def _check(self, views: list[View]) -> list[str]:
        found = [said for view in views for said in self.world.epochs(view)]
        found += [f"{v.id} failed: {v.history.reason}" for v in views
                  if v.state == "failed" and v.id not in self.expected]
        try:
            return found + list(self.world.models())
        except (DermdemoError, AssertionError, OSError) as error:
            return [*found, f"{type(error).__name__}: {error}"]

    def _repair(self, views: list[View]) -> list[str]:
        """Resume what broke off; now and then begin it anew, or keep what it reached."""
        found = []
        for view in views:
            if view.state not in ("lost", "failed"):
                continue
            action = self.rng.choices(("resume", "retry", "stop"), (8, 1, 1))[0]
            self.expected.discard(view.id)
            if action == "stop" and not (view.folder.path / "work" / "II" / "last.pt").exists():
                action = "resume"
            try:
                self.world.jobs.act(view.id, action, who="an admin")  # type: ignore[arg-type]
            except DermdemoError as error:
                found.append(f"{view.id} cannot be repaired by {action}: {error}")
        return found

    def drain(self) -> None:
        """Without further harm every job ends."""
        views = self.world.jobs.store.views(self.world.jobs.probe)
        end = time.monotonic() + DRAIN * sum(not over(v) for v in views)
        while time.monotonic() < end:
            views, wrong = self.world.settled()
            self.faults += [f"at the end: {w}" for w in wrong + self._repair(views)]
            if all(over(v) for v in views):
                break
            time.sleep(1)
        views = self.world.jobs.store.views(self.world.jobs.probe)
        self.faults += [f"at the end: {v.id} is {v.state}: {v.history.reason}" for v in views if not over(v)]
        self.faults += [f"at the end: {w}" for w in self._check(views)]
        ends = Counter(v.state for v in views if v.state in ENDS)
        print("ended: " + ", ".join(f"{n} {state}" for state, n in ends.items()), flush=True)


HARM = ("nothing", "kill_worker", "kill_step", "kill_controller", "kill_web", "kill_both", "kill_launcher",
        "kill_admin", "kill_adding", "lose_database", "promote", "promote_twice", "stop", "cancel")
OFTEN = (4, 4, 2, 1, 1, 2, 3, 2, 2, 2, 2, 2, 2, 1)


def main(argv: Sequence[str] | None = None) -> int:
    """The rounds; 1 if something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further round after so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grace", type=float, default=60.0, help="seconds until a launch that died counts as lost")
    parser.add_argument("--whole", type=float, default=0.1, help="share of jobs that are whole retrainings")
    parser.add_argument("--only", choices=HARM, help="this harm in every round")
    args = parser.parse_args(argv)
    states.START_GRACE = args.grace
    began, rng = time.monotonic(), random.Random(args.seed)
    with tempfile.TemporaryDirectory(prefix="dermdemo-survive-") as folder:
        os.environ.update(settings_of(Path(folder)))
        survival = Survival(World(Path(folder), args.grace), rng, args.whole)
        try:
            survival.world.add_candidates()
            done = 0
            while done < args.rounds and time.monotonic() - began < args.minutes * 60:
                done += 1
                survival.round(done, args.only or rng.choices(HARM, OFTEN)[0])
            survival.drain()
        finally:
            survival.world.close()
    kills = ", ".join(f"{n} {name}" for name, n in sorted(survival.kills.items()))
    print(f"seed {args.seed}: {done} rounds in {(time.monotonic() - began) / 60:.1f} min; "
          f"killed: {kills or 'nothing'}; {len(survival.faults)} faults")
    for fault in survival.faults:
        print(f"  {fault}", file=sys.stderr)
    return int(bool(survival.faults))


if __name__ == "__main__":
    raise SystemExit(main())
