/** A call as others write it: for a shell, for HTTP, for Home Assistant, for Node-RED. */

import { base } from "./api.js";
import { baseTopic, session } from "./session.js";

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function brokerUrl() {
  const url = session.value?.broker?.url;
  return typeof url === "string" && url ? url : "mqtt://localhost:1883";
}

const command = ({ service, action, args }) => JSON.stringify({ service, action, args });

export const FORMATS = {
  mosquitto(call) {
    const topic = `${baseTopic.value}/${call.id}/call`;
    const { protocol, host } = new URL(brokerUrl());
    const isPlain = protocol === "mqtt:" || protocol === "mqtts:";
    return isPlain
      ? `mosquitto_pub -L ${quoted(`${protocol}//${host}/${topic}`)} -m ${quoted(command(call))}`
      : `mosquitto_pub -t ${quoted(topic)} -m ${quoted(command(call))}`;
  },
  curl({ id, service, action, args }) {
    const body = JSON.stringify({ id, service, action, args });
    return `curl ${quoted(`${location.origin}${base}/api/call`)} -H 'Content-Type: application/json' -d ${quoted(body)}`;
  },
  homeassistant(call) {
    const text = command(call);
    const payload = /\{[{%#]/.test(text) ? `{% raw %}${text}{% endraw %}` : text; // payloads are templates there
    return [
      "action: mqtt.publish",
      "data:",
      `  topic: '${`${baseTopic.value}/${call.id}/call`.replaceAll("'", "''")}'`,
      `  payload: '${payload.replaceAll("'", "''")}'`,
      "",
    ].join("\n");
  },
  nodered(call) {
    const { hostname, port } = new URL(brokerUrl());
    const nodes = [
      { id: "upnp_inject", type: "inject", name: call.action, props: [{ p: "payload" }], payload: command(call), payloadType: "json", wires: [["upnp_call"]] },
      { id: "upnp_call", type: "mqtt out", name: `${call.service} ${call.action}`, topic: `${baseTopic.value}/${call.id}/call`, qos: "1", retain: "false", broker: "upnp_broker", wires: [] },
      { id: "upnp_broker", type: "mqtt-broker", name: "upnp2mqtt", broker: hostname || "localhost", port: port || "1883" },
    ];
    return JSON.stringify(nodes, null, 2);
  },
};
