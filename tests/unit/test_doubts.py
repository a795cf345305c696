"""Commands that another instance may have carried out wait until that is known."""

import asyncio
from functools import partial

import pytest

from bridge.requests.doubts import Doubts
from bridge.runtime import Clock
from bridge.tree.device_tree import Shape
from bridge.tree.handover import digest
from bridge.tree.instances import JOINING_S, SILENCE_S, write_sees
from bridge.tree.messages import Message
from tests.unit.wired import Wired

pytestmark = pytest.mark.asyncio
# D is not mirrored here: what is not known to be seen by others counts as if it were.
ONE, OTHER = (Message("upnp/D/call", payload, retain=False) for payload in (b"{}", b'{"callid":2}'))


class World:
    """An instance whose other has gone without a word, and the commands that it carries out."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.wired = Wired(Shape("upnp", "main"), clock=Clock(monotonic=lambda: self.now_s))
        self.instances = self.wired.instances
        self.doubts = Doubts(self.wired)
        self.done: list[Message] = []
        self.instances.begin((), {}, {}, 0.0)
        self.hear("state", b"online")
        self.hear("sees", write_sees(["D"]))
        self.now_s = SILENCE_S + 1
        self.hear("state", b"offline")

    def hear(self, name: str, payload: bytes) -> None:
        self.instances.hear("spare", name, payload, self.now_s)

    def receive(self, *messages: Message) -> None:
        for one in messages:
            self.doubts.receive(one, "D", partial(self.done.append, one))

    async def after(self, seconds: float) -> list[Message]:
        """Return what has been carried out when so much time has gone by."""
        self.now_s += seconds
        await asyncio.sleep(0.2)
        return self.done


async def test_without_a_sign_of_who_is_missing_commands_are_carried_out_in_order():
    world = World()
    world.receive(ONE, OTHER)
    assert await world.after(0.5) == []
    world.receive(ONE)
    assert await world.after(0.6) == [ONE, OTHER]
    assert await world.after(0.6) == [ONE, OTHER, ONE]


async def test_what_the_other_has_done_is_not_done_again_and_the_rest_is_once_it_has_said_so():
    world = World()
    world.receive(ONE, OTHER, ONE)
    world.hear("beat", b"{}")
    assert await world.after(2) == []
    world.wired.handover.hear_done([digest(ONE)], world.now_s)
    world.instances.hear_done("spare")
    assert await world.after(0) == [OTHER, ONE]
    world.receive(ONE)
    assert world.done == [OTHER, ONE, ONE]


async def test_what_comes_behind_the_word_of_the_other_is_known_too():
    world = World()
    world.hear("beat", b"{}")
    world.wired.handover.hear_done([digest(OTHER)], world.now_s)
    world.instances.hear_done("spare")
    world.receive(ONE, OTHER)
    assert world.done == [ONE]
    world.now_s += JOINING_S + 1
    world.receive(OTHER)
    assert world.done == [ONE, OTHER]


async def test_where_the_other_does_not_say_what_it_has_done_commands_are_dropped_for_a_while():
    world = World()
    world.receive(ONE)
    world.hear("beat", b"{}")
    world.receive(OTHER)
    assert await world.after(JOINING_S + 0.1) == []
    world.receive(ONE)
    assert world.done == [ONE]
