"""Calls to devices: one at a time and in order for each, devices side by side.

A command is answered exactly once, and its action is sent at most once, whatever happens.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from bridge.errors import Code, CommandError, Outcome
from bridge.model import topics
from bridge.model.accessors import Accessor, only_reads
from bridge.model.action_call import ActionCall, Invoker
from bridge.model.device import Device
from bridge.publishing import Publishing
from bridge.requests import envelope as commands
from bridge.requests import value_request
from bridge.requests.envelope import BadEnvelope, CallRequest, Envelope, Read
from bridge.requests.replies import Answer
from bridge.requests.value_request import ValueRequest
from bridge.tree.delays import Durations
from bridge.tree.messages import Message
from bridge.tree.mirrored_device import MirroredDevice

MAX_WAITING = 32
"""The most calls that wait for one device."""

_CALLS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What calls are held to; `default_timeout_s` counts where a call names none."""

    default_timeout_s: float
    read_only: bool
    max_bytes: int


@dataclass(slots=True)
class _Command:
    """A command on its way to its one answer."""

    message: Message
    device: str
    topic: str
    arrived_s: float
    envelope: Envelope | None = None
    request: CallRequest | ValueRequest | None = None
    call: ActionCall | None = None
    accessor: Accessor | None = None

    @property
    def elapsed_s(self) -> float:
        return asyncio.get_running_loop().time() - self.arrived_s

    @property
    def elapsed_ms(self) -> int:
        return round(self.elapsed_s * 1000)


class After(Protocol):
    """Has asked what an action has changed."""

    def ask(self) -> None:
        """Ask: the action was carried out, or may have been."""

    def close(self) -> None:
        """Ask nothing, unless that is already done."""


class CalledDevices(Invoker, Protocol):
    """The devices, as calls need them."""

    def acting(self, device: str, call: ActionCall) -> After:
        """Note that an action is about to change something; return who asks then what it was."""

    def is_denied(self, udn: str) -> bool:
        """Return whether the filter keeps a device out."""


