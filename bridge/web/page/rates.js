/** How fast counters of bytes grow, from the changes that the page has seen. */

import { signal } from "./ui.js";
import { onChange } from "./store.js";
import { baseTopic } from "./session.js";

const rates = new Map(); // topic → { value, at, rate: signal }
let isListening = false;

function listen() {
  isListening = true;
  for (const name of ["TotalBytesReceived", "TotalBytesSent"]) {
    onChange(`${baseTopic.peek()}/+/+/value/${name}`, note);
  }
}

function note(topic, payload) {
  const [value, at] = [Number(payload), Date.now()];
  const known = kept(topic);
  if (payload !== null && known.at && value >= known.value && at > known.at) {
    known.rate.value = ((value - known.value) * 8000) / (at - known.at);
  }
  Object.assign(known, { value, at });
}

function kept(topic) {
  let found = rates.get(topic);
  if (!found) {
    found = { value: 0, at: 0, rate: signal(undefined) };
    rates.set(topic, found);
  }
  return found;
}

/** Bits a second at the last change of a counter, undefined before the second one. */
export function rateOf(topic) {
  if (!isListening) listen();
  return topic === undefined ? undefined : kept(topic).rate.value;
}
