"""Render templates as Home Assistant's MQTT entities do: `python render.py`.

Run by the Python of .venv-homeassistant. Standard input is a JSON list of [template, payload],
standard output a JSON list of [text, problems]: what Home Assistant raised or logged meanwhile.
"""

import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import Iterable, Iterator

from homeassistant import core
from homeassistant.components.mqtt.models import MqttValueTemplate, MqttValueTemplateException
from homeassistant.helpers import frame, template


class Messages(logging.Handler):
    """Keep what Home Assistant warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.kept.append(record.getMessage())


def results(
    hass: core.HomeAssistant, pairs: Iterable[tuple[str, str]]
) -> Iterator[tuple[str, list[str]]]:
    """Render each template with its payload."""
    messages = Messages()
    logging.getLogger().addHandler(messages)
    known: dict[str, MqttValueTemplate] = {}
    for text, payload in pairs:
        messages.kept = []
        if text not in known:
            known[text] = MqttValueTemplate(template.Template(text, hass))
        one = known[text]
        try:
            said = str(one.async_render_with_possible_json_value(payload))
        except MqttValueTemplateException as error:
            said = ""
            messages.kept.append(str(error))
        yield said, messages.kept


async def main() -> None:
    """Read, render, write."""
    pairs = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        hass = core.HomeAssistant(folder)
        for each in (frame, template):
            if hasattr(each, "async_setup"):  # which 2024.11 does not have for all
                each.async_setup(hass)
        found = list(results(hass, pairs))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
