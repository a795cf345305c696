"""What is asked of a device that may have restarted: whether it still knows who subscribed.

A renewal is the cheapest proof that there is: a device that was started anew refuses it (UDA 2.0,
section 4.1.2), and one that was not is none the worse for it.
"""

from bridge.model.topics import udn_key
from bridge.upnp.presence.locations import TRIGGER_S, LocatedDevice, RebootQuestion
from bridge.upnp.presence.records import Reason
from bridge.upnp.presence.tables import Tables

MAX_QUESTIONS = 32
"""The most devices that are asked at once."""

_PAUSE_S = 3.0
_IDLE_S = 60.0
_IDLY = 3
"""How often in that time a device is asked that only announces itself."""
_SOON_S = 2.0


def put(
    tables: Tables, device: LocatedDevice, now: float, *, is_claim: bool, is_doubtful: bool = False
) -> None:
    """Have a device asked, soon; at once where nobody can ask it, by the answer that is none."""
    key = udn_key(device.udn)
    known = tables.questions.get(key)
    if known is not None and not known.is_asked:
        known.is_claim |= is_claim
        return
    if known is not None or not (is_claim or _may_ask_idly(device, now)):
        return
    due = max(now, device.asked + _PAUSE_S)
    question = RebootQuestion(device, device.place, due, is_claim, is_doubtful)
    if tables.asks:
        tables.questions[key] = question
    else:
        _conclude(question, now, kept=None)


def _may_ask_idly(device: LocatedDevice, now: float) -> bool:
    """Return whether a device may be asked that only announces itself, and count it."""
    if now >= device.idle_since + _IDLE_S:
        device.idle_since, device.idly_asked = now, 0
    device.idly_asked += 1
    return device.idly_asked <= _IDLY


def begin(tables: Tables, now: float) -> tuple[str, ...]:
    """Return the UDNs of the devices to ask now; each must be answered for."""
    chosen: list[str] = []
    under_way = sum(one.is_asked for one in tables.questions.values())
    for question in tables.questions.values():
        if question.is_asked or question.due > now or under_way + len(chosen) >= MAX_QUESTIONS:
            continue
        question.is_asked = True
        question.device.asked = now
        chosen.append(question.device.udn)
    return tuple(chosen)


def end(tables: Tables, udn: str, now: float, *, kept: bool | None) -> None:
    """Take an answer: whether the device knows its subscribers, None where it has none."""
    question = tables.questions.pop(udn_key(udn), None)
    if question is None:
        return
    device, place = question.device, question.place
    if device.online and device.place is place and place.owner is device:
        _conclude(question, now, kept=kept)


def deadlines(tables: Tables, now: float) -> list[float]:
    """Return when questions are due that are not due yet."""
    return [one.due for one in tables.questions.values() if not one.is_asked and one.due > now]


def _conclude(question: RebootQuestion, now: float, *, kept: bool | None) -> None:
    device, place = question.device, question.place
    if kept is False:
        place.boot.prove()
        place.want(max(now, device.redescribed + _SOON_S), Reason.REBOOTED)
    elif question.is_claim and not question.is_doubtful:
        if kept:
            place.boot.strike()
            place.want(now)  # it may be another in spite of that
        else:
            place.boot.claimed = True
            place.want(max(now, device.redescribed + TRIGGER_S), Reason.REBOOTED)
