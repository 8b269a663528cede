"""Some cells of the table in docs/chaos.md, one of each kind: the rest is played by `make chaos`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.chaos.arena import Arena, arena
from bench.chaos.cells import FEW, Cell, cells
from bench.chaos.play import play

pytestmark = pytest.mark.timeout(900)

CELLS = [cell for cell in cells() if cell.name in FEW]


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with arena(tmp_path_factory.mktemp("chaos")) as made:
        yield made


def test_there_are_enough_of_them() -> None:
    assert len(CELLS) == len(FEW)
    assert len(list(cells())) >= 60


@pytest.mark.parametrize("cell", CELLS, ids=[cell.name for cell in CELLS])
def test_whatever_happens_the_traffic_ends_where_it_should(chaos: Arena, cell: Cell) -> None:
    chaos.reset()
    result = play(chaos, cell)
    assert not result.wrong, result
