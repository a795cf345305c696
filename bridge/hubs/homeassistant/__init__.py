"""Home Assistant's MQTT discovery, one device document for each root device.

`rules` says which entities there are, `entities` how each kind is written, `discovery` puts the
documents together. The form is that of Home Assistant 2024.11 and later.
"""
