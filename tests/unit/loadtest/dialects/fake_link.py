"""A member as a dialect sees it, with the server's units told beforehand, and what was done kept."""

from collections import deque

from loadtest.dialect import JoinError


def payload_of(frame):
    """Return the payload of one client frame whose mask is zero, as the generator's are."""
    size, head = frame[1] & 0x7F, 2
    if size == 126:
        size, head = int.from_bytes(frame[2:4], "big"), 4
    assert frame[1] & 0x80, "frames of clients are masked"
    assert frame[head : head + 4] == bytes(4)
    assert len(frame) == head + 4 + size
    return frame[head + 4 :]


class FakeLink:
    state = None
    heartbeat_s = 15.0
    now_us = 0

    def __init__(self, *units, number=3):
        self.number = number
        self.user_id = f"bench-1a2b3c4d-u{number}"
        self.room_id = "bench-1a2b3c4d-0"
        self.opened = []
        self.sent = []
        self.refusals = []
        self._units = deque(units)

    async def open(self, ws_url, headers=None):
        self.opened.append(ws_url)

    async def receive(self):
        if not self._units:
            raise JoinError("nothing came")
        return self._units.popleft()

    def send(self, frame):
        self.sent.append(payload_of(frame))

    def refused(self, message_id, code):
        self.refusals.append((message_id, code))


class FakeAnswer:
    def __init__(self, status, answer):
        self.status = status
        self._answer = answer

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def json(self):
        return self._answer

    async def text(self):
        return str(self._answer)


class FakeHttp:
    def __init__(self, status=200, answer=None):
        self.asked = []
        self._status = status
        self._answer = answer

    def post(self, url, json):
        self.asked.append((url, json))
        return FakeAnswer(self._status, self._answer)
