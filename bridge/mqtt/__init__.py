"""The MQTT side: the only user of paho-mqtt."""
