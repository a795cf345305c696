#!/usr/bin/env bash
# aedes 1.2.0 (broker), mqtt 5.16.0 (client), node: after SUBACK a client publishes a message to itself;
# it comes back before the retained messages of the filter that was subscribed before. MQTT 3.1.1 has no
# order between the two (section 4.6 orders each topic alone), but nobody else delivers so: whoever takes
# such a message for the end of the retained ones reads hardly any.
#
# Seen: 200 retained messages, hardly any of them before the marker
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund aedes@1.2.0 mqtt@5.16.0 >/dev/null
cat >read.mjs <<'JAVASCRIPT'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import mqtt from 'mqtt'

const broker = await Aedes.createBroker()
const server = createServer(broker.handle)
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const url = `mqtt://127.0.0.1:${server.address().port}`
const publisher = await mqtt.connectAsync(url)
for (let n = 0; n < 200; n++) {
  await publisher.publishAsync(`a/${n}`, 'value', { qos: 1, retain: true })
}
const reader = await mqtt.connectAsync(url)
let retained = 0
let before
reader.on('message', (topic, _payload, packet) => {
  if (topic === 'marker') before = retained
  else if (packet.retain) retained += 1
})
await reader.subscribeAsync('marker')
await reader.subscribeAsync('a/#')
await reader.publishAsync('marker', 'end')
await new Promise((resolve) => setTimeout(resolve, 2000))
console.log(`${retained} retained messages, ${before < 20 ? 'hardly any' : before} of them before the marker`)
process.exit()
JAVASCRIPT
timeout 60 node read.mjs >seen
diff - seen <<'SEEN'
200 retained messages, hardly any of them before the marker
SEEN
