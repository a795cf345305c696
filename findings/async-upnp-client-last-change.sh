#!/usr/bin/env bash
# async-upnp-client 0.49.0: of a LastChange, dlna_handle_notify_last_change keeps InstanceID 0 only, and
# of its channels one. RenderingControl:1, section 2.3 ("Eventing and Moderation") has an InstanceID
# element for each instance that changed and a value for each channel; with `Channel` as the attribute's
# name, as many renderers write it, the last channel stands in place of Master's.
#
# Seen: Volume is 30; told were 10 (Master), 30 (LF) and 77 (Master of instance 1)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet async-upnp-client==0.49.0 aiohttp==3.14.5
"$work/venv/bin/python" - >"$work/seen" <<'PYTHON'
import asyncio

from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.const import HttpResponse
from async_upnp_client.profiles.dlna import dlna_handle_notify_last_change

ROOT = (
    '<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion>'
    "<major>1</major><minor>0</minor></specVersion><device>"
    "<deviceType>urn:schemas-upnp-org:device:MediaRenderer:1</deviceType>"
    "<friendlyName>R</friendlyName><manufacturer>Acme</manufacturer><modelName>R</modelName>"
    "<UDN>uuid:00000000-0000-1000-8000-000000000001</UDN><serviceList><service>"
    "<serviceType>urn:schemas-upnp-org:service:RenderingControl:1</serviceType>"
    "<serviceId>urn:upnp-org:serviceId:RenderingControl</serviceId><SCPDURL>/scpd.xml</SCPDURL>"
    "<controlURL>/c</controlURL><eventSubURL>/e</eventSubURL></service></serviceList></device></root>"
)
SCPD = (
    '<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0"><specVersion><major>1'
    "</major><minor>0</minor></specVersion><serviceStateTable>"
    '<stateVariable sendEvents="yes"><name>LastChange</name><dataType>string</dataType>'
    '</stateVariable><stateVariable sendEvents="no"><name>Volume</name><dataType>ui2</dataType>'
    "</stateVariable></serviceStateTable></scpd>"
)
EVENT = (
    '<Event xmlns="urn:schemas-upnp-org:metadata-1-0/RCS/"><InstanceID val="0">'
    '<Volume Channel="Master" val="10"/><Volume Channel="LF" val="30"/></InstanceID>'
    '<InstanceID val="1"><Volume Channel="Master" val="77"/></InstanceID></Event>'
)


class Requester:
    async def async_http_request(self, request):
        return HttpResponse(200, {}, SCPD if request.url.endswith("scpd.xml") else ROOT)


async def main():
    device = await UpnpFactory(Requester()).async_create_device("http://127.0.0.1/d.xml")
    service = device.service("urn:schemas-upnp-org:service:RenderingControl:1")
    last_change = service.state_variable("LastChange")
    last_change.upnp_value = EVENT
    dlna_handle_notify_last_change(last_change)
    volume = service.state_variable("Volume").value
    print(f"Volume is {volume}; told were 10 (Master), 30 (LF) and 77 (Master of instance 1)")


asyncio.run(main())
PYTHON
diff - "$work/seen" <<'SEEN'
Volume is 30; told were 10 (Master), 30 (LF) and 77 (Master of instance 1)
SEEN
