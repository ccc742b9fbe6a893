import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ovrl.rollout.slots import Slots, rounded_columns, rounded_rows

LAYERS, HEADS, SIZE = 2, 3, 4

Part = list[tuple[torch.Tensor, torch.Tensor]]


def states(rows: int, columns: int, generator: torch.Generator) -> Part:
    shape = (rows, HEADS, columns, SIZE)
    return [(torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)) for _ in range(LAYERS)]


@given(seed=st.integers(0, 2**32), plan=st.lists(st.sampled_from(["enter", "step", "step", "leave"]), max_size=40))
def test_slots_hold_what_each_row_has_read(seed: int, plan: list[str]):
    """Beside them, a list of rows that keeps everything apart."""
    generator = torch.Generator().manual_seed(seed)
    slots, rows = Slots(40), list[Part]()

    def length(row: Part) -> int:
        return row[0][0].shape[2]

    for action in ["enter", *plan]:
        if action == "enter" and len(rows) < 30:
            count, columns = 1 + seed % 5, 1 + len(rows) * 7 % 50
            prompt = states(1, columns, generator)
            slots.write(len(rows), len(rows) + count, prompt)
            rows += [list(prompt) for _ in range(count)]
        elif action == "step" and rows:
            size = rounded_rows(len(rows))
            places = torch.tensor([length(row) for row in rows] + [0] * (size - len(rows)))
            slots.aim(places, max(map(length, rows)) + 1)
            assert slots.columns == rounded_columns(max(map(length, rows)) + 1)
            for number, new in enumerate(states(size, 1, generator)):
                got = slots.cache.update(*new, number)
                for i, row in enumerate(rows):
                    row[number] = tuple(
                        torch.cat([old, n[i : i + 1]], 2) for old, n in zip(row[number], new, strict=True)
                    )
                    for found, want in zip(got, row[number], strict=True):
                        assert torch.equal(found[i : i + 1, :, : want.shape[2]], want)
                assert all(part.isfinite().all() for part in got)
        elif action == "leave" and len(rows) > 1 and slots.columns:
            slots.move([len(rows) - 1], [0])
            rows[0] = rows.pop()


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 16, 32), (16, 16, 32), (17, 32, 32), (33, 48, 64)])
def test_shapes_come_in_blocks(count: int, rows: int, columns: int):
    assert (rounded_rows(count), rounded_columns(count)) == (rows, columns)
