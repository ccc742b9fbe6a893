"""Supervised warm-up: teach a model the form of the answers, so that reinforcement has something to reward.

Cross-entropy on the answers alone; prompts carry no loss. Any image-text-to-text model will do, in one process
or under `accelerate launch`.
"""

import logging
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ovrl import images
from ovrl.errors import RecordError, UsageError
from ovrl.records import Sample, derive_seed
from ovrl.rejects import Rejects
from ovrl.rollout import models, prompt
from ovrl.train.warmup_settings import WarmupSettings

log = logging.getLogger(__name__)

SAVE_EVERY = 200
"""Steps between the states that an interrupted warm-up goes on from."""

_STATE = "state.pt"

IGNORED = -100
"""Label of a token that carries no loss."""


@dataclass(frozen=True, slots=True)
class Example:
    """One sample as the model sees it, prompt and answer joined."""

    tokens: Mapping[str, Tensor]
    """Input ids and what else goes with each token, every one of shape [length]."""
    vision: Mapping[str, Tensor]
    """What the processor made of the images; rows of several samples are stacked along the first axis."""
    labels: Tensor
    """[length] the token itself within the answer and its end mark, `IGNORED` elsewhere."""


def target(sample: Sample) -> str:
    """Return the reply to be learned: the first gold answer, after its rationale in thinking mode."""
    question = sample.question
    answer = f"<answer>{question.answer[0]}</answer>"
    if question.prompt_type == "normal":
        return answer
    return f"<think>{question.meta.get('thinking', '')}</think>{answer}"


def encode(processor: Any, sample: Sample) -> Example:
    """Return the sample as tokens, pixels and labels."""
    text = processor.apply_chat_template(prompt.messages(sample), add_generation_prompt=True, tokenize=False)
    pictures = [images.load(image) for image in sample.images]
    inputs = processor(text=[text], images=pictures or None, return_tensors="pt")
    ids: Tensor = inputs["input_ids"]
    # The reply is tokenized alone: joined to the prompt as text, its first token could melt into the prompt.
    reply: list[int] = processor.tokenizer(target(sample), add_special_tokens=False)["input_ids"]
    answer = torch.tensor([*reply, processor.tokenizer.eos_token_id])
    per_token = {name: value for name, value in inputs.items() if value.shape == ids.shape}
    after = {"input_ids": answer, "attention_mask": torch.ones_like(answer)}
    tokens = {
        name: torch.cat([value[0], after.get(name, torch.zeros_like(answer))]) for name, value in per_token.items()
    }
    vision = {name: value for name, value in inputs.items() if name not in per_token}
    labels = torch.cat([torch.full_like(ids[0], IGNORED), answer])
    return Example(tokens, vision, labels)


def collate(examples: Sequence[Example], pad_token: int) -> tuple[dict[str, Tensor], Tensor]:
    """Return the inputs of a batch, padded on the right, and its labels [batch, longest]."""
    inputs = {
        name: pad_sequence(
            [example.tokens[name] for example in examples],
            batch_first=True,
            padding_value=pad_token if name == "input_ids" else 0,
        )
        for name in examples[0].tokens
    }
    for name in {name for example in examples for name in example.vision}:
        inputs[name] = torch.cat([example.vision[name] for example in examples if name in example.vision])
    labels = [example.labels for example in examples]
    return inputs, pad_sequence(labels, batch_first=True, padding_value=IGNORED)


