"""What a run will do, as pure arithmetic: who is in which room, on which edge, and who sends what when.

The load is an open loop: the times at which members send are fixed before the run starts, whatever the server does, so
that a stall of the server delays the measured messages instead of preventing them (no coordinated omission). All times
are microseconds since the start of the run.
"""

from dataclasses import dataclass
from typing import Final, NewType

MemberNumber = NewType("MemberNumber", int)
"""Place of a member in the whole run, from 0."""

WRAP_US: Final = 1_000_000_000
"""The time in a transform counts modulo this, since a coordinate is at most 1e9. 17 minutes, far above any latency."""

US: Final = 1_000_000

TOGETHER_US: Final = 2_000
"""Members whose turns are closer than this send together. An alarm costs as much as ten reads: setting a timer leaves a
virtual machine. Real members are no better spread than that."""


@dataclass(frozen=True)
class Plan:
    """One run. Every generator has the same plan but for `generator`.

    The measured window is [`warmup_us`, `end_us`) by intended time of sending.
    """

    run_id: str
    """New for each run, so that two runs never share a room or a user."""
    urls: tuple[str, ...]
    rooms: int
    members_per_room: int
    rate: float
    """Transforms a second for each member."""
    seconds: float
    warmup_s: float
    drain_s: float
    chats_per_second: float
    """Of each room; its members take turns."""
    movers_per_room: int = 0
    """Members of each room that send transforms, at most all; 0: all. The others only watch, and chat."""
    generators: int = 1
    generator: int = 0
    dialect: str = "roomring"
    """Name of the module in `loadtest/dialects/`."""

    @property
    def members(self) -> int:
        """Members of all the rooms."""
        return self.rooms * self.members_per_room

    @property
    def movers(self) -> int:
        """Members of all the rooms that send transforms. They have the first numbers."""
        return self.rooms * min(self.movers_per_room or self.members_per_room, self.members_per_room)

    @property
    def warmup_us(self) -> int:
        """Where the measured window begins."""
        return round(self.warmup_s * US)

    @property
    def end_us(self) -> int:
        """Where the measured window, and the sending, ends."""
        return round((self.warmup_s + self.seconds) * US)

    def own_members(self) -> list[MemberNumber]:
        """Return the members that this generator plays, in the order of their first transforms."""
        return [MemberNumber(n) for n in range(self.generator, self.members, self.generators)]

    def own_movers(self) -> list[MemberNumber]:
        """Return those of `own_members` that send transforms."""
        return [member for member in self.own_members() if member < self.movers]

    def room_of(self, member: MemberNumber) -> int:
        """Return the number of the member's room, from 0."""
        return member % self.rooms

    def members_of(self, room: int) -> range:
        """Return the numbers of the members of a room."""
        return range(room, self.members, self.rooms)

    def url_of(self, member: MemberNumber) -> str:
        """Return the base URL of the member's edge: round-robin within each room, so that rooms span the edges."""
        return self.urls[(member // self.rooms) % len(self.urls)]

    def room_id(self, room: int) -> str:
        """Return the id of a room; an avatar space."""
        return f"bench-{self.run_id}-{room}"

    def user_id(self, member: MemberNumber) -> str:
        """Return the id of a member's user."""
        return f"bench-{self.run_id}-u{member}"

    def transform_us(self, member: MemberNumber, seq: int) -> int:
        """Return when a mover should send its transform `seq` (from 1). The movers are spread over a period."""
        turn_us = int(member / self.movers / self.rate * US)
        return round((seq - 1) / self.rate * US) + turn_us - turn_us % TOGETHER_US

    def first_measured(self, member: MemberNumber) -> int:
        """Return the first `seq` whose intended time is in the measured window."""
        seq = max(1, int(self.warmup_s * self.rate - member / self.movers))
        while self.transform_us(member, seq) < self.warmup_us:
            seq += 1
        return seq

    def chat_us(self, room: int, number: int) -> int:
        """Return when chat message `number` (from 0) of a room should be sent."""
        return round((number + room / self.rooms) / self.chats_per_second * US)

    def chatter(self, room: int, number: int) -> MemberNumber:
        """Return who sends chat message `number` of a room."""
        return MemberNumber(room + self.rooms * (number % self.members_per_room))
