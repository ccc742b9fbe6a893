import io
import logging
import sys
from collections import deque
from types import SimpleNamespace

import pytest

from ovrl.cli import live

LINE = {
    "step": 2, "reward_mean": 0.5, "accuracy_mean": 0.4, "reward_by_type": {"stem": 0.25},
    "age_mean": 1.5, "age_max": 3, "lead": 2.0, "completion_tokens": 62.0, "truncated_rate": 0.25,
    "time_step_s": 10.0, "time_wait_s": 1.0, "time_engine_wait_s": 2.0, "tokens_trained": 500,
    "speedup": 2.5, "speedup_bound": 3.0, "entropy": 1.25, "behaviour_kl": None, "grad_norm": 0.5,
    "groups_used": 8, "groups_rejected": {"zero_variance": 2},
}  # fmt: skip


def test_the_table_says_what_a_person_wants_to_know():
    shown = dict(live.rows(8, deque([LINE | {"time_step_s": 20.0}, LINE])))
    assert shown["step"] == "3 of 8, 1 min 15 s left"
    assert shown["by type"] == "stem 0.25"
    assert shown["age"] == "mean 1.5, max 3 steps behind; lead 2"
    assert shown["waits"] == "trainer 7%, engine 13%"
    assert shown["speed"] == "33 tokens/s, 15.00 s a step"
    assert shown["overlap"] == "2.5 times sampling and training in turns; 3 at best"
    assert shown["policy"].endswith("behaviour KL -, gradient 0.5")
    assert shown["groups"] == "8 trained, rejected: 2 zero_variance"


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (65, "1 min 05 s"), (7380, "2 h 03 min")])
def test_durations(seconds: float, text: str):
    assert live._duration(seconds) == text


def test_on_a_terminal_the_table_is_drawn_and_log_lines_stand_above_it(monkeypatch: pytest.MonkeyPatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    handler = logging.StreamHandler(terminal)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    session = SimpleNamespace(verbosity="normal", as_json=False)
    with live.watching(session, "train stage 1", 8) as on_step:
        on_step(LINE)
        logging.getLogger("any").warning("a word")
        assert handler.stream is not terminal
    assert handler.stream is terminal
    drawn = terminal.getvalue()
    assert "3 of 8" in drawn
    assert "a word" in drawn
