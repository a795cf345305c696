#!/usr/bin/env bash
# async-upnp-client 0.49.0 (aiohttp 3.14.5): a device that takes an action and closes the connection
# without an answer gets the same action three times from AiohttpSessionRequester. For actions that
# are not idempotent (Next, AddPortMapping) that is three executions of one call: UDA 2.0, section
# 3.2 knows no repetition.
#
# Seen: POST /control came 3 times, and then UpnpConnectionError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet async-upnp-client==0.49.0 aiohttp==3.14.5
"$work/venv/bin/python" - >"$work/seen" <<'PYTHON'
import asyncio

import aiohttp
from async_upnp_client.aiohttp import AiohttpSessionRequester
from async_upnp_client.const import HttpRequest

requests: list[str] = []


async def device(reader, writer):
    head = await reader.readuntil(b"\r\n\r\n")
    requests.append(head.split(b" HTTP")[0].decode())
    writer.close()


async def main():
    server = await asyncio.start_server(device, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    error = "no error"
    async with aiohttp.ClientSession() as session:
        requester = AiohttpSessionRequester(session)
        try:
            await requester.async_http_request(
                HttpRequest("POST", f"http://127.0.0.1:{port}/control", {}, "<Next/>")
            )
        except Exception as raised:
            error = type(raised).__name__
    print(f"{requests[0]} came {len(requests)} times, and then {error}")


asyncio.run(main())
PYTHON
diff - "$work/seen" <<'SEEN'
POST /control came 3 times, and then UpnpConnectionError
SEEN
