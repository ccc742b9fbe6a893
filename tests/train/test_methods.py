"""Methods through the seam alone: sampler, plan, admission, credit, views and a real learner step, without the loop."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from ovrl.records import Sample, Score
from ovrl.rollout import prompt
from ovrl.rollout.engine import Generation
from ovrl.rollout.policy import Policy
from ovrl.rollout.transformers_engine import TransformersEngine
from ovrl.settings import keys
from ovrl.train import batch, plan, recipe
from ovrl.train.batch import Item
from ovrl.train.learner import Learner
from ovrl.train.recipe import Recipe
from ovrl.train.recipes.table import RECIPES
from ovrl.train.schedule import Schedule
from ovrl.train.settings import ObjectiveSettings, TrainSettings
from ovrl.train.trajectory import Group, Trajectory

SEED = 5


@dataclass
class Done:
    """One step of a method."""

    method: Recipe
    groups: list[Group]
    items: list[Item]
    figures: dict[str, Any]
    moved: bool


def sample_groups(
    policy: Policy, method: Recipe, samples: Sequence[Sample], settings: TrainSettings
) -> tuple[list[Group], list[prompt.Prompt]]:
    """Ask as the loop asks. Every other completion is right."""
    engine = TransformersEngine(policy, batch_size=64)
    sampler = method.sampler(samples, seed=SEED, groups=settings.batch.groups)
    rows = [sampler.row(gid) for gid in range(settings.batch.groups)]
    prompts = [prompt.build(samples[row]) for row in rows]
    asked = [
        request
        for gid, (row, built) in enumerate(zip(rows, prompts, strict=True))
        for request in plan.requests(
            gid,
            samples[row].id,
            built,
            method.plan(samples[row], settings.batch.group_size),
            settings.sampling.sampling(),
            seed=SEED,
            step=0,
        )
    ]
    made: dict[int, list[Generation]] = defaultdict(list)
    for generation in engine.generate(asked):
        assert isinstance(generation, Generation)
        made[int(generation.request_id.partition("/")[0])].append(generation)
    groups = [
        Group(
            gid=gid,
            sample=samples[row],
            trajectories=tuple(
                Trajectory(
                    k=g.k,
                    text=g.text,
                    token_ids=g.token_ids,
                    logprobs=g.logprobs,
                    versions=g.versions,
                    finish_reason=g.finish_reason,
                    score=Score(reward=float(g.k % 2)),
                )
                for g in sorted(made[gid], key=lambda g: g.k)
            ),
        )
        for gid, row in enumerate(rows)
    ]
    for row, group in zip(rows, groups, strict=True):
        sampler.observe(row, group.rewards, group.version_oldest)
    return groups, prompts


@pytest.fixture
def one_step(model, samples, tiny_settings) -> Callable[..., Done]:
    """Make one step by the settings of a run."""

    def step(**changes: Any) -> Done:
        settings = tiny_settings(**changes)
        method = recipe.make(settings, seed=SEED)
        policy = Policy.load(model)
        groups, prompts = sample_groups(policy, method, samples, settings)
        assert [method.reject(group) for group in groups] == [None] * len(groups)
        items = batch.items(groups, prompts, method.credit(groups))
        before = {name: value.clone() for name, value in policy.model.state_dict().items()}
        figures = Learner(policy, method, settings).step(items, 0)
        moved = any(not torch.equal(value, before[name]) for name, value in policy.model.state_dict().items())
        return Done(method, groups, items, figures, moved)

    return step


@pytest.mark.parametrize("name", ["dapo", "vade", "papo", "gspo", "dr_grpo", "noisy_rollout", "vade+papo+gspo+dapo"])
def test_every_method_makes_a_step_without_an_edit_to_the_loop(one_step, name):
    done = one_step(recipe=name)
    assert done.moved
    assert 0 < done.figures["grad_norm"] < float("inf")
    assert all(value is not None for value in done.figures.values())
    assert ("papo_kl" in done.figures) == ("papo" in name)


def test_gspo_trains_by_the_ratios_of_completions(one_step, tmp_path):
    """At the first update all ratios are 1: the loss is minus the mean over completions of the advantage.

    Which is the reward here, for the group norm would make it 0; half of the rewards are 1.
    """
    path = tmp_path / "raw.py"
    path.write_text(
        "from ovrl.train.recipes.gspo import Gspo\n\n\nclass Raw(Gspo):\n"
        "    def normalize(self, group):\n        return list(group.rewards)\n"
    )
    done = one_step(recipe=f"{path}:Raw", objective={"correction": {"token": "none"}})
    assert done.method.objective.level == "sequence"
    assert done.figures["loss"] == pytest.approx(-0.5, abs=1e-6)
    assert done.figures["clip_fraction"] == 0


def test_papo_is_silent_where_nothing_is_masked(one_step):
    nothing, much = (one_step(recipe="papo", objective={"options": {"mask": p}}).figures for p in (0.0, 0.9))
    assert nothing["papo_kl"] == pytest.approx(0, abs=1e-8)
    assert much["papo_kl"] < -1e-6  # a gain: the masked image reads otherwise
    plain = one_step().figures
    quiet = one_step(recipe="papo", objective={"options": {"mask": 0.0, "entropy": 0.0}}).figures
    assert quiet["grad_norm"] == pytest.approx(plain["grad_norm"], rel=1e-3)


def test_noisy_rollout_without_noise_samples_what_a_clean_group_samples(one_step):
    quiet, plain = one_step(recipe="noisy_rollout", objective={"options": {"noise": 0.0}}), one_step()
    assert [[t.token_ids for t in g.trajectories] for g in quiet.groups] == [
        [t.token_ids for t in g.trajectories] for g in plain.groups
    ]
    noisy = one_step(recipe="noisy_rollout", objective={"options": {"noise": 0.9}})
    first, second = (
        [t.token_ids for g in noisy.groups for t in g.trajectories if t.k in ks] for ks in ((0, 1), (2, 3))
    )
    assert first == [t.token_ids for g in plain.groups for t in g.trajectories if t.k in (0, 1)]
    assert second != [t.token_ids for g in plain.groups for t in g.trajectories if t.k in (2, 3)]


@pytest.mark.parametrize(
    "objective",
    [
        {"surrogate": "cispo"},
        {"anchor": "rollout", "correction": {"token": "none"}, "dual_clip": 3.0},
        {"level": "sequence_token", "aggregation": "groups", "correction": {"sequence": "mask"}},
        {"advantage": {"baseline": "leave_one_out", "scale": "none", "whiten": True}},
        {"aggregation": "constant", "correction": {"token": "truncate"}},
    ],
)
def test_choices_of_the_objective_train_the_same_under_any_micro_batch(one_step, objective):
    figures = [
        one_step(objective=objective, batch={"groups": 2, "group_size": 4, "max_tokens": budget}).figures
        for budget in (100_000, 1)
    ]
    assert figures[0]["grad_norm"] > 0
    for name in ("loss", "grad_norm", "entropy", "clip_fraction", "behaviour_masked"):
        assert figures[1][name] == pytest.approx(figures[0][name], rel=1e-3, abs=1e-5), name


@pytest.fixture
def sight(tmp_path) -> str:
    """The method that the documentation writes, as the file that it says."""
    text = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
    (code,) = re.findall(r"```python\n# sight\.py\n(.*?)```", text, flags=re.DOTALL)
    path = tmp_path / "sight.py"
    path.write_text(code)
    return f"{path}:Sight"


def test_the_method_of_the_documentation_trains_the_tokens_that_need_the_image(one_step, sight):
    done = one_step(recipe=sight, objective={"options": {"keep": 0.3}})
    assert done.moved
    everything = one_step(recipe=sight, objective={"options": {"keep": 1.0}})
    plain = one_step()
    assert everything.figures["grad_norm"] == pytest.approx(plain.figures["grad_norm"], rel=1e-3)
    assert done.figures["grad_norm"] != pytest.approx(plain.figures["grad_norm"], rel=1e-2)
    assert done.figures["behaviour_masked"] == plain.figures["behaviour_masked"]  # its own filter is no correction


def test_the_filter_of_the_documentation_keeps_the_share_it_says(sight):
    method = recipe.make(TrainSettings(recipe=sight, objective=ObjectiveSettings(options={"keep": 0.4})), seed=1)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False], [True] * 5])
    proximal = torch.full((3, 5), -1.0)
    change = torch.tensor([[0.1, 2.0, 0.0, -1.0, 0.2], [0.3, 0.1, 0.2, 9.0, 9.0], [0.0] * 5])
    masked = proximal + change
    masked[2] = torch.nan  # text alone
    batch = SimpleNamespace(mask=mask, aux={"logp@masked": masked})
    weight = method.token_weight(batch, proximal)
    assert weight[0].tolist() == [0.0, 1.0, 0.0, 1.0, 0.0]
    assert weight[1, :3].tolist() == [1.0, 0.0, 1.0]
    assert weight[2].tolist() == [1.0] * 5


def test_the_settings_of_the_documentation_are_settings():
    text = (Path(__file__).parents[2] / "docs" / "methods.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    schedule = Schedule(TrainSettings(recipe="noisy_rollout", **yaml.safe_load(block)["train"]))
    late = schedule.at(650)
    assert (late.sampling.max_new_tokens, late.objective.options["noise"]) == (4096, 0)
    assert late.objective.kl.coefficient == pytest.approx(0.05)
    table = text[text.index("## Recipes that are there") : text.index("## A method in one file")]
    named = set(re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line)))
    assert named - {"name"} == set(RECIPES)
    for key in re.findall(r"^\| `(\S+?)`", text[: text.index("## Recipes")], flags=re.MULTILINE):
        assert any(known.startswith(f"objective.{key}") for known in keys(TrainSettings)), key
