from hypothesis import given
from hypothesis import strategies as st

from ovrl.train.order import PromptOrder


@given(rows=st.integers(1, 30), seed=st.integers(0, 5))
def test_each_epoch_shows_every_row_once_in_an_order_of_its_own(rows: int, seed: int):
    order = PromptOrder(rows, seed)
    epochs = [[order.row(epoch * rows + i) for i in range(rows)] for epoch in range(3)]
    assert all(sorted(epoch) == list(range(rows)) for epoch in epochs)
    if rows > 10:
        assert epochs[0] != epochs[1]


def test_a_row_depends_on_seed_and_number_alone():
    forward = PromptOrder(7, seed=1)
    wanted = [forward.row(gid) for gid in range(20)]
    backward = PromptOrder(7, seed=1)
    assert [backward.row(gid) for gid in reversed(range(20))] == wanted[::-1]
    assert [PromptOrder(7, seed=2).row(gid) for gid in range(20)] != wanted
