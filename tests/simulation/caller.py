"""Who sends commands: what they were answered, and whether they knew that they might not be."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.broker import ModelBroker, Passed

REPLY = "upnp/reply/caller"
STATE = "upnp/bridge/main/state"


@dataclass(slots=True)
class Command:
    """A command as it was sent, with all answers by the topic that they came on."""

    callid: str
    topic: str
    note: str | None
    is_retained: bool = False
    answers: dict[str, list[dict[str, object]]] = field(default_factory=dict)
    was_told: bool = False
    """Whether its sender has been told, before an answer, that there is no connection."""

    def faults(self, done: int) -> list[str]:
        """Return what is wrong with its answers; `done` is how often its action was carried out."""
        found = []
        counts = {topic: len(answers) for topic, answers in self.answers.items()}
        # One that is retained is refused again for as long as its clearing gets lost. Before MQTT 5
        # it does not show as such when it is sent, and is carried out then.
        if any(count > 1 for count in counts.values()) and not self.is_retained:
            found.append(f"{self.callid} was answered more than once: {counts}")
        if not self.answers and not self.was_told:
            found.append(f"{self.callid} ({self.topic}) was never answered")
        if done > 1:
            found.append(f"{self.callid} was carried out {done} times")
        for answers in self.answers.values():
            answer = answers[0]
            if self.note is not None and answer["success"] and done != 1:
                found.append(f"{self.callid} is said to be done, and was {done} times")
            is_refused_later = self.is_retained and answer.get("code") == "retained_command"
            if answer.get("outcome") in ("not_sent", "rejected") and done and not is_refused_later:
                found.append(f"{self.callid} is said to be {answer['outcome']}, and was done")
            if answer.get("code") == "internal":
                found.append(f"{self.callid}: {answer['error']}")
        return found


@dataclass(eq=False)
class Callers:
    """All callers, who hear all that the broker passes on."""

    broker: ModelBroker
    on_forgotten: Callable[[str], None] = lambda _: None
    commands: dict[str, Command] = field(default_factory=dict)
    is_bridge_online: bool = False

    def send(
        self,
        topic: str,
        body: dict[str, object] | None,
        *,
        note: str | None = None,
        raw: str | None = None,
        retain: bool = False,
    ) -> None:
        """Send a command; a `raw` payload bears its callid in the correlation data alone."""
        callid = f"c{len(self.commands)}"
        command = Command(callid, topic, note, retain)
        command.was_told = not (self.broker.is_up and self.is_bridge_online)
        self.commands[callid] = command
        if self.broker.is_up:
            payload = raw if body is None else json.dumps({"callid": callid, **body})
            self.broker.publish(
                Passed(
                    topic,
                    (payload or "").encode(),
                    retain=retain,
                    response_topic=REPLY,
                    correlation=callid.encode(),
                )
            )

    def hear(self, message: Passed) -> None:
        """Take in an answer, or that the bridge comes or goes."""
        if message.topic == STATE:
            self.is_bridge_online = message.payload == b"online"
            if not self.is_bridge_online:
                self.lose_connection()
        elif message.topic == REPLY or "/response" in message.topic:
            self._answered(message)

    def lose_connection(self) -> None:
        """Tell all who wait that they wait in vain."""
        for command in self.commands.values():
            command.was_told |= not command.answers

    def _answered(self, message: Passed) -> None:
        answer = json.loads(message.payload)
        callid = answer.get("callid") or (message.correlation or b"").decode()
        if (command := self.commands.get(callid)) is not None:
            command.answers.setdefault(message.topic, []).append(answer)
            if command.topic.endswith("/forget") and answer["success"]:
                self.on_forgotten(answer["data"]["id"])
