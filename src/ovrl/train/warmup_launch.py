"""From a model's name to a warmed-up directory; `tiny` is a model that is made here."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from ovrl.curate import synthetic
from ovrl.errors import UsageError
from ovrl.records import Sample
from ovrl.rejects import Rejects
from ovrl.rollout.policy import Policy
from ovrl.rollout.tiny import make_tiny
from ovrl.train.metrics import Metrics
from ovrl.train.warmup import saved_steps, warm_up
from ovrl.train.warmup_settings import WarmupSettings


def launch(
    samples: Sequence[Sample],
    model: str,
    out: Path,
    settings: WarmupSettings,
    *,
    rejects: Rejects,
    seed: int,
    on_step: Callable[[dict[str, float]], None],
) -> None:
    """Train `model` on the answers of the samples and write it, and its `metrics.jsonl`, to `out`.

    Args:
        samples: with gold answers; `meta["thinking"]` is the rationale of thinking samples.
        model: directory or hub id, or `tiny`: random weights, and a tokenizer that knows the words of the
            synthetic samples; other text is spelled out.
        out: the directory; the caller owns its manifest.
        settings: how long and how fast.
        rejects: takes samples whose images or marks are wrong.
        seed: of the weights of `tiny` and of the order of the samples.
        on_step: told the figures of each step.

    Raises:
        UsageError: there are no samples, or the model cannot be loaded.
    """
    if not samples:
        raise UsageError("no samples to warm up on")
    metrics = Metrics(out / "metrics.jsonl", saved_steps(out))

    def note(step: int, figures: dict[str, float]) -> None:
        line = {"step": step - 1, **figures}  # counted from 0, as in training
        metrics.write(line)
        on_step(line)

    with tempfile.TemporaryDirectory() as folder:
        if model == "tiny":
            make_tiny(Path(folder), seed=seed, texts=synthetic.texts(), phrases=synthetic.PHRASES)
            model = folder
        else:
            Policy.load(model)  # for its clear error; the weights are read again below
        warm_up(samples, model, out, settings, rejects=rejects, seed=seed, on_step=note)
    metrics.close()
