"""Home Assistant's core with its MQTT integration: `python driver.py FOLDER HOST PORT`.

Run by the Python of .venv-homeassistant. FOLDER is its config folder, which may have served before;
what is in its folder `packages` is part of the configuration.
It says {"ready": true} once it is connected to the broker at HOST and PORT. From then on it answers
each line of standard input, {"id": …, "do": …, and what that needs}, by one of standard output:
{"id": …, "result": …} or {"id": …, "error": …}. It ends with "stop" and with its input. All that
Home Assistant logs goes to standard error.
"""

import asyncio
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from homeassistant import bootstrap, config, config_entries, core, loader, runner
from homeassistant.components import mqtt
from homeassistant.const import CONF_PORT
from homeassistant.data_entry_flow import FlowResultType
from homeassistant.helpers import check_config, device_registry, entity_registry
from homeassistant.helpers.json import json_bytes

PATIENCE_S = 30
_YAML = """\
homeassistant:
  name: Test
  unit_system: metric
  time_zone: UTC
  packages: !include_dir_named packages
http:
  server_host: 127.0.0.1
"""


class Failed(Exception):
    """What was asked for did not come about."""


class Log(logging.Handler):
    """Keep what is a warning or worse."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, with the traceback if it has one."""
        message = logging.Formatter().format(record)
        self.records.append({"logger": record.name, "level": record.levelname, "message": message})


class Driver:
    """Home Assistant, and what can be asked of it."""

    def __init__(self, hass: core.HomeAssistant, log: Log) -> None:
        self._hass = hass
        self._log = log

    @classmethod
    async def start(cls, folder: Path, host: str, port: int, log: Log) -> "Driver":
        """Boot it, and connect it to a broker as its user would."""
        await asyncio.to_thread((folder / "configuration.yaml").write_text, _YAML)
        hass = core.HomeAssistant(str(folder))
        loader.async_setup(hass)
        hass.config.skip_pip = True
        bootstrap.DEFAULT_INTEGRATIONS = set()  # neither a frontend nor what phones home
        config_entries.RELOAD_AFTER_UPDATE_DELAY = 0
        if (
            await bootstrap.async_from_config_dict(await config.async_hass_config_yaml(hass), hass)
            is None
        ):
            raise Failed("Home Assistant does not boot")
        await hass.async_start()
        if not hass.config_entries.async_entries(mqtt.DOMAIN):
            await _add_broker(hass.config_entries.flow, host, port)
        driver = cls(hass, log)
        await driver._until(lambda: mqtt.is_connected(hass), "Home Assistant is not connected")
        await hass.async_block_till_done()
        return driver

    async def states(self) -> list[Any]:
        """Every state."""
        return [state.as_dict() for state in self._hass.states.async_all()]

    async def entities(self) -> list[Any]:
        """The entity registry."""
        rows = entity_registry.async_get(self._hass).entities.values()
        return [
            {**row.extended_dict, "unit_of_measurement": row.unit_of_measurement} for row in rows
        ]

    async def devices(self) -> list[Any]:
        """The device registry."""
        return [row.dict_repr for row in device_registry.async_get(self._hass).devices.values()]

    async def call(self, domain: str, service: str, data: dict[str, Any]) -> None:
        """Call a service, and wait until it is carried out."""
        async with asyncio.timeout(PATIENCE_S):
            await self._hass.services.async_call(domain, service, data, blocking=True)

    async def enable(self, entity_ids: list[str]) -> None:
        """Enable entities: Home Assistant then sets up MQTT anew, until they have states."""
        for entity_id in entity_ids:
            entity_registry.async_get(self._hass).async_update_entity(entity_id, disabled_by=None)
        await self._until(
            lambda: all(self._hass.states.get(one) for one in entity_ids), "they have no states"
        )
        await self._hass.async_block_till_done()

    async def remove_device(self, device_id: str) -> None:
        """Remove a device from MQTT, as its user does."""
        registry = device_registry.async_get(self._hass)
        (entry,) = self._hass.config_entries.async_entries(mqtt.DOMAIN)
        registry.async_update_device(device_id, remove_config_entry_id=entry.entry_id)
        await self._hass.async_block_till_done()

    async def check(self) -> list[str]:
        """Tell what Home Assistant's own check finds wrong with its configuration."""
        found = await check_config.async_check_ha_config_file(self._hass)
        return [f"{one.domain}: {one.message}" for one in found.errors + found.warnings]

    async def log(self) -> list[dict[str, str]]:
        """All warnings and errors since the start."""
        return self._log.records

    async def stop(self) -> None:
        """End it; the registries are written to the folder."""
        await self._hass.async_stop()

    async def _until(self, condition: Callable[[], object], failure: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():  # noqa: ASYNC110 - any condition
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Failed(failure) from None


async def _add_broker(flows: config_entries.ConfigEntriesFlowManager, host: str, port: int) -> None:
    flow = await flows.async_init(mqtt.DOMAIN, context={"source": config_entries.SOURCE_USER})
    broker = {mqtt.CONF_BROKER: host, CONF_PORT: port}
    flow = await flows.async_configure(flow["flow_id"], broker)
    if flow["type"] is not FlowResultType.CREATE_ENTRY:
        raise Failed(f"MQTT cannot be set up: {flow.get('errors') or flow}")


async def answer(driver: Driver, request: dict[str, Any]) -> dict[str, Any]:
    """Do what a line asks for."""
    what = {name: value for name, value in request.items() if name not in ("id", "do")}
    try:
        return {"id": request["id"], "result": await getattr(driver, request["do"])(**what)}
    except Exception as error:  # noqa: BLE001 - told to the test
        return {"id": request["id"], "error": f"{type(error).__name__}: {error}"}


async def main(words: list[str], output: BinaryIO) -> int:
    """Start, answer until the end, stop."""

    def say(answered: dict[str, Any]) -> None:
        output.write(json_bytes(answered) + b"\n")
        output.flush()

    log = Log()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s [%(name)s] %(message)s"
    )
    logging.getLogger().addHandler(log)
    folder, host, port = words
    try:
        driver = await Driver.start(Path(folder), host, int(port), log)
    except Failed as failure:
        say({"error": str(failure)})
        return 1
    say({"ready": True})
    lines = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    while line := await lines.readline():
        request = json.loads(line)
        say(await answer(driver, request))
        if request["do"] == "stop":
            return 0
    await driver.stop()
    return 0


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what prints by itself must not stand among the answers
    asyncio.set_event_loop_policy(runner.HassEventLoopPolicy(debug=False))
    sys.exit(asyncio.run(main(sys.argv[1:], answers)))
