import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ovrl.curate import rules
from ovrl.curate.settings import CurateSettings, PassThresholds
from ovrl.records import Evidence, Question

CHOICE = Question(problem="A. a B. b C. c D. d", answer=("A",), answer_type="multiple-choice")
NUMBER = Question(problem="How many?", answer=("3",), answer_type="number")
BOX = Question(problem="Where?", answer=("[0, 0, 1, 1]",), answer_type="bbox")


def scored(*accuracies, truncated=0):
    """One completion each; None is one that could not be scored."""
    return [
        Evidence(
            sample_id="s",
            k=k,
            reward=None if value is None else value + 0.5,  # a bonus that must not count
            status="timeout" if value is None else "ok",
            finish_reason="length" if k < truncated else "stop",
            answer_type="any",
            accuracy=value,
        )
        for k, value in enumerate(accuracies)
    ]


def hits(correct, n=16):
    return scored(*[1.0] * correct, *[0.0] * (n - correct))


@pytest.mark.parametrize(
    ("rule", "question", "evidence", "reason"),
    [
        ("paper", NUMBER, hits(3), "kept"),
        ("paper", NUMBER, hits(0), "all_wrong"),
        ("paper", NUMBER, hits(16), "all_correct"),
        ("paper", NUMBER, hits(15), "gap_low"),  # 1 - 15/16 < 0.1
        ("paper", NUMBER, hits(10), "outside_band"),  # gap 0.375, mean 0.625
        ("gap", NUMBER, hits(10), "kept"),
        ("band", NUMBER, hits(10), "outside_band"),
        ("band", NUMBER, hits(9), "kept"),  # 0.5625
        ("band", NUMBER, hits(6, n=10), "outside_band"),  # 0.6 is not inside
        ("band", NUMBER, hits(0), "all_wrong"),
        ("band", NUMBER, hits(16), "all_correct"),
        ("band", BOX, scored(0.4, 0.3, 0.2, 0.4), "kept"),  # no hit, but the original's rule
        ("paper", BOX, scored(0.4, 0.3, 0.2, 0.4), "all_wrong"),
        ("paper", BOX, scored(0.6, 0.3, 0.2, 0.4), "kept"),  # one hit at the threshold 0.5
        ("paper", BOX, scored(0.95, 0.9, 0.95, 0.1), "outside_band"),
        ("paper", CHOICE, hits(4), "kept"),  # a guess: exactly what `default` refuses
        ("default", CHOICE, hits(4), "gap_low"),
        ("default", CHOICE, hits(3), "gap_low"),
        ("default", CHOICE, hits(8), "kept"),
        ("default", CHOICE, hits(11), "kept"),  # 0.6875, of which 0.58 is knowledge
        ("paper", CHOICE, hits(11), "outside_band"),
        ("default", NUMBER, hits(4), "kept"),
        ("default", NUMBER, [], "no_evidence"),
        ("band", NUMBER, [], "no_evidence"),
        ("default", NUMBER, scored(None, None), "too_many_errors"),
        ("default", NUMBER, scored(0.0, None), "too_many_errors"),  # not "all_wrong"
        ("default", NUMBER, scored(1.0, 0.0, 0.0, None), "kept"),  # exactly 0.25 is allowed
    ],
)
def test_verdicts(rule, question, evidence, reason):
    settings = CurateSettings(rule=rule)
    verdict = rules.decide(rules.measure(evidence, question, settings), settings)
    assert verdict == rules.Verdict(reason == "kept", reason)


def test_statistics_by_hand():
    got = rules.measure(scored(1.0, 0.0, None, 0.0, 0.0, truncated=2), NUMBER, CurateSettings())
    assert (got.n, got.correct, got.k) == (4, 1, 2)
    assert got.pass_at_1 == pytest.approx(0.25)
    assert got.pass_at_k == pytest.approx(0.5)  # 1 - C(3,2)/C(4,2)
    assert got.gap == pytest.approx(0.25)
    assert got.mean_reward == pytest.approx(0.25)
    assert got.std_reward == pytest.approx(0.4330127)  # sqrt(3)/4
    assert got.truncated_rate == pytest.approx(0.4)
    assert got.error_rate == pytest.approx(0.2)


def test_gap_at_k_2_is_the_outcome_variance():  # p(1-p), methods.md 5.5
    got = rules.measure(hits(3, n=10), NUMBER, CurateSettings(k=2))
    assert got.gap == pytest.approx(3 * 7 / (10 * 9))


@pytest.mark.parametrize(
    ("n", "total", "asked", "want"),
    [
        (16, 16, None, 8),
        (15, 16, None, 8),  # one error does not change k
        (3, 3, None, 2),
        (2, 2, None, 2),
        (1, 1, None, 1),
        (0, 4, None, None),
        (16, 16, 4, 4),
        (3, 3, 8, 3),
    ],
)
def test_choice_of_k(n, total, asked, want):
    assert rules.choose_k(n, total, asked) == want


@given(
    st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=20),
    st.integers(1, 5),
    st.sampled_from(["default", "paper", "gap", "band"]),
)
def test_errors_never_count_as_wrong(values, errors, rule):
    settings = CurateSettings(rule=rule, k=2, max_error_rate=1.0)
    without = rules.measure(scored(*values), NUMBER, settings)
    within = rules.measure(scored(*values, *[None] * errors), NUMBER, settings)
    assert (within.n, within.correct, within.mean_reward) == (without.n, without.correct, without.mean_reward)
    assert rules.decide(within, settings) == rules.decide(without, settings)


def test_correction_can_be_switched_off():
    settings = CurateSettings(correct_chance=False)
    assert rules.decide(rules.measure(hits(4), CHOICE, settings), settings).keep


def test_correction_keeps_certainties():
    certain = rules.measure(hits(16), CHOICE, CurateSettings()).corrected()
    assert (certain.pass_at_1, certain.pass_at_k, certain.gap) == (1.0, 1.0, 0.0)


def test_pass_threshold_decides_what_is_correct():
    strict = CurateSettings(pass_threshold=PassThresholds(bbox=0.9))
    values = scored(0.95, 0.6, 0.6, 0.1)
    assert rules.measure(values, BOX, CurateSettings()).correct == 3
    assert rules.measure(values, BOX, strict).correct == 1
    assert rules.measure(scored(0.99, 1.0), NUMBER, strict).correct == 1


@pytest.mark.parametrize("wrong", [{"band": (0.6, 0.0)}, {"k": 0}, {"min_gap": 2}, {"rule": "best"}, {"bands": 1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        CurateSettings(**wrong)
