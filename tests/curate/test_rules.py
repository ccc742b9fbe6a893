import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scored import evidence, hits, score

from ovrl.curate import rules
from ovrl.curate.settings import CurateSettings, PassThresholds

CHOICE, OPEN = 0.25, 0.0  # chance levels


def scored(*accuracies):
    return [score("s", k, value) for k, value in enumerate(accuracies)]


def box(*overlaps):
    return scored(*overlaps), 0.5


def measured(records, chance=OPEN, settings=None, threshold=1.0):
    return rules.measure(evidence(records).of("s", threshold), chance, settings or CurateSettings())


@pytest.mark.parametrize(
    ("rule", "chance", "records", "reason"),
    [
        ("paper", OPEN, hits("s", 3), "kept"),
        ("paper", OPEN, hits("s", 0), "all_wrong"),
        ("paper", OPEN, hits("s", 16), "all_correct"),
        ("paper", OPEN, hits("s", 15), "gap_low"),  # 1 - 15/16 < 0.1
        ("paper", OPEN, hits("s", 10), "outside_band"),  # gap 0.375, mean 0.625
        ("gap", OPEN, hits("s", 10), "kept"),
        ("band", OPEN, hits("s", 10), "outside_band"),
        ("band", OPEN, hits("s", 9), "kept"),  # 0.5625
        ("band", OPEN, hits("s", 6, n=10), "outside_band"),  # 0.6 is not inside
        ("band", OPEN, hits("s", 0), "all_wrong"),
        ("band", OPEN, hits("s", 16), "all_correct"),
        ("pass-count", OPEN, hits("s", 7), "kept"),
        ("pass-count", OPEN, hits("s", 1), "kept"),
        ("pass-count", OPEN, hits("s", 8), "outside_pass_count"),
        ("pass-count", OPEN, hits("s", 0), "all_wrong"),
        ("band", OPEN, box(0.4, 0.3, 0.2, 0.4), "kept"),  # no hit, but the original's rule
        ("paper", OPEN, box(0.4, 0.3, 0.2, 0.4), "all_wrong"),
        ("paper", OPEN, box(0.6, 0.3, 0.2, 0.4), "kept"),  # one hit at the threshold 0.5
        ("paper", OPEN, box(0.95, 0.9, 0.95, 0.1), "outside_band"),
        ("paper", CHOICE, hits("s", 4), "kept"),  # a guess: exactly what `default` refuses
        ("default", CHOICE, hits("s", 4), "guessing"),
        ("default", CHOICE, hits("s", 7), "guessing"),  # 7 of 16 or more happen to a guesser in 8 % of cases
        ("default", CHOICE, hits("s", 8), "kept"),
        ("default", CHOICE, hits("s", 11), "kept"),  # 0.6875, of which 0.58 is knowledge
        ("paper", CHOICE, hits("s", 11), "outside_band"),
        ("default", CHOICE, hits("s", 12), "outside_band"),
        ("default", OPEN, hits("s", 4), "kept"),
        ("default", OPEN, [], "no_evidence"),
        ("band", OPEN, [], "no_evidence"),
        ("default", OPEN, scored(None, None), "too_many_errors"),
        ("default", OPEN, scored(0.0, None), "too_many_errors"),  # not "all_wrong"
        ("default", OPEN, scored(1.0, 0.0, 0.0, None), "kept"),  # exactly 0.25 is allowed
        # several, in the fixed order: pass-count, gap, band
        ("band+pass-count", OPEN, hits("s", 10), "outside_pass_count"),
        ("pass-count+gap", OPEN, hits("s", 10), "outside_pass_count"),
        ("gap+band", OPEN, hits("s", 15), "gap_low"),
        ("band+gap", OPEN, hits("s", 15), "gap_low"),
        ("default+pass-count", CHOICE, hits("s", 8), "outside_pass_count"),
        ("pass-count+default", CHOICE, hits("s", 7), "guessing"),
    ],
)
def test_verdicts(rule, chance, records, reason):
    records, threshold = records if isinstance(records, tuple) else (records, 1.0)
    settings = CurateSettings(rule=rule)
    verdict = rules.decide(measured(records, chance, settings, threshold), settings)
    assert verdict == rules.Verdict(reason == "kept", reason)


def test_the_names_of_a_combination_have_no_order():
    settings = [CurateSettings(rule=rule) for rule in ("gap+band", "band+gap", "paper", "paper+gap")]
    for correct in range(17):
        verdicts = {rules.decide(measured(hits("s", correct), CHOICE, one), one) for one in settings}
        assert len(verdicts) == 1