class CallQueue:
    """The calls that wait or are under way.

    `outcomes` counts the ended ones, `ok` or by code; `durations` the seconds from the arrival of a
    request to its answer where that is `ok`. `busy` has the ids of the root devices for which calls
    wait or are under way.
    """

    def __init__(
        self,
        publishing: Publishing,
        answer: Answer,
        devices: CalledDevices,
        limits: CallLimits,
        busy: set[str],
    ) -> None:
        self._publishing = publishing
        self._mirror = publishing.mirror
        self._answer = answer
        self._devices = devices
        self._limits = limits
        self._busy = busy
        self._waiting: dict[str, deque[tuple[_Command, MirroredDevice]]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._closing = False
        self.outcomes: Counter[str] = Counter()
        self.durations = Durations(_CALLS_S)

    def __len__(self) -> int:
        return len(self._workers) + sum(len(queue) for queue in self._waiting.values())

    def receive(
        self,
        message: Message,
        device: str,
        request: Callable[[Envelope], CallRequest | ValueRequest],
        read: Read = commands.read_envelope,
    ) -> None:
        """Take a command for a device, named as its topic has it.

        `read` makes its payload an envelope, and `request` makes that a request.
        """
        udn = topics.decode_level(device)
        found = self._mirror.find(udn)
        is_elsewhere = (
            self._publishing.instances.answers_elsewhere(device)
            if found is None
            else not found[0].owned
        )
        if is_elsewhere and message.answered is None:
            if found is not None:
                again = partial(self.receive, message, device, request, read)
                self._publishing.handover.hold(found[0].id, message, again)
            return
        own = self._mirror.id_of(device) or device
        now = asyncio.get_running_loop().time()
        command = _Command(message, own, self._publishing.shape.topic(topics.response_id(own)), now)
        try:
            command.envelope = commands.read_command(
                message.payload,
                is_retained=message.retain,
                max_bytes=self._limits.max_bytes,
                read=read,
            )
            command.request = request(command.envelope)
            if is_elsewhere and found is not None:
                reason = "another instance mirrors this device, and alone carries out its calls"
                raise CommandError(Code.UNKNOWN_DEVICE, reason)
            if found is None:
                code = Code.DENIED if self._devices.is_denied(udn) else Code.UNKNOWN_DEVICE
                raise CommandError(code, f"no device {udn[:100]}")
            self._take(command, *found)
        except BadEnvelope as error:
            command.envelope = error.envelope
            self._fail(command, error)
        except CommandError as error:
            self._fail(command, error)

    async def close(self, grace_s: float) -> None:
        """Take no more calls, refuse those that wait, and give the others so long to end."""
        self._closing = True
        for queue in self._waiting.values():
            while queue:
                command, _ = queue.popleft()
                self._fail(command, _shutting_down(Outcome.NOT_SENT))
        workers = tuple(self._workers.values())
        if workers:
            _, late = await asyncio.wait(workers, timeout=grace_s)
            for worker in late:
                worker.cancel()
            for worker in late:
                with suppress(asyncio.CancelledError):
                    await worker

    def _take(self, command: _Command, mirrored: MirroredDevice, device: Device | None) -> None:
        """Check a command, and put it in line for its device."""
        if self._closing:
            raise _shutting_down(Outcome.NOT_SENT)
        request = command.request
        if device is None or request is None:
            raise _offline()
        if isinstance(request, ValueRequest):
            request, command.accessor = value_request.as_call(request, device)
        command.call = commands.resolve(
            request,
            device,
            default_timeout_s=self._limits.default_timeout_s,
            read_only=self._limits.read_only,
        )
        if not mirrored.online:
            raise _offline()
        queue = self._waiting.setdefault(mirrored.id, deque())
        if len(queue) >= MAX_WAITING:
            raise CommandError(Code.BUSY, f"{len(queue)} calls wait for this device already")
        queue.append((command, mirrored))
        if self._publishing.instances.knows_others:
            now_s = asyncio.get_running_loop().time()
            self._publishing.handover.took(mirrored.id, command.message, now_s)
        if mirrored.id not in self._workers:
            self._busy.add(mirrored.id)
            self._workers[mirrored.id] = asyncio.create_task(
                self._work(mirrored.id), name=f"calls[{mirrored.id}]"
            )

    async def _work(self, root: str) -> None:
        """Carry out what waits for a device, one after the other, until nothing does."""
        queue = self._waiting[root]
        try:
            while queue:
                await self._carry_out(*queue.popleft())
        finally:
            del self._waiting[root], self._workers[root]
            self._busy.discard(root)

    async def _carry_out(self, command: _Command, mirrored: MirroredDevice) -> None:
        call = command.call
        if call is None:
            return
        try:
            if not mirrored.online:
                raise _offline()
            texts = await self._act(command.device, call)
            document = self._success(command, call, texts)
        except CommandError as error:
            self._fail(command, error)
            if error.code in (Code.UNREACHABLE, Code.TIMEOUT):
                self._devices.suspect(mirrored.udn)
        except asyncio.CancelledError:
            self._fail(command, _shutting_down(Outcome.UNKNOWN))
            raise
        except Exception as error:  # noqa: BLE001 - the command is to be answered in any case
            _log.exception("call_crashed", device=mirrored.id, action=call.action.name)
            self._fail(command, CommandError(Code.INTERNAL, str(error), outcome=Outcome.UNKNOWN))
        else:
            self.outcomes["ok"] += 1
            self.durations.observe(command.elapsed_s)
            self._answer(command.message, command.envelope, command.topic, document)

    async def _act(self, device: str, call: ActionCall) -> Mapping[str, str]:
        """Send an action; have asked what it has changed where it was or may have been done."""
        after = None if only_reads(call.action.name) else self._devices.acting(device, call)
        may_be_done = False
        try:
            texts = await self._devices.invoke(
                call.service, call.action.name, call.arguments, call.timeout_s
            )
            may_be_done = True
        except CommandError as error:
            may_be_done = error.outcome is Outcome.UNKNOWN or error.code is Code.HTTP_ERROR
            raise
        except Exception:
            may_be_done = True
            raise
        finally:
            if after and may_be_done:
                after.ask()
            elif after:
                after.close()
        return texts

    def _success(
        self, command: _Command, call: ActionCall, texts: Mapping[str, str]
    ) -> dict[str, object]:
        """Return the answer to a call that was carried out; tell a value that was asked for."""
        out, retval = commands.typed_outputs(call.action, call.service, texts)
        variable = value = None
        match command.request, command.accessor:
            case ValueRequest() as request, Accessor() as accessor:
                variable = request.variable
                if request.text is None and accessor.argument.name in texts:
                    value = out[accessor.argument.name]
                    key = value_request.key_of(variable, accessor, call)
                    service = topics.service_id(command.device, call.service.level)
                    self._publishing.apply_answers(service, [(key, texts[accessor.argument.name])])
        return commands.success(
            command.envelope,
            call,
            out,
            retval,
            variable=variable,
            value=value,
            elapsed_ms=command.elapsed_ms,
        )

    def _fail(self, command: _Command, error: CommandError) -> None:
        self.outcomes[error.code] += 1
        request, call = command.request, command.call
        service = request.service if request else None
        action = request.action if isinstance(request, CallRequest) else None
        if command.accessor is not None:
            action = command.accessor.action.name
        document = commands.failure(
            command.envelope,
            error,
            service=call.service.level if call else service,
            action=call.action.name if call else action,
            variable=request.variable if isinstance(request, ValueRequest) else None,
            elapsed_ms=command.elapsed_ms,
        )
        self._answer(command.message, command.envelope, command.topic, document)


def _offline() -> CommandError:
    return CommandError(Code.DEVICE_OFFLINE, "the device is offline")


def _shutting_down(outcome: Outcome) -> CommandError:
    return CommandError(Code.SHUTTING_DOWN, "the bridge is shutting down", outcome=outcome)
