"""Every UPnP device on the network, mirrored onto MQTT."""

__version__ = "0.1.0"
