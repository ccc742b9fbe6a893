"""The processes of a run: rank 0 runs the loop and says what to do, the others follow.

Every rank enters every collective in the same order. What one rank alone could fail at (reading an image) comes
before them, and all hear of it; a rank that dies later breaks its connections, and so ends the others.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import DistributedType, parse_flag_from_env
from torch import distributed

from ovrl.errors import OvrlError, UsageError
from ovrl.train.settings import TrainSettings

LIMIT = timedelta(minutes=30)
"""Longest wait within a step."""

PATIENCE = timedelta(hours=12)
"""Longest wait for the next order: rank 0 samples meanwhile. A rank 0 that has died is noticed at once."""

_KINDS = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU, DistributedType.DEEPSPEED)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Order:
    """What rank 0 wants the others to do with it."""

    verb: str
    values: Any = None


class Ranks:
    """This process among those of the run; a single one does not notice the others' absence."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.count: int = accelerator.num_processes
        self.rank: int = accelerator.process_index
        # Orders are Python objects, so they go over the CPU, whatever carries the gradients.
        self._control: Any = distributed.new_group(backend="gloo", timeout=PATIENCE) if self.count > 1 else None

    @staticmethod
    def join(settings: TrainSettings) -> "Ranks":
        """Meet the other processes that `accelerate launch` started, if any.

        Raises:
            UsageError: they were started in a way that is not supported.
        """
        options = settings.learner
        sharded = parse_flag_from_env("ACCELERATE_USE_DEEPSPEED")
        cuda = options.device == "cuda" or (options.device == "auto" and torch.cuda.is_available())
        low = options.precision == "bfloat16" or (options.precision == "auto" and cuda)
        backend = None
        if sharded and not cuda:  # accelerate believes then that there is one process
            backend = "gloo"
            _compile_nothing()
        accelerator = Accelerator(
            cpu=not cuda and not sharded,  # or accelerate does without DeepSpeed, which finds the CPU by itself
            mixed_precision="bf16" if low else "no",
            kwargs_handlers=[
                InitProcessGroupKwargs(backend=backend, timeout=LIMIT),
            ],
        )
        kind = accelerator.distributed_type
        if kind not in _KINDS:
            raise UsageError(f"ovrl trains in one process, with DDP or with DeepSpeed; not with {kind.value}")
        if kind == DistributedType.DEEPSPEED:
            plugin: Any = accelerator.state.deepspeed_plugin
            if plugin.zero_stage not in (2, 3):
                raise UsageError(f"ovrl trains with DeepSpeed's ZeRO stages 2 and 3; not with {plugin.zero_stage}")
            plugin.deepspeed_config |= {
                "train_micro_batch_size_per_gpu": 1,  # DeepSpeed wants to know, and has no use for it
                "gradient_clipping": settings.optimizer.clip_norm,
            }
            if low:  # a gradient that is not finite is left out in 32 bits anyway, but in 16 only when asked
                plugin.deepspeed_config["bf16"] = {"enabled": True, "check_grad_overflow": True}
            if not cuda:
                plugin.deepspeed_config["zero_optimization"]["overlap_comm"] = False  # there are no streams
        return Ranks(accelerator)

    @property
    def zero(self) -> int:
        """DeepSpeed's ZeRO stage, 2 or 3; 0 without DeepSpeed."""
        if self.accelerator.distributed_type != DistributedType.DEEPSPEED:
            return 0
        return int(cast(Any, self.accelerator.state.deepspeed_plugin).zero_stage)

    def tell(self, verb: str, values: Any = None) -> None:
        """Say what to do; rank 0 alone calls this."""
        self._broadcast(Order(verb, values))

    def hear(self) -> Order:
        """Wait for what to do; all but rank 0 call this."""
        return self._broadcast(None)

    def together(self, work: Callable[[], T]) -> T:
        """Do what can fail on one rank alone, and return its result.

        Raises:
            OvrlError: on every rank, if it failed on one; with that rank's message.
        """
        try:
            made = work()
        except BaseException as error:
            if self.count > 1:
                self._compare(_Failure(isinstance(error, UsageError), _line(error)))
            raise
        self._compare(None)
        return made

    @contextmanager
    def watching(self) -> Generator[None]:
        """Say in one line that another rank is gone, in place of what its broken connection says.

        Raises:
            OvrlError: it is.
        """
        try:
            yield
        except RuntimeError as error:
            lost = isinstance(error, distributed.DistError) or "closed by peer" in str(error)  # NCCL's; gloo's
            if self.count > 1 and lost:
                raise OvrlError("another rank has ended in the middle of a step; its own message says why") from error
            raise

    def gather(self, value: T) -> list[T]:
        """Return the value of every rank, on every rank."""
        if self._control is None:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value, group=self._control)
        return values

    def _compare(self, failure: "_Failure | None") -> None:
        """Raise on every rank if one of them has failed."""
        for rank, found in enumerate(self.gather(failure)):
            if found is not None:
                raise (UsageError if found.usage else OvrlError)(f"rank {rank}: {found.line}")

    def _broadcast(self, order: Order | None) -> Order:
        if self._control is not None:
            box = [order]
            distributed.broadcast_object_list(box, src=0, group=self._control)
            order = box[0]
        assert order is not None
        return order

    def close(self) -> None:
        """Send the others home, if this is rank 0, and leave."""
        if self._control is None:
            return
        if self.rank == 0:
            with suppress(RuntimeError):  # who has died needs no telling
                self.tell("stop")
        self._control = None
        distributed.destroy_process_group()


def _compile_nothing() -> None:
    """Keep DeepSpeed from building its own collectives for ranks on one CPU: gloo does.

    It would compile C++ at the first start, for minutes, and wait for ever where such a build was interrupted once.
    """
    from deepspeed import ops

    cast(Any, ops).__compatible_ops__["deepspeed_shm_comm"] = False


@dataclass(frozen=True, slots=True)
class _Failure:
    """What went wrong on a rank."""

    usage: bool
    line: str


def _line(error: BaseException) -> str:
    return str(error) if isinstance(error, OvrlError) else f"{type(error).__name__}: {error}"
