"""The seam for methods: a recipe answers a few questions, and the loop asks them. The defaults are GRPO.

    sampler(samples)             which prompt is next; told the rewards of every group
    plan(sample)                 how many completions of it, each perhaps of a changed image
    reject(group)                why a group must not train, or None
    rewards(group)               what its completions are paid, bonuses among them included
    normalize(group)             one advantage for each of its completions
    credit(groups)               one advantage for each token; sees the whole step
    views                        images that the learner shows the policy once more
    token_weight(batch)          a factor on each token's policy loss
    policy_loss(batch, logp)     the policy loss of each token
    extra_losses(batch, logp)    further losses of each token, by name
    figures(batch, logp)         what else belongs in the metrics

Hooks take and return immutable data. Losses are per token, and `step` reduces them all in one place, so that no
recipe can normalize wrongly. `a+b` runs two recipes together: each hook that calls `super()` adds to the others.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ovrl.errors import UsageError
from ovrl.plugins import did_you_mean, resolve, together
from ovrl.records import Sample
from ovrl.settings import Settings, validated
from ovrl.train import advantage, objective
from ovrl.train.batch import Batch
from ovrl.train.objective import PolicyLoss
from ovrl.train.order import PromptOrder
from ovrl.train.plan import Draw
from ovrl.train.recipes.table import RECIPES
from ovrl.train.sampler import Sampler
from ovrl.train.settings import ObjectiveSettings, TrainSettings
from ovrl.train.trajectory import Group
from ovrl.train.views import View

log = logging.getLogger(__name__)

S = TypeVar("S", bound=Settings)

_EXCLUSIVE = ("sampler", "plan", "policy_loss")
"""Questions that one recipe alone can answer; the others add up."""


class Recipe:
    """GRPO (arXiv:2402.03300) with the decoupled objective (arXiv:2505.24298)."""

    defaults: ClassVar[Mapping[str, Any]] = {}
    """Settings of the method by their dotted name below `train.objective`; what the user or a preset sets wins."""

    Options: ClassVar[type[Settings]] = Settings
    """Figures of the method itself, given as `train.objective.options`."""

    weighs_difficulty: ClassVar[bool] = False
    """Whether it favours some prompts for their share of right answers: two of those favour them twice."""

    def __init__(self, chosen: ObjectiveSettings | None = None, *, longest: int = 4096, seed: int = 42) -> None:
        """Take the settings; `make` does so for a run.

        Args:
            chosen: the objective as the user chose it; None: as it is by default.
            longest: tokens that a completion may have.
            seed: of the run, for what a method draws by lot.

        Raises:
            UsageError: the method's defaults and the choice do not go together, or an option is unknown.
        """
        self.seed = seed
        self.use(chosen or ObjectiveSettings(), longest=longest)

    def use(self, chosen: ObjectiveSettings, *, longest: int) -> None:
        """Take the settings in force from now on, as a schedule gives them for a step."""
        self.longest = longest
        self.objective = _laid_over(self.all_defaults(), chosen)
        self.options: Any = _options(type(self), self.objective.options)

    def sampler(self, samples: Sequence[Sample], *, seed: int, groups: int) -> Sampler:
        """Return what chooses the prompts.

        Args:
            samples: all prompts.
            seed: of the run.
            groups: of one step.
        """
        del groups
        return PromptOrder(len(samples), seed)

    def plan(self, sample: Sample, size: int) -> tuple[Draw, ...]:
        """Return how the completions of a prompt are drawn; together they are one group.

        Args:
            sample: the prompt.
            size: completions of a group (G).
        """
        del sample
        return (Draw(size),)

    def reject(self, group: Group) -> str | None:
        """Return why the group must not train, or None.

        A group with a completion that could not be judged would learn from the grader's failure. A group of which
        nothing is left to train is no group. One whose rewards all agree has no advantage, and only dilutes the
        mean (DAPO, arXiv:2503.14476).
        """
        rewards = group.rewards
        if any(reward is None for reward in rewards):
            return "unscored"
        if all(not tokens for tokens in self._tokens(group)):
            return "truncated"
        if self.objective.advantage.zero_variance == "reject" and len(set(self.rewards(group))) == 1:
            return "zero_variance"
        return None

    def rewards(self, group: Group) -> list[float]:
        """Return what each completion of a group is paid: its reward, less what its length costs, mapped."""
        chosen = self.objective.advantage
        paid: list[float] = []
        for trajectory in group.trajectories:
            assert trajectory.score.reward is not None, "groups that could not be judged are rejected"
            length = len(trajectory.token_ids)
            change = advantage.overlong(length, longest=self.longest, buffer=chosen.overlong_buffer)
            paid.append(advantage.mapped(trajectory.score.reward + change, chosen))
        return paid

    def normalize(self, group: Group) -> list[float]:
        """Return one advantage for each completion of a group, from what they are paid."""
        chosen = self.objective.advantage
        return advantage.in_group(self.rewards(group), baseline=chosen.baseline, scale=chosen.scale)

    def credit(self, groups: Sequence[Group]) -> list[list[list[float]]]:
        """Return advantages [group][completion][token], the same for every token of a completion.

        A completion without advantages (an empty list) is left out of the loss and of its counts.
        """
        credit = [
            [[value] * count for value, count in zip(self.normalize(group), self._tokens(group), strict=True)]
            for group in groups
        ]
        return advantage.whitened(credit) if self.objective.advantage.whiten else credit

    def _tokens(self, group: Group) -> list[int]:
        """Return how many tokens of each completion train."""
        skip = self.objective.advantage.truncated == "leave_out"
        return [0 if skip and t.finish_reason == "length" else len(t.token_ids) for t in group.trajectories]

    @property
    def views(self) -> tuple[View, ...]:
        """Changed images under which the learner finds each token's log-probability once more."""
        return ()

    def policy_loss(self, batch: Batch, logp: Tensor, proximal: Tensor) -> PolicyLoss:
        """Return the policy loss of each token, as the settings choose it.

        Args:
            batch: the micro-batch.
            logp: [b, t] natural-log probabilities under the policy being trained; carries the gradient.
            proximal: [b, t] the same under the policy that ratios divide by.
        """
        return objective.policy_loss(logp, proximal, batch.behaviour, batch.advantage, batch.mask, self.objective)

    def token_weight(self, batch: Batch, proximal: Tensor) -> Tensor:
        """Return [b, t] factors on the policy loss, beside the correction for another policy's tokens; 1 here."""
        del batch
        return torch.ones_like(proximal)

    def extra_losses(self, batch: Batch, logp: Tensor) -> dict[str, Tensor]:
        """Return further losses by name, [b, t] each; they are added to the policy loss.

        Here the pull towards the reference policy: coefficient x KL(pi || ref), equation 3 of arXiv:2402.03300, with
        its estimator k3 (equation 4) or another.
        """
        chosen = self.objective.kl
        if chosen.coefficient == 0:
            return {}
        pull = objective.divergence(logp, batch.aux["logp@ref"], batch.mask, estimator=chosen.estimator)
        return {"kl_loss": chosen.coefficient * pull}

    def figures(self, batch: Batch, logp: Tensor) -> dict[str, Tensor]:
        """Return quantities to log by name, [b, t] each; their mean over the step's tokens is written. None here."""
        del batch, logp
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, as JSON values; nothing here."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        del state

    @classmethod
    def all_defaults(cls) -> dict[str, Any]:
        """Return the defaults of the class and its parents; the nearest wins."""
        found: dict[str, Any] = {}
        for parent in reversed(cls.__mro__):
            found |= vars(parent).get("defaults", {})
        return found


