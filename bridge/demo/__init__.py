"""Simulated devices for a first look and for tests: a renderer, a media server, a light, a router.

They speak real SSDP, HTTP, SOAP and GENA, on the loopback interface only. This package is the only
user of async-upnp-client, so that the bridge meets a peer that others wrote, and takes nothing else
from the bridge.
"""
