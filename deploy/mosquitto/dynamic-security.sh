#!/bin/sh
# Give a mosquitto with its plugin for dynamic security the roles upnp2mqtt-bridge, upnp2mqtt-hub and
# upnp2mqtt-dashboard, with the rights that the file `acl` gives to its users. Where the broker is, and the
# name and password of its administrator, stand in ~/.config/mosquitto_ctrl, an option a line (-h, -u, -P).
set -eu

dynsec() {
    # mosquitto_ctrl 2.0 exits with 0 when it is refused too, and warns at each loopback connection.
    said=$(mosquitto_ctrl dynsec "$@" 2>&1) || said="Error: $said"
    case $said in
        *rror:*) echo "$* : $said" >&2 && exit 1 ;;
    esac
}

# Make a role: its name, and the topic filters to read.
role() {
    role=$1
    shift
    dynsec createRole "$role"
    for filter in "$@"; do dynsec addRoleACL "$role" subscribePattern "$filter" allow; done
}

# Let the last role publish.
may_write() {
    for filter in "$@"; do dynsec addRoleACL "$role" publishClientSend "$filter" allow; done
}

role upnp2mqtt-bridge 'upnp/#' 'homeassistant/device/+/config' homeassistant/status
may_write 'upnp/#' 'homeassistant/device/+/config'

role upnp2mqtt-hub 'upnp/#' 'homeassistant/#'
may_write 'upnp/+/call' 'upnp/+/+/action/+/call' 'upnp/bridge/+/request/+' 'upnp/reply/#' 'homeassistant/#'
for verb in set get; do
    may_write "upnp/+/+/value/+/$verb" "upnp/+/+/value/+/+/$verb" "upnp/+/+/value/+/+/+/$verb"
done

role upnp2mqtt-dashboard 'upnp/#'
