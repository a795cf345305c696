#!/usr/bin/env bash
# async-upnp-client 0.49.0: UpnpFactory keeps services by their serviceType and embedded devices by
# their deviceType, so that of several of one type only one remains. UDA 2.0, section 2.3 makes
# serviceId and UDN unique, not the types: a router with two WAN connections, a bridge with three
# lamps, a power strip.
#
# Seen: 3 services of one type: 1 of them is there; 3 embedded devices of one type: 1 is there
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet async-upnp-client==0.49.0 aiohttp==3.14.5
"$work/venv/bin/python" - >"$work/seen" <<'PYTHON'
import asyncio

from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.const import HttpResponse

SERVICE = (
    "<service><serviceType>urn:schemas-upnp-org:service:SwitchPower:1</serviceType>"
    "<serviceId>urn:upnp-org:serviceId:SwitchPower:{0}</serviceId><SCPDURL>/scpd.xml</SCPDURL>"
    "<controlURL>/c{0}</controlURL><eventSubURL>/e{0}</eventSubURL></service>"
)
DEVICE = (
    "<device><deviceType>urn:schemas-upnp-org:device:{type}:1</deviceType>"
    "<friendlyName>{type}</friendlyName><manufacturer>Acme</manufacturer><modelName>S</modelName>"
    "<UDN>uuid:00000000-0000-1000-8000-00000000000{number}</UDN>{more}</device>"
)
LAMPS = "".join(DEVICE.format(type="BinaryLight", number=n, more="") for n in (1, 2, 3))
SERVICES = "".join(SERVICE.format(n) for n in (1, 2, 3))
ROOT = (
    '<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion>'
    "<major>1</major><minor>0</minor></specVersion>"
    + DEVICE.format(
        type="Basic",
        number=9,
        more=f"<serviceList>{SERVICES}</serviceList><deviceList>{LAMPS}</deviceList>",
    )
    + "</root>"
)
SCPD = (
    '<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0"><specVersion><major>1'
    "</major><minor>0</minor></specVersion><serviceStateTable><stateVariable>"
    "<name>Status</name><dataType>boolean</dataType></stateVariable></serviceStateTable></scpd>"
)


class Requester:
    async def async_http_request(self, request):
        return HttpResponse(200, {}, SCPD if request.url.endswith("scpd.xml") else ROOT)


async def main():
    device = await UpnpFactory(Requester()).async_create_device("http://127.0.0.1/d.xml")
    print(
        f"3 services of one type: {len(device.services)} of them is there; "
        f"3 embedded devices of one type: {len(device.embedded_devices)} is there"
    )


asyncio.run(main())
PYTHON
diff - "$work/seen" <<'SEEN'
3 services of one type: 1 of them is there; 3 embedded devices of one type: 1 is there
SEEN
