"""Faults are planted among synthetic receipts; each must be found, and nothing else."""

from dataclasses import replace

import pytest

from loadtest.accounting import (
    JUMP_MAX,
    OrderReceipts,
    OrderSightings,
    OrderTotals,
    SenderRecord,
    TransformReceipts,
    TransformSightings,
    TransformTotals,
    settle_order,
    settle_transforms,
)

SENDERS = ("ann", "bob")
EPOCH = 1_700_000_000_000


def intended_us(_sender, seq):
    return seq * 50_000


def settle(receivers, *, first=1, last=10, notices_us=(), unknown=0):
    """Settle what these receivers saw; each is a list of numbers of ann's transforms. Bob never sent."""
    sightings = TransformSightings()
    for seqs in receivers:
        receipts = TransformReceipts(SENDERS)
        for seq in seqs:
            receipts.receive("ann", seq)
        sightings.add(receipts)
    receivers_number = len(receivers) + unknown
    senders = {
        "ann": SenderRecord(first, last, receivers_number, tuple(notices_us)),
        "bob": SenderRecord(first, 0, receivers_number),
    }
    totals = settle_transforms(senders, sightings, intended_us)
    assert totals.expected == totals.delivered + totals.superseded + totals.refused + totals.lost
    return totals


ALL = list(range(1, 11))
CLEAN = TransformTotals(sent=10, expected=20, delivered=20)


def without(*missing):
    return [seq for seq in ALL if seq not in missing]


def test_all_delivered():
    assert settle([ALL, ALL]) == CLEAN


def test_a_hole_below_a_newer_one_is_superseded():
    assert settle([ALL, without(4, 5)]) == replace(CLEAN, delivered=18, superseded=2)


def test_missing_with_nothing_newer_is_lost():
    assert settle([ALL, without(8, 9, 10)]) == replace(CLEAN, delivered=17, lost=3)


def test_a_receiver_that_got_nothing_lost_everything():
    assert settle([ALL, []]) == replace(CLEAN, delivered=10, lost=10)


def test_a_receiver_of_a_dead_generator_lost_everything():
    assert settle([ALL], unknown=1) == replace(CLEAN, delivered=10, lost=10)


def test_late_arrival_is_delivered_but_out_of_order():
    assert settle([ALL, [1, 2, 4, 3, *range(5, 11)]]) == replace(CLEAN, out_of_order=1)


def test_the_same_number_twice_is_a_duplicate():
    assert settle([ALL, [1, 2, 2, *range(3, 11), 5]]) == replace(CLEAN, duplicates=2)


def test_a_late_one_that_comes_twice_is_both():
    assert settle([ALL, [1, 3, 2, 2, *range(4, 11)]]) == replace(CLEAN, out_of_order=1, duplicates=1)


def test_the_warm_up_does_not_count():
    assert settle([ALL, without(1, 2, 7)], first=5) == TransformTotals(sent=6, expected=12, delivered=11, superseded=1)


def test_what_nobody_got_is_refused_where_the_sender_was_told():
    receivers = [without(4, 5), without(4, 5)]
    assert settle(receivers, notices_us=[210_000]) == replace(CLEAN, delivered=16, refused=4)
    assert settle(receivers) == replace(CLEAN, delivered=16, superseded=4)
    assert settle(receivers, notices_us=[9_000_000]) == replace(CLEAN, delivered=16, superseded=4)


def test_what_somebody_got_was_not_refused():
    assert settle([ALL, without(10)], notices_us=[500_000]) == replace(CLEAN, delivered=19, lost=1)


def test_refused_at_the_end_is_not_lost():
    assert settle([without(10), without(10)], notices_us=[500_000]) == replace(CLEAN, delivered=18, refused=2)


def test_strangers_and_impossible_numbers_are_told_and_cost_nothing():
    receipts = TransformReceipts(SENDERS)
    receipts.receive("eve", 1)
    receipts.receive("ann", JUMP_MAX * 10)
    receipts.receive("ann", 0)
    assert receipts.strange == 3
    assert not receipts.skipped


def test_sightings_of_two_generators_add_up():
    def sightings(*receivers):
        result = TransformSightings()
        for seqs in receivers:
            receipts = TransformReceipts(SENDERS)
            for seq in seqs:
                receipts.receive("ann", seq)
            result.add(receipts)
        return result

    seen = [without(4, 10), [2, 1, 1, *range(3, 11)], []]
    merged = sightings(seen[0])
    merged.merge(sightings(*seen[1:]))
    whole = sightings(*seen)
    senders = {"ann": SenderRecord(1, 10, 3)}
    assert settle_transforms(senders, merged, intended_us) == settle_transforms(senders, whole, intended_us)


