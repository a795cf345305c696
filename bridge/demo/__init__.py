"""Simulated devices: the only user of async-upnp-client."""
