"""How much faster than sampling and training in turns the asynchronous loop is, and at what age of the tokens.

    python benchmarks/async.py               in virtual time: a minute of CPU
    python benchmarks/async.py --real        also with an engine and a trainer that sleep, on this machine's clock

Workload W128: 32 groups of 16, 128 slots, lognormal lengths (mean 600, log-sd 0.8, cap 4096), training as long as
generation at full occupancy (R = 1), handing over of weights 0.05 of it. The loop is the one of production; engine,
learner and clock take time and do nothing else.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovrl.errors import OvrlError
from ovrl.records import Question, Sample
from ovrl.rejects import Rejects
from ovrl.rollout.engine import Generation, Refusal, Request
from ovrl.rollout.source import Source
from ovrl.train import fake, loop
from ovrl.train.books import Books
from ovrl.train.engine_thread import EngineThread, whole
from ovrl.train.learner_thread import LearnerThread
from ovrl.train.ledger import Ledger
from ovrl.train.metrics import Metrics
from ovrl.train.order import PromptOrder
from ovrl.train.settings import TrainSettings
from ovrl.train.virtual import InstantScorer, Slots, VirtualLoop, VirtualRollouts, VirtualTrainer, Workload

SAMPLES = [Sample(id=f"s{i}", question=Question()) for i in range(1000)]


@dataclass(frozen=True)
class Figures:
    """What a run came to."""

    step: float
    """Time of a step, in units of G."""
    rate: float
    """Trained tokens in each unit of time."""
    age_mean: float
    age_max: int
    waste: float
    """Share of the sampled tokens that were not trained."""
    length: float
    """Mean length of trained completions / that of the data."""
    bound: float
    """Speed-up at best, as the run itself predicts it."""
    efficiency: float
    cpu: float
    """CPU seconds for each completion."""


class SleepingEngine:
    """An engine in real time: a decoding step lasts `tau` seconds, and new weights take `publish` of them."""

    def __init__(self, workload: Workload, tau: float) -> None:
        self._workload, self._tau = workload, tau
        self._slots = Slots(workload)
        self._changed = threading.Condition()
        self._done, self._since, self._is_paused, self._is_closed = 0.0, time.monotonic(), False, False

    @property
    def version(self) -> int:
        return self._slots.version

    def _advance(self) -> None:
        now = time.monotonic()
        if not self._is_paused:
            self._done += (now - self._since) / self._tau
        self._since = now

    def generate(self, requests: Iterable[Request | None]) -> Iterator[Generation | Refusal]:
        source, queue = Source(requests), deque[tuple[str, int]]()
        while not source.ended or queue or self._slots.next_end is not None:
            hungry = False
            while self._slots.free and not hungry:
                if not queue:
                    request = source.pull()
                    hungry = request is None
                    queue.extend((request.id, k) for k in request.seeds) if request else None
                if queue:
                    with self._changed:
                        self._advance()
                        self._slots.enter(*queue.popleft(), self._done)
            with self._changed:
                if self._is_closed:
                    raise OvrlError("the engine is closed")
                self._advance()
                ended = list(self._slots.ended(self._done))
                if not ended and (end := self._slots.next_end) is not None:
                    pause = max(0.0, (end - self._done) * self._tau)
                    self._changed.wait(min(pause, 0.002) if hungry else pause)
            yield from ended

    def load(self, weights: object, version: int) -> None:
        with self._changed:
            self._advance()
            self._is_paused = True
        time.sleep(self._workload.publish_ratio * self._workload.work * self._tau)
        with self._changed:
            self._advance()
            self._slots.load(version, self._done)
            self._is_paused = False
            self._changed.notify_all()

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


class SleepingLearner(fake.DigestLearner):
    """A learner that takes its time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def step(self, items: Any, number: int) -> dict[str, Any]:
        time.sleep(self._seconds)
        return {"tokens_trained": items}