def make(settings: TrainSettings, *, seed: int) -> Recipe:
    """Return the recipe that the settings name.

    Raises:
        UsageError: there is no such recipe, two of them answer the same question, or settings do not go together.
    """
    names = together(settings.recipe)
    classes = [resolve(name, RECIPES, "recipe") for name in names]
    for name, found in zip(names, classes, strict=True):
        if not (isinstance(found, type) and issubclass(found, Recipe)):
            raise UsageError(f"train.recipe: {name!r} is no class that extends ovrl.train.recipe.Recipe")
    if len(twice := [found.__name__ for found in classes if found.weighs_difficulty]) > 1:
        log.warning(
            "%s all weigh prompts by their difficulty; together with the group norm, which does so too, almost only "
            "those with even odds will train",
            " and ".join(twice),
        )
    kind = classes[0] if len(classes) == 1 else _together(settings.recipe, classes)
    return kind(settings.objective, longest=settings.sampling.max_new_tokens, seed=seed)


def _together(name: str, classes: list[type[Recipe]]) -> type[Recipe]:
    """Return one class that answers as all of them do."""
    for hook in _EXCLUSIVE:
        if (
            len(rivals := {found.__name__ for found in classes if getattr(found, hook) is not getattr(Recipe, hook)})
            > 1
        ):
            raise UsageError(f"train.recipe {name!r}: {' and '.join(sorted(rivals))} both answer `{hook}`; take one")
    defaults: dict[str, Any] = {}
    for found in classes:
        for key, value in found.all_defaults().items():
            if defaults.setdefault(key, value) != value:
                raise UsageError(f"train.recipe {name!r} wants objective.{key} to be {defaults[key]} and {value}")
    options = tuple(dict.fromkeys(found.Options for found in classes if found.Options is not Settings)) or (Settings,)
    try:
        return type(name, tuple(classes), {"Options": type("Options", options, {})})
    except TypeError as error:
        raise UsageError(f"train.recipe {name!r}: these recipes do not combine: {error}") from error


def _laid_over(defaults: Mapping[str, Any], chosen: ObjectiveSettings) -> ObjectiveSettings:
    """Return the settings, with the method's own where nothing was set."""
    if not defaults:
        return chosen
    values = chosen.model_dump(exclude_unset=True)
    for key, value in defaults.items():
        *parents, last = key.split(".")
        branch = values
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch.setdefault(last, value)
    return validated(ObjectiveSettings, values, "train.objective")


def _options(kind: type[Recipe], given: Mapping[str, Any]) -> Settings:
    """Return the method's own figures."""
    known = list(kind.Options.model_fields)
    for key in given:
        if key not in known:
            near = did_you_mean(key, known)
            names = f"known: {', '.join(known)}" if known else "it has none"
            raise UsageError(
                f"train.objective.options.{key}: {kind.__name__} has no such option.{near} Options: {names}"
            )
    return validated(kind.Options, given, "train.objective.options")
