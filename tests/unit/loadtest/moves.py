"""What generators would return of a room of two who send ten updates each."""

from collections.abc import Iterable
from typing import Any

from loadtest.accounting import OrderReceipts, SenderRecord, TransformReceipts
from loadtest.generator import ClosedSocket, GeneratorResult
from loadtest.moving import Moved
from loadtest.plan import Plan
from loadtest.usage import Window
from tests.unit.loadtest.results import histogram_of, window_of

PLAN = Plan(
    run_id="r",
    urls=("http://a",),
    rooms=1,
    members_per_room=2,
    rate=10.0,
    seconds=1.0,
    warmup_s=0.0,
    drain_s=0.0,
    chats_per_second=1.0,
)
FULL = range(1, 11)


def generator_result(*receivers: Iterable[int], latency_us: int = 1_500) -> GeneratorResult:
    """The result of two members; each receiver is the numbers that it got of both."""
    result = GeneratorResult(window_received=40, window_s=1.0, cpu_s=[0.1], window_frames=20, window_reads=10)
    for number, seqs in enumerate(receivers):
        user_id = PLAN.user_id(PLAN.own_members()[number])
        result.member_of[user_id] = PLAN.own_members()[number]
        result.senders[user_id] = SenderRecord(1, 10, 2)
        receipts = TransformReceipts(PLAN.user_id(member) for member in PLAN.own_members())
        for seq in seqs:
            for sender in PLAN.own_members():
                receipts.receive(PLAN.user_id(sender), seq)
                result.transform_latency.record(latency_us)
        result.transforms.add(receipts)
        result.order.add(0, OrderReceipts(), is_open=True)
        result.lag.record(300)
    result.second_latency = {0: histogram_of(latency_us), 2: histogram_of(latency_us, latency_us)}
    return result


def moved(*receivers: Iterable[int], closed: int = 0, window: Window | None = None, **options: Any) -> Moved:
    result = generator_result(*receivers, **options)
    result.closed = [ClosedSocket(f"u{number}", 4403, "banned") for number in range(closed)]
    return Moved.of(PLAN, result, 100.0, window or window_of(work=40))