def answer_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Return the summed cross-entropy of the labeled tokens, in nats, and their number.

    Args:
        logits: [batch, length, vocabulary]; those at t predict token t + 1.
        labels: [batch, length] token ids, `IGNORED` where there is no loss.
    """
    wanted = labels[:, 1:]
    kept = wanted != IGNORED
    loss = functional.cross_entropy(logits[:, :-1][kept].float(), wanted[kept], reduction="sum")
    return loss, int(kept.sum())


def plan(count: int, *, steps: int, batch_size: int, seed: int) -> list[list[int]]:
    """Return for each step the indices of its samples: one shuffled epoch over `count` after the other.

    Not bucketed by length: batches of neighbors in length need less padding, but each then holds one kind of
    task. In one run of 400 steps each, the tiny model's pass@1 was 0.10 with buckets and 0.12 without.
    """
    rng = random.Random(seed)
    order: list[int] = []
    while len(order) < steps * batch_size:
        epoch = list(range(count))
        rng.shuffle(epoch)
        order += epoch
    return [order[step * batch_size : (step + 1) * batch_size] for step in range(steps)]


def learning_rate(step: int, settings: WarmupSettings) -> float:
    """Return the learning rate of `step`, counted from 0: a linear rise, then a cosine to a tenth."""
    rise = max(1, round(settings.warmup_share * settings.steps))
    if step < rise:
        return settings.lr * (step + 1) / rise
    done = (step - rise) / max(1, settings.steps - rise)
    return settings.lr * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def warm_up(
    samples: Sequence[Sample],
    model_path: str,
    out: Path,
    settings: WarmupSettings,
    *,
    seed: int,
    on_step: Callable[[int, dict[str, float]], None],
    rejects: Rejects | None = None,
) -> None:
    """Train the model on the answers of `samples` and write it to `out`, a Hugging Face directory.

    Resumable: every `SAVE_EVERY` steps the state goes to `out`, and a later call goes on from there.

    Args:
        samples: tasks with at least one gold answer each; `meta["thinking"]` is the rationale, if any.
        model_path: a Hugging Face directory or hub id.
        out: made if absent.
        settings: see there.
        seed: of the order of the samples.
        on_step: told of every step, counted from 1, in the main process: loss (nats per token), lr,
            grad_norm, tokens.
        rejects: takes samples whose images or marks are wrong; None: they end the warm-up.

    Raises:
        UsageError: no sample fits `max_length`, or the batch cannot be shared among the processes.
    """
    patchy = DistributedDataParallelKwargs(find_unused_parameters=any(not sample.images for sample in samples))
    accelerator = Accelerator(kwargs_handlers=[patchy])
    if settings.batch_size % accelerator.num_processes:
        raise UsageError(f"batch_size {settings.batch_size} cannot be shared by {accelerator.num_processes} processes")
    # Single precision whatever the checkpoint holds: steps of this size vanish in 16 bits.
    loaded: tuple[Any, Any] = models.load(model_path, torch.float32)
    model, processor = loaded
    examples = _encode_all(processor, samples, settings.max_length, rejects)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.lr, betas=(0.9, 0.95), weight_decay=settings.weight_decay
    )
    start = _restore(out, model, optimizer)
    model, optimizer = accelerator.prepare(model, optimizer)
    model.train()
    batches = plan(
        len(examples),
        steps=settings.steps,
        batch_size=settings.batch_size,
        seed=derive_seed(seed, "warmup"),
    )
    for step, batch in enumerate(batches):
        if step < start:
            continue
        mine = batch[accelerator.process_index :: accelerator.num_processes]
        inputs, labels = collate([examples[index] for index in mine], processor.tokenizer.pad_token_id)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings)
        metrics = _step(accelerator, model, optimizer, inputs, labels, settings.clip_norm)
        if accelerator.is_main_process:
            on_step(step + 1, {**metrics, "lr": learning_rate(step, settings)})
        if (step + 1) % SAVE_EVERY == 0:
            _keep(accelerator, model, optimizer, out, step + 1)
    _save(accelerator, model, processor, out)


def saved_steps(out: Path) -> int:
    """Return how many steps an interrupted warm-up in `out` has kept."""
    path = out / _STATE
    return int(torch.load(path, weights_only=True, map_location="cpu")["step"]) if path.exists() else 0


def _restore(out: Path, model: Any, optimizer: Any) -> int:
    """Bring model and optimizer to where an interrupted warm-up was and return its steps."""
    path = out / _STATE
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True, map_location="cpu")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    log.info("going on from step %d", state["step"])
    return int(state["step"])


def _keep(accelerator: Accelerator, model: Any, optimizer: Any, out: Path, step: int) -> None:
    """Write the state of a warm-up under way, whole or not at all."""
    weights = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        temporary = out / f".{_STATE}"
        torch.save({"step": step, "model": weights, "optimizer": optimizer.state_dict()}, temporary)
        temporary.replace(out / _STATE)


def _encode_all(processor: Any, samples: Sequence[Sample], max_length: int, rejects: Rejects | None) -> list[Example]:
    """Return every sample that fits, encoded: each image is opened and cut into patches once."""
    examples: list[Example] = []
    for sample in samples:
        try:
            examples.append(encode(processor, sample))
        except RecordError as error:
            if rejects is None:
                raise
            rejects.add(error, record_id=sample.id)
    short = [example for example in examples if len(example.labels) <= max_length]
    if not short:
        raise UsageError(f"none of the {len(samples)} warm-up samples has at most {max_length} tokens")
    if len(short) < len(examples):
        log.warning("%d samples are longer than %d tokens: left out", len(examples) - len(short), max_length)
    return short


def _step(
    accelerator: Accelerator,
    model: Any,
    optimizer: Any,
    inputs: Mapping[str, Tensor],
    labels: Tensor,
    clip_norm: float,
) -> dict[str, float]:
    """Take one optimizer step on the mean over the labeled tokens of all processes; return its figures."""
    device = accelerator.device
    logits = model(**{name: value.to(device) for name, value in inputs.items()}, use_cache=False).logits
    total, count = answer_loss(logits, labels.to(device))
    sums: Any = accelerator.reduce(torch.stack([total.detach(), torch.tensor(float(count), device=device)]))
    loss_sum, tokens = sums.tolist()
    # DDP averages gradients over the processes; times their number it is the sum that the mean needs.
    accelerator.backward(total * accelerator.num_processes / tokens)
    norm = accelerator.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    optimizer.zero_grad()
    return {
        "loss": loss_sum / tokens,
        "grad_norm": float(norm) if norm is not None else 0.0,
        "tokens": tokens,
    }


def _save(accelerator: Accelerator, model: Any, processor: Any, out: Path) -> None:
    """Write the Hugging Face directory; every process must call this, sharded weights are gathered."""
    state = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        cast(Any, accelerator.unwrap_model(model)).save_pretrained(out, state_dict=state)
        processor.save_pretrained(out)
        (out / _STATE).unlink(missing_ok=True)
    accelerator.wait_for_everyone()
