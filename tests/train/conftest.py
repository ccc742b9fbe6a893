"""A tiny random policy and what training on it needs; made once, for it takes seconds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ovrl.curate import synthetic
from ovrl.records import Sample
from ovrl.rollout.tiny import make_tiny
from ovrl.train.settings import TrainSettings

RULE = '''
from ovrl.records import Score


def parity(record):
    """Reward replies whose length is even: something that a random model can learn."""
    value = float(len(record["completion"]) % 2 == 0)
    return Score(reward=value, components={"accuracy": value})
'''


@pytest.fixture(scope="session")
def samples() -> list[Sample]:
    return [s.with_prompt_type("normal") for s in synthetic.generate("pool", 6, seed=5)]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> str:
    folder = tmp_path_factory.mktemp("model")
    make_tiny(folder, seed=3, texts=[sample.question.problem for sample in samples])
    return str(folder)


@pytest.fixture(scope="session")
def rule(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("rule") / "parity_rule.py"
    path.write_text(RULE)
    return f"{path}:parity"


@pytest.fixture
def tiny_settings(rule: str) -> Callable[..., TrainSettings]:
    def make(**changes: object) -> TrainSettings:
        values = {
            "steps": 4,
            "save_every": 2,
            "eta": 0,
            "batch": {"groups": 2, "group_size": 4, "max_tokens": 4096},
            "sampling": {"max_new_tokens": 6},
            "score": {"reward": rule, "workers": 1},
            "optimizer": {"lr": 1e-3},
            "learner": {"device": "cpu"},
        }
        return TrainSettings.model_validate(values | changes)

    return make
