import pytest

from common.codec import encode_event
from common.messages import AvatarTransformBroadcast
from loadtest.frames import TRANSFORM_FRAME_BYTES
from loadtest.peers.batching import Batching, WriteCount, parse_writes, read_writes
from loadtest.peers.floor import batching_in

IO = "rchar: 3\nwchar: 4\nsyscr: 5\nsyscw: {}\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n"


def test_the_writes_of_all_processes_are_counted(tmp_path):
    for pid, writes in ((7, 100), (8, 20)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "io").write_text(IO.format(writes))
    assert read_writes([7, 8], tmp_path) == 120
    assert read_writes([7, 9], tmp_path) is None


def test_another_text_is_refused():
    with pytest.raises(ValueError):
        parse_writes("rchar: 3\n")


def test_the_writes_of_a_window_are_told_though_it_lies_between_two_looks():
    writes = WriteCount()
    assert writes.between(0.0, 1.0) == 0
    for at_s, count in ((10.0, 100), (12.0, 500), (12.5, 500), (14.5, 900)):
        writes.add(at_s, count)
    assert writes.between(10.0, 14.5) == 800
    assert writes.between(11.0, 13.5) == 700 - 300
    assert writes.between(5.0, 20.0) == 800


def test_batching_is_of_one_socket():
    batching = Batching.of(updates=64_000, writes=8_000, sockets=40, seconds=2.0)
    assert (batching.updates_per_write, batching.writes_per_second) == (8.0, 100.0)


def test_writes_of_something_else_are_no_writes_of_updates():
    assert Batching.of(updates=800, writes=1_000, sockets=4, seconds=2.0) == Batching(1.0, 100.0)


@pytest.mark.parametrize("nothing", [{"updates": 0}, {"writes": 0}, {"sockets": 0}, {"seconds": 0.0}])
def test_nothing_has_no_batching(nothing):
    assert Batching.of(**({"updates": 10, "writes": 10, "sockets": 1, "seconds": 1.0} | nothing)) is None


def test_batching_is_found_in_a_result():
    batching = {"updates_per_write": 8.0, "writes_per_second": 100.0}
    result = {
        "rounds": [
            {"members": 40, "measured": [{"server": "nats", "batching": None}]},
            {"members": 100, "measured": [{"server": "roomring", "batching": {}}]},
            {"members": 40, "measured": [{"server": "roomring", "batching": batching}]},
        ]
    }
    assert batching_in(result, 40) == Batching(8.0, 100.0)
    for members in (100, 7):
        with pytest.raises(ValueError, match=f"{members} members"):
            batching_in(result, members)
    with pytest.raises(ValueError, match="no batching"):
        Batching.from_json({"updates_per_write": 8.0})


def test_the_bytes_of_a_frame_are_those_of_a_transform():

    ours = encode_event(
        AvatarTransformBroadcast(
            roomId="bench-1a2b3c4d-0",
            userId="bench-1a2b3c4d-u12",
            seq=123,
            x=12_345_678.0,
            y=1.25,
            z=-17.375,
            rotY=1.5707,
            anim="walk",
            speaking=False,
        ),
        1_795_219_201_234,
    )
    assert abs(len(ours) + 4 - TRANSFORM_FRAME_BYTES) <= 4
