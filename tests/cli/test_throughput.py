from ovrl.cli.throughput import Throughput


def test_speeds_are_of_this_run_and_ends_of_all():
    seconds = iter([100.0, 100.0, 110.0])
    speed = Throughput(total=200, now=lambda: next(seconds))
    assert speed.line({"completions": 40, "completion_tokens": 400, "truncated": 10}) == "stop 30, length 10"
    counts = {
        "completions": 100,
        "completion_tokens": 2400,
        "truncated": 30,
        "finish_error": 5,
        "rejected": 2,
        "saved": 40,
    }
    # 60 completions of 2000 tokens in 10 s; 60 of the 200 are neither made nor saved, and take as long
    assert speed.line(counts) == (
        "6 completions/s; 200 tokens/s; 10 s left; stop 65, length 30, error 5; rejected 2; saved 40"
    )


def test_without_a_total_nothing_is_said_of_the_time_left():
    seconds = iter([0.0, 0.0, 2.0])
    speed = Throughput(total=None, now=lambda: next(seconds))
    speed.line({})
    assert speed.line({"completions": 1, "completion_tokens": 7}) == "0.5 completions/s; 3.5 tokens/s; stop 1"


def test_long_times_are_told_in_hours():
    seconds = iter([0.0, 0.0, 3600.0])
    speed = Throughput(total=3, now=lambda: next(seconds))
    speed.line({})
    assert "2 h 0 min left" in speed.line({"completions": 1, "completion_tokens": 1})