def parts(run: Path, workload: Workload, eta: int, steps: int, tau: float | None) -> loop.Parts:
    """Return the parts of a run in virtual time, or in real time with decoding steps of `tau` seconds."""
    options = TrainSettings.model_validate(
        {
            "steps": steps,
            "eta": eta,
            "save_every": 10**6,
            "batch": {"groups": workload.groups, "group_size": workload.group_size},
            "learner": {"rollout_batch": workload.slots},
        }
    )
    ledger = Ledger(workload.groups, eta, steps=steps, lead=min(eta, 1) * workload.groups)
    books = Books(run, ledger, PromptOrder(len(SAMPLES), 0), SAMPLES)
    books.resume(None)
    if tau is None:
        rollouts: loop.Rollouts = (virtual := VirtualRollouts(workload))
        trainer: loop.Trainer = VirtualTrainer(workload, virtual)
    else:
        engine = SleepingEngine(workload, tau)
        learner = SleepingLearner(workload.train_ratio * workload.work * tau)
        asking = whole(workload.group_size, options.sampling.sampling(), seed=0)
        rollouts = EngineThread(engine, SAMPLES, asking, max_pixels=1)
        trainer = LearnerThread(
            learner,
            engine,
            run,
            options,
            method=fake.Centred(),
            items=lambda groups, prompts, credit: sum(len(t.token_ids) for g in groups for t in g.trajectories),
        )
    return loop.Parts(
        settings=options,
        samples=SAMPLES,
        books=books,
        rollouts=rollouts,
        trainer=trainer,
        scorer=InstantScorer(),
        reject=lambda group: None,
        rejects=Rejects(None),
        metrics=Metrics(run / "metrics.jsonl", 0),
        version=0,
    )


def measure(workload: Workload, eta: int, steps: int, tau: float | None = None) -> Figures:
    """Make a run and return its figures, without its beginning and its end."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        made = parts(Path(folder), workload, eta, steps, tau)
        lines: list[dict[str, Any]] = []
        began = time.process_time()
        if tau is None:
            loop.train(made, lines.append, VirtualLoop)
        else:
            loop.train(made, lines.append)
        cpu = time.process_time() - began
    ledger = made.books.ledger
    kept = lines[steps // 5 : -max(2, eta)]
    tokens = sum(line["tokens_trained"] for line in kept)
    seconds = sum(line["time_step_s"] for line in kept)
    lengths = [workload.length(gid, k) for gid in range(ledger.planned) for k in range(workload.group_size)]
    per_step = workload.groups * workload.group_size
    return Figures(
        step=seconds / len(kept) / workload.work / (tau or 1.0),
        rate=tokens / seconds * (tau or 1.0),
        age_mean=sum(line["age_mean"] * line["tokens_trained"] for line in kept) / tokens,
        age_max=max(line["age_max"] for line in lines),
        waste=1 - sum(line["tokens_trained"] for line in lines) / sum(lengths),
        length=tokens / len(kept) / per_step / statistics.fmean(lengths),
        bound=statistics.fmean(line["speedup_bound"] for line in kept),
        efficiency=statistics.fmean(line["async_efficiency"] for line in kept),
        cpu=cpu / len(lines) / per_step,
    )


GOALS = {(1.0, 2): (2.5, 2.5), (1.0, 4): (2.85, 2.5), (2.0, 4): (0.95 * 2.03, 1.5)}
"""(R, eta) -> smallest speed-up, largest mean age."""


def table(name: str, steps: int, share: float, tau: float | None = None) -> tuple[bool, float]:
    """Print the runs; return whether the goals, times `share`, are met, and CPU seconds for each completion."""
    print(f"\n{name}\n R  eta  step/G  speed-up  goal   age mean  max  waste  length  bound  efficiency  us/completion")
    good, cpu = True, 0.0
    for ratio in (1.0, 2.0):
        workload = Workload(train_ratio=ratio)
        base = measure(workload, 0, steps // 4, tau)
        for eta in (0, 1, 2, 4) if tau is None else (2, 4):
            found = measure(workload, eta, steps, tau) if eta else base
            goal, oldest = GOALS.get((ratio, eta), (0.0, float("inf")))
            speedup = found.rate / base.rate
            met = speedup >= share * goal and found.age_mean <= oldest and found.age_max <= eta
            met = met and abs(found.waste) < 1e-9 and abs(found.length - 1) < 0.01
            print(
                f"{ratio:2.0f}  {eta:3d}  {found.step:6.3f}  {speedup:8.3f}  {share * goal:5.2f}  {found.age_mean:8.2f}"
                f"  {found.age_max:3d}  {found.waste:5.3f}  {found.length:6.4f}  {found.bound:5.2f}"
                f"  {found.efficiency:10.2f}  {found.cpu * 1e6:13.0f}  {'' if met else '<-- missed'}",
                flush=True,
            )
            good, cpu = good and met, max(cpu, found.cpu)
    return good, cpu


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--steps", type=int, default=120)
    arguments.add_argument("--real", action="store_true")
    given = arguments.parse_args()
    good, cpu = table("virtual time", given.steps, 1.0)
    print(f"\ncontroller, virtual engine and scorer included: {1 / cpu:.0f} completions in a CPU second (goal 2000)")
    good = good and cpu <= 1 / 2000
    if given.real:
        tau = 0.5 / Workload().work
        good = table("real time, G = 0.5 s, 90 % of the goals", given.steps // 2, 0.9, tau)[0] and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
