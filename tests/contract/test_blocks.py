"""Whom each person does not want to see."""

from common.ids import UserId
from tests.contract.conftest import Bus

ANN, BOB, CYD = UserId("ann"), UserId("bob"), UserId("cyd")


async def test_blocks_are_entered_removed_and_read_together(bus: Bus) -> None:
    assert await bus.set_block(ANN, BOB, blocked=True)
    assert not await bus.set_block(ANN, BOB, blocked=True)
    assert await bus.set_block(ANN, CYD, blocked=True)
    assert await bus.blocks_of([ANN, BOB]) == {ANN: {BOB, CYD}, BOB: frozenset()}
    assert await bus.set_block(ANN, BOB, blocked=False)
    assert not await bus.set_block(ANN, BOB, blocked=False)
    assert await bus.blocks_of([ANN]) == {ANN: {CYD}}
    assert await bus.blocks_of([]) == {}