def test_statistics_by_hand():
    records = scored(1.0, 0.0, None, 0.0, 0.0)
    for record in records[:2]:
        record["finish_reason"] = "length"  # cut off, but answered
    got = measured(records)
    assert (got.counts.total, got.counts.n, got.counts.correct, got.k) == (5, 4, 1, 2)
    assert got.pass_at_1 == pytest.approx(0.25)
    assert got.pass_at_k == pytest.approx(0.5)  # 1 - C(3,2)/C(4,2)
    assert got.gap == pytest.approx(0.25)
    assert got.counts.mean == pytest.approx(0.25)
    assert got.counts.std == pytest.approx(0.4330127)  # sqrt(3)/4
    assert (got.counts.truncated, got.counts.unanswered, got.counts.errors) == (2, 0, 1)


def test_completions_cut_off_before_an_answer_are_not_wrong():
    cut = {"finish_reason": "length", "status": "no_answer"}
    records = [*hits("s", 2, n=6), *(score("s", k, 0.0, **cut) for k in range(6, 16))]
    got = measured(records)
    assert (got.counts.n, got.counts.correct, got.counts.unanswered) == (6, 2, 10)
    assert rules.decide(got, CurateSettings()).reason == "truncated"  # 10 of 16 say nothing
    assert rules.decide(got, CurateSettings(max_truncated_rate=0.7)).keep
    silent = [score("s", k, 0.0, status="no_answer") for k in range(16)]
    assert rules.decide(measured(silent), CurateSettings()).reason == "all_wrong"  # it stopped by itself


def test_gap_at_k_2_is_the_outcome_variance():  # p(1-p), methods.md 5.5
    assert measured(hits("s", 3, n=10), settings=CurateSettings(k=2)).gap == pytest.approx(3 * 7 / (10 * 9))


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
    st.sampled_from(["default", "paper", "gap", "band", "pass-count", "default+pass-count"]),
)
def test_errors_never_count_as_wrong(values, errors, rule):
    settings = CurateSettings(rule=rule, k=2, max_error_rate=1.0)
    without = measured(scored(*values), settings=settings)
    within = measured(scored(*values, *[None] * errors), settings=settings)
    assert within.counts[1:5] == without.counts[1:5]
    assert rules.decide(within, settings) == rules.decide(without, settings)


@given(st.integers(1, 40), st.data(), st.sampled_from(["default", "paper", "gap", "band", "pass-count"]))
def test_every_count_has_a_verdict(n, data, rule):
    correct, chance = data.draw(st.integers(0, n)), data.draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
    settings = CurateSettings(rule=rule)
    counts = rules.Counts(n, n, correct, correct / n, 0.0, 0, 0, 0)
    verdict = rules.decide(rules.measure(counts, chance, settings), settings)
    assert verdict.keep == (verdict.reason == "kept")
    assert verdict.reason in rules.EXPLANATIONS
    if correct in (0, n):
        assert not verdict.keep or rule == "pass-count"


@pytest.mark.parametrize(
    ("chance", "kept"),
    [("off", range(1, 10)), ("subtract", range(5, 12)), ("bound", range(8, 10)), ("both", range(8, 12))],
)
def test_each_way_of_correcting(chance, kept):
    """Of 16 four-choice completions: what is kept, worked out by hand from the band, the gap and Bin(16, 1/4)."""
    settings = CurateSettings(chance=chance)
    got = [c for c in range(17) if rules.decide(measured(hits("s", c), CHOICE, settings), settings).keep]
    assert got == list(kept)


def test_correction_keeps_certainties():
    certain = measured(hits("s", 16), CHOICE).corrected()
    assert (certain.pass_at_1, certain.pass_at_k, certain.gap) == (1.0, 1.0, 0.0)


def test_pass_threshold_decides_what_is_correct():
    records = scored(0.95, 0.6, 0.6, 0.1)
    known = evidence(records)
    assert known.of("s", PassThresholds().of("bbox")).correct == 3
    assert known.of("s", PassThresholds(bbox=0.9).of("bbox")).correct == 1
    assert known.of("s", PassThresholds(bbox=0.9).of("number")).correct == 0


@pytest.mark.parametrize(
    ("weight", "want"), [("uniform", 1.0), ("gap", 9 / 10 - 3 / 16), ("variance", 3 / 16 * 13 / 16)]
)
def test_weights(weight, want):
    settings = CurateSettings(selection={"weight": weight})
    assert rules.weigh(measured(hits("s", 3), settings=settings), settings) == pytest.approx(want)


@pytest.mark.parametrize(
    "wrong",
    [
        {"band": (0.6, 0.0)},
        {"k": 0},
        {"min_gap": 2},
        {"rule": "best"},
        {"rule": "gap+"},
        {"pass_count": (5, 2)},
        {"bands": 1},
        {"selection": {"size": 0}},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        CurateSettings(**wrong)
