"""A run of the production loop without torch, that a process of its own makes in a moment, and that can be killed.

python scripted.py RUN ETA                 make the run, or go on with it
python scripted.py FOLDER ETA --points     kill it at every record of its journal, in several ways; print the runs
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ovrl.records import Question, Sample
from ovrl.rejects import Rejects
from ovrl.rollout.engine import Engine, Request
from ovrl.rollout.fake import ScriptedEngine
from ovrl.train import checkpoint, fake, loop
from ovrl.train.books import Books
from ovrl.train.controller import Scorer
from ovrl.train.engine_thread import EngineThread, whole
from ovrl.train.learner_thread import LearnerThread
from ovrl.train.ledger import Ledger
from ovrl.train.metrics import Metrics
from ovrl.train.order import PromptOrder
from ovrl.train.settings import TrainSettings
from ovrl.train.virtual import InstantScorer

STEPS, LONG, SEED = 4, 40, 1
RULE = """
from ovrl.records import Score
def rule(record):
    return Score(reward=float(record["completion"][:1] == "0"))
"""
SAMPLES = [Sample(id=f"s{i}", question=Question(problem=f"problem {i}")) for i in range(7)]


def reply(request: Request, k: int, seed: int) -> str:
    """Short and long replies, some groups of which all have the same reward."""
    return str(seed % 3) * (1 + seed % 5 * (k + 1))


def reward(text: str) -> float:
    return float(text[0] == "0")


def settings(eta: int, steps: int = STEPS) -> TrainSettings:
    values = {"steps": steps, "eta": eta, "save_every": 2, "batch": {"groups": 2, "group_size": 3}}
    return TrainSettings.model_validate(values)


def make(
    run: Path,
    options: TrainSettings,
    *,
    engine: Engine | None = None,
    scorer: Scorer | None = None,
    learner_class: type[fake.DigestLearner] = fake.DigestLearner,
    on_step: Callable[[dict[str, Any]], None] = lambda line: None,
) -> Books:
    """Do what `launch` does, with a scripted engine and a learner without a model."""
    run.mkdir(exist_ok=True)
    point = checkpoint.latest(run)
    learner = learner_class(point.path if point else None)
    version = point.step if point else 0
    if point:
        point.restore(learner)
    groups = options.batch.groups
    ledger = Ledger(groups, options.eta, steps=options.steps, refills=3, lead=min(1, options.eta) * groups)
    books = Books(run, ledger, PromptOrder(len(SAMPLES), SEED), SAMPLES)
    books.resume(point.progress() if point else None)
    engine = engine or ScriptedEngine(reply, batch_size=8)
    asking = whole(options.batch.group_size, options.sampling.sampling(), SEED)
    parts = loop.Parts(
        settings=options,
        samples=SAMPLES,
        books=books,
        rollouts=EngineThread(engine, SAMPLES, asking, options.batch.max_pixels),
        trainer=LearnerThread(learner, engine, run, options, method=fake.Centred(), items=fake.lesson),
        scorer=scorer or InstantScorer(reward),
        reject=fake.same_rewards,
        rejects=Rejects(None),
        metrics=Metrics(run / "metrics.jsonl", version),
        version=version,
    )  # fmt: skip
    loop.train(parts, on_step)
    (run / "final.txt").write_text(learner.digest)
    return books


def kill_at(record: int, way: str) -> None:
    """Have this process killed when it notes its n-th event.

    Args:
        record: n, from 1.
        way: `lost`, before anything of it is on the disk; `torn`, in the middle of its line; `kept`, right after it.
    """
    original, count = Books._note, 0

    def note(self: Books, name: str, **values: object) -> None:
        nonlocal count
        count += 1
        if count == record and way == "lost":
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, name, **values)
        if count == record:
            self._spool.sync()
            journal = self._journal
            if way == "torn":
                journal._waiting[-1] = journal._waiting[-1][: len(journal._waiting[-1]) // 2]
            journal.sync()
            os.kill(os.getpid(), signal.SIGKILL)

    Books._note = note


def forked(run: Path, eta: int, record: int | None = None, way: str = "") -> int:
    """Make the run in a fork of this process, and return how that ended."""
    pid = os.fork()
    if pid == 0:
        if record is not None:
            kill_at(record, way)
        make(run, settings(eta))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def points(folder: Path, eta: int) -> None:
    """Kill a run at every record that its journal gets, each time in a folder of its own, and go on with it."""
    os.fsync = lambda descriptor: None  # what was written outlives a kill; only power cuts ask for more
    folder.mkdir(exist_ok=True)
    for way in ("lost", "torn", "kept") if eta == 0 else ("lost", "kept"):
        for record in range(1, 200):
            run = folder / f"{way}-{record:03d}"
            code = forked(run, eta, record, way)
            if code == 0:
                break
            assert code == -signal.SIGKILL, code
            assert forked(run, eta) == 0, run
            print(run.name, flush=True)


def child_engine(model: str, options: object) -> ScriptedEngine:
    """Return the engine of a child process."""
    del model, options
    return ScriptedEngine(reply, batch_size=8)


class Unhurried(fake.DigestLearner):
    """Leaves time for a kill."""

    def step(self, items: Any, number: int) -> dict[str, Any]:
        time.sleep(0.1)
        return super().step(items, number)


def with_processes(run: Path, eta: int, *, engine: bool) -> None:
    """Make a longer run with real workers, and perhaps a real engine process."""
    from ovrl.reward.pool import ScorePool
    from ovrl.reward.settings import ScoreSettings

    rule = run.with_name("first_sign.py")
    rule.write_text(RULE)
    made: Engine | None = None
    if engine:
        from ovrl.rollout.engine_process import EngineProcess
        from ovrl.rollout.settings import EngineSettings

        made = EngineProcess("none", EngineSettings(processes=1), engine=f"{__file__}:child_engine")
    with ScorePool(ScoreSettings(reward=f"{rule}:rule", workers=1)) as pool:
        make(run, settings(eta, LONG), engine=made, scorer=pool, learner_class=Unhurried)


if __name__ == "__main__":
    place, eta = Path(sys.argv[1]), int(sys.argv[2])
    if "--points" in sys.argv:
        points(place, eta)
    elif "--pool" in sys.argv or "--engine" in sys.argv:
        with_processes(place, eta, engine="--engine" in sys.argv)
    else:
        make(place, settings(eta))
