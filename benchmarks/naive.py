"""What a competent user would write in an afternoon: async-upnp-client, and paho with `loop_start`.

The same topics as the bridge's for documents, values and calls, each component a message.
"""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import paho.mqtt.client as paho
from aiohttp import ClientSession
from async_upnp_client.aiohttp import AiohttpNotifyServer, AiohttpSessionRequester
from async_upnp_client.client import UpnpDevice, UpnpService, UpnpStateVariable
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.profiles.dlna import dlna_handle_notify_last_change
from async_upnp_client.search import async_search
from async_upnp_client.utils import CaseInsensitiveDict
from paho.mqtt.enums import CallbackAPIVersion

_SEARCH_S = 3
_SEARCHES, _QUIET_SEARCHES = 20, 2
_IN_PARALLEL = 50


class Naive:
    def __init__(self, base: str, session: ClientSession, callback_port: int) -> None:
        self._base = base
        self._loop = asyncio.get_running_loop()
        requester = AiohttpSessionRequester(session)
        self._factory = UpnpFactory(requester, non_strict=True)
        self._server = AiohttpNotifyServer(requester, source=("127.0.0.1", callback_port))
        self._devices: dict[str, UpnpDevice] = {}
        self._locations: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(_IN_PARALLEL)
        self._last: paho.MQTTMessageInfo | None = None
        self._mqtt = paho.Client(CallbackAPIVersion.VERSION2)
        self._mqtt.on_connect = lambda client, *_: client.subscribe(f"{base}/+/call", 1)
        self._mqtt.on_message = self._on_message

    async def run(self, broker_port: int) -> None:
        self._mqtt.will_set(f"{self._base}/bridge/main/state", "offline", 1, retain=True)
        self._mqtt.connect("127.0.0.1", broker_port)
        self._mqtt.loop_start()
        await self._server.async_start_server()
        # While it reads what it found it overlooks others that answer: until no more come.
        quiet, searches = 0, 0
        while quiet < _QUIET_SEARCHES and searches < _SEARCHES:
            found = len(self._locations)
            await async_search(
                self._found, _SEARCH_S, "upnp:rootdevice", source=("127.0.0.1", 0), loop=self._loop
            )
            await asyncio.gather(*self._locations.values())
            await self._all_published()
            searches += 1
            quiet = quiet + 1 if len(self._locations) == found else 0
        self._publish("bridge/main/state", "online")
        await self._all_published()
        await self._loop.create_future()

    async def _found(self, headers: CaseInsensitiveDict) -> None:
        location = headers["location"]
        if location not in self._locations:
            self._locations[location] = self._loop.create_task(self._add(location))

    async def _add(self, location: str) -> None:
        async with self._slots:
            device = await self._factory.async_create_device(location)
            self._devices[device.udn.removeprefix("uuid:")] = device
            for topic, document in _documents(device):
                self._publish(topic, json.dumps(document))
            for service in device.all_services:
                service.on_event = self._on_event
                await self._server.event_handler.async_subscribe(service)

    def _on_event(self, service: UpnpService, variables: Sequence[UpnpStateVariable[Any]]) -> None:
        for variable in variables:
            if variable.name == "LastChange":
                dlna_handle_notify_last_change(variable)
            else:
                self._publish(f"{_id(service)}/value/{variable.name}", str(variable.value))

    def _publish(self, topic: str, payload: str) -> None:
        self._last = self._mqtt.publish(f"{self._base}/{topic}", payload, 1, retain=True)

    async def _all_published(self) -> None:
        if self._last:
            await self._loop.run_in_executor(None, self._last.wait_for_publish, 60)

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        asyncio.run_coroutine_threadsafe(self._call(message.topic, message.payload), self._loop)

    async def _call(self, topic: str, payload: bytes | bytearray) -> None:
        udn = topic.split("/")[-2]
        answer: dict[str, object] = {}
        try:
            command = json.loads(payload)
            answer["callid"] = command.get("callid")
            service = self._devices[udn].service_id(f"urn:upnp-org:serviceId:{command['service']}")
            if service is None:
                raise LookupError("unknown service")
            out = await service.action(command["action"]).async_call(**command["args"])
            answer |= {"success": True, "out": out}
        except Exception as error:  # noqa: BLE001
            answer |= {"success": False, "error": str(error)}
        self._mqtt.publish(f"{self._base}/{udn}/response", json.dumps(answer), 1)


def _id(service: UpnpService) -> str:
    return f"{service.device.udn.removeprefix('uuid:')}/{service.service_id.split(':')[-1]}"


def _documents(device: UpnpDevice) -> Iterator[tuple[str, dict[str, object]]]:
    udn = device.udn.removeprefix("uuid:")
    yield (
        udn,
        {
            "kind": "device",
            "udn": device.udn,
            "device_type": device.device_type,
            "friendly_name": device.friendly_name,
            "manufacturer": device.manufacturer,
            "model_name": device.model_name,
            "location": device.device_url,
            "children": [_id(service) for service in device.all_services],
        },
    )
    for service in device.all_services:
        top = _id(service)
        yield top, {"kind": "service", "parent": udn, "service_type": service.service_type}
        for variable in service.state_variables.values():
            yield (
                f"{top}/variable/{variable.name}",
                {
                    "kind": "variable",
                    "parent": top,
                    "data_type": variable.data_type,
                    "evented": variable.send_events,
                    "default": variable.default_value,
                    "allowed_values": sorted(variable.allowed_values),
                    "minimum": variable.min_value,
                    "maximum": variable.max_value,
                },
            )
        for action in service.actions.values():
            above = f"{top}/action/{action.name}"
            yield above, {"kind": "action", "parent": top, "name": action.name}
            for argument in action.arguments:
                yield (
                    f"{above}/argument/{argument.name}",
                    {
                        "kind": "argument",
                        "parent": above,
                        "direction": argument.direction,
                        "variable": argument.related_state_variable.name,
                    },
                )


async def main(base: str, broker_port: int, callback_port: int) -> None:
    async with ClientSession() as session:
        await Naive(base, session, callback_port).run(broker_port)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