# --- the reliable order -----------------------------------------------------------------------------------


def order_of(*receivers, acked=None, is_open=None):
    """Settle what receivers of room 0 saw; each is a list of (epoch, seq, message id)."""
    sightings = OrderSightings()
    for index, events in enumerate(receivers):
        receipts = OrderReceipts()
        receipts.start_from(EPOCH, 0)
        for epoch, seq, message_id in events:
            receipts.receive(epoch, seq, message_id)
            sightings.room(0).see(epoch, seq, f"chat {message_id}")
        sightings.add(0, receipts, is_open=is_open is None or is_open[index])
    for message_id, seq in ({f"m{seq}": seq for seq in range(1, 6)} if acked is None else acked).items():
        sightings.room(0).acknowledge(message_id, seq)
    return settle_order(sightings)


def chats(*seqs):
    return [(EPOCH, seq, f"m{seq}") for seq in seqs]


FIVE = chats(1, 2, 3, 4, 5)


def clean(received):
    return OrderTotals(chats_acked=5, received=received)


def test_a_clean_order_has_no_errors():
    totals = order_of(FIVE, FIVE)
    assert totals == clean(10)
    assert totals.errors == 0


def test_a_gap_is_found_and_its_acked_message_is_missing():
    totals = order_of(FIVE, chats(1, 2, 4, 5))
    assert totals == replace(clean(9), gaps=1, acked_missing=1)
    assert totals.errors == 2


def test_a_cut_off_end_is_found_by_the_acks():
    assert order_of(FIVE, chats(1, 2, 3, 4)) == replace(clean(9), acked_missing=1)


def test_reordered_and_repeated_events_are_found():
    assert order_of(FIVE, chats(1, 3, 2, 4, 5)) == replace(clean(10), out_of_order=1)
    assert order_of(FIVE, chats(1, 2, 2, 3, 4, 5)) == replace(clean(11), duplicates=1)


def test_two_receivers_with_different_orders_are_found():
    swapped = [*chats(1, 2), (EPOCH, 3, "m4"), (EPOCH, 4, "m3"), *chats(5)]
    assert order_of(FIVE, swapped) == replace(clean(10), mismatches=2)


def test_one_message_at_two_places_is_found():
    twice = [*FIVE, (EPOCH, 6, "m5")]
    # Once for standing twice and once for standing elsewhere than its sender was told: the same event, counted once.
    assert order_of(twice, twice) == replace(clean(12), mismatches=1)


def test_an_ack_with_another_place_is_found():
    assert order_of(FIVE, acked={"m1": 1, "m2": 5}) == OrderTotals(chats_acked=2, received=5, mismatches=1)


def test_an_untold_epoch_is_found():
    assert order_of([*chats(1, 2), (EPOCH + 1, 1, "m3")], acked={}) == OrderTotals(received=3, epoch_changes=1)


def test_a_closed_receiver_is_excused_from_what_came_later():
    assert order_of(FIVE, chats(1, 2), is_open=[True, False]) == clean(7)


def test_a_room_state_begins_anew():
    receipts = OrderReceipts()
    receipts.start_from(EPOCH, 7)
    receipts.receive(EPOCH, 8)
    receipts.start_from(EPOCH + 1, 20)
    receipts.receive(EPOCH + 1, 21)
    assert not receipts.skipped
    assert (receipts.duplicates, receipts.epoch_changes) == (0, 0)


@pytest.mark.parametrize("split", [1, 2])
def test_order_sightings_of_two_generators_add_up(split):
    receivers = [FIVE, chats(1, 2, 4, 5), [*chats(1, 2, 3), (EPOCH, 4, "other"), *chats(5)]]

    def sightings(part, acked):
        result = OrderSightings(chats_sent=len(acked))
        for events in part:
            receipts = OrderReceipts()
            receipts.start_from(EPOCH, 0)
            for epoch, seq, message_id in events:
                receipts.receive(epoch, seq, message_id)
                result.room(0).see(epoch, seq, f"chat {message_id}")
            result.add(0, receipts, is_open=True)
        for message_id, seq in acked.items():
            result.room(0).acknowledge(message_id, seq)
        return result

    acked = {f"m{seq}": seq for seq in range(1, 6)}
    merged = sightings(receivers[:split], {"m1": 1})
    merged.merge(sightings(receivers[split:], {key: value for key, value in acked.items() if key != "m1"}))
    assert settle_order(merged) == settle_order(sightings(receivers, acked))
    assert settle_order(merged).mismatches == 1
