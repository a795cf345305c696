/**
 * The retained tree, as far as the page watches it: one WebSocket, a signal for each topic.
 *
 * What comes is applied once for each frame of the screen. Filters are counted: the bridge is asked
 * for one when its first reader comes, and told to stop a while after the last one has left.
 */

import { base } from "./api.js";
import { baseTopic, loadSession } from "./session.js";
import { batch, signal, untracked, useEffect } from "./ui.js";

const LINGER_MS = 3000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10000;
const HIDDEN_FLUSH_MS = 1000;
const ANSWER_MS = 40000;

/** `connecting` at first, then `open`, or `gone` while the bridge does not answer. */
export const link = signal("connecting");

/** How often a connection was opened. */
export const connections = signal(0);

const topics = new Map(); // topic → signal of its payload; null: nothing is there
const places = new Map(); // device or `bridge` → { names: Set, version: signal }
const changes = new Map(); // topic → when it last changed, in ms, while somebody watched
const filters = new Map(); // filter → { readers, ready, seen, timer }
const listeners = new Set(); // { matches, told }
const readers = new Set(); // { matches, told } of changes
const sets = new Map(); // device → commands that wait for their answer
const activities = new Set();

let socket = null;
let pause = FIRST_PAUSE_MS;
let retry = 0;
let arrived = new Map();
let isFlushPlanned = false;

const levelsOf = new Map();

/** Whether an MQTT filter matches a topic. */
export function matches(filter, topic) {
  let wanted = levelsOf.get(filter);
  if (!wanted) {
    wanted = filter.split("/");
    levelsOf.set(filter, wanted);
  }
  const levels = topic.split("/");
  for (let i = 0; i < wanted.length; i += 1) {
    if (wanted[i] === "#") return levels.length >= i;
    if (i >= levels.length || (wanted[i] !== "+" && wanted[i] !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

/** The text at a topic, undefined where there is none. Who reads it is told when it changes. */
export function read(topic) {
  return cell(topic).value ?? undefined;
}

const parsed = new Map();

/** The JSON at a topic, undefined where there is none, or none that can be read. */
export function readJson(topic) {
  const text = read(topic);
  if (text === undefined) {
    parsed.delete(topic);
    return undefined;
  }
  const known = parsed.get(topic);
  if (known?.text === text) return known.value;
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  parsed.set(topic, { text, value });
  return value;
}

/** The topics at and below a device (or `bridge`); who reads them is told when one comes or goes. */
export function topicsOf(id) {
  const place = placeOf(id);
  place.version.value; // eslint-disable-line no-unused-expressions
  return place.names;
}

/** The devices that something is known of. */
export function knownIds() {
  roster.value; // eslint-disable-line no-unused-expressions
  return [...places.keys()].filter((id) => places.get(id).names.size);
}

/** When a topic last changed, in ms since 1970, undefined where nobody saw it. */
export const changedAt = (topic) => changes.get(topic);

/** Note when topics last changed, by the bridge's own word, in seconds. */
export function noteChanges(times) {
  for (const [topic, seconds] of Object.entries(times)) {
    if (!changes.has(topic)) changes.set(topic, seconds * 1000);
  }
}

/** Watch filters while the component stands. Returns whether all that is under them has come. */
export function useWatch(wanted) {
  useEffect(() => watch(wanted), [wanted.join("\n")]);
  return wanted.every((filter) => entry(filter).ready.value);
}

/** Watch filters; returns the function that ends it. */
export function watch(wanted) {
  const fresh = [];
  for (const filter of wanted) {
    const kept = entry(filter);
    clearTimeout(kept.timer);
    kept.readers += 1;
    if (kept.readers === 1 && !kept.isAsked) {
      kept.isAsked = true;
      kept.seen = new Set();
      fresh.push(filter);
    }
  }
  if (fresh.length) send({ watch: fresh });
  return () => {
    for (const filter of wanted) {
      const kept = entry(filter);
      kept.readers -= 1;
      if (!kept.readers) kept.timer = setTimeout(drop, LINGER_MS, filter);
    }
  };
}

/** Be told `(topic, payload)` of each message that is not retained and matches. */
export function onMessage(filter, told) {
  const listener = { filter, told };
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Be told `(topic, payload)` of each change under a filter that is watched. */
export function onChange(filter, told) {
  const reader = { filter, told };
  readers.add(reader);
  return () => readers.delete(reader);
}

/** Be told of each activity of the bridge: log lines, commands, answers, events. */
export function onActivity(told) {
  activities.add(told);
  if (activities.size === 1) send({ activity: true });
  return () => {
    activities.delete(told);
    if (!activities.size) send({ activity: false });
  };
}

/** Set a value by its topic (without `/set`); resolves to the answer. */
export function set(topic, text) {
  const { id, variable } = placeOfValue(topic);
  return new Promise((resolve) => {
    const waiting = { variable, resolve: (answer) => { clearTimeout(timer); resolve(answer); } };
    const timer = setTimeout(() => settle(id, waiting, { success: false, code: "timeout" }), ANSWER_MS);
    sets.set(id, [...(sets.get(id) ?? []), waiting]);
    if (!send({ topic: `${topic}/set`, payload: text })) settle(id, waiting, { success: false, code: "gone" });
  });
}

function placeOfValue(topic) {
  const [id, , , level = ""] = topic.slice(baseTopic.peek().length + 1).split("/");
  return { id, variable: decodeURIComponent(level) };
}

/** Connect, and again whenever the connection ends. */
export function connect() {
  clearTimeout(retry);
  if (socket) return;
  const url = new URL(`${base}/api/ws`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const mine = new WebSocket(url);
  socket = mine;
  mine.onopen = () => {
    pause = FIRST_PAUSE_MS;
    link.value = "open";
    connections.value += 1;
    for (const kept of filters.values()) kept.seen = new Set();
    const wanted = [...filters].filter(([, kept]) => kept.isAsked).map(([filter]) => filter);
    if (wanted.length) send({ watch: wanted });
    if (activities.size) send({ activity: true });
  };
  mine.onmessage = ({ data }) => take(JSON.parse(data));
  mine.onclose = () => {
    if (socket !== mine) return;
    socket = null;
    link.value = "gone";
    for (const [id, waiting] of sets) {
      for (const each of waiting) settle(id, each, { success: false, code: "gone" });
    }
    retry = setTimeout(again, pause * (0.75 + Math.random() / 2));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  };
}

async function again() {
  await loadSession();
  connect();
}

for (const name of ["online", "visibilitychange"]) {
  addEventListener(name, () => {
    if (link.value !== "gone" || document.hidden || socket) return;
    clearTimeout(retry);
    again();
  });
}

/** Take up a change of rights, which hold for a connection as it was opened. */
export function reconnect() {
  const old = socket;
  socket = null;
  old?.close();
  connect();
}

const roster = signal(0);

function cell(topic) {
  let found = topics.get(topic);
  if (!found) {
    found = signal(null);
    topics.set(topic, found);
  }
  return found;
}

function placeOf(id) {
  let found = places.get(id);
  if (!found) {
    found = { names: new Set(), version: signal(0) };
    places.set(id, found);
  }
  return found;
}

function entry(filter) {
  let found = filters.get(filter);
  if (!found) {
    found = { readers: 0, isAsked: false, ready: signal(false), seen: null, timer: 0 };
    filters.set(filter, found);
  }
  return found;
}

function send(frame) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(frame));
  return true;
}

function drop(filter) {
  filters.delete(filter);
  send({ unwatch: [filter] });
  const others = [...filters].filter(([, kept]) => kept.isAsked).map(([name]) => name);
  batch(() => {
    for (const [topic, kept] of topics) {
      if (!matches(filter, topic) || others.some((other) => matches(other, topic))) continue;
      apply(topic, null);
      changes.delete(topic);
      parsed.delete(topic);
      if (kept.peek() === null) topics.delete(topic);
    }
  });
}

function isMessage(topic) {
  const levels = topic.slice(baseTopic.peek().length + 1).split("/");
  if (levels[0] === "bridge") return ["event", "log", "beat", "response", "request"].includes(levels[2]);
  return levels[1] === "response" || (levels.length === 3 && levels[2] === "event");
}

function take(frame) {
  if (frame.activity) {
    for (const told of activities) told(frame.activity);
  } else if (frame.watched) {
    arrived.set(Symbol("watched"), frame.watched);
    plan();
  } else if (frame.error !== undefined) {
    refuse(frame);
  } else if (frame.topic !== undefined) {
    if (isMessage(frame.topic)) hear(frame.topic, frame.payload);
    else {
      arrived.delete(frame.topic);
      arrived.set(frame.topic, frame.payload);
      plan();
    }
  }
}

function plan() {
  if (isFlushPlanned) return;
  isFlushPlanned = true;
  const flush = () => {
    if (!isFlushPlanned) return;
    isFlushPlanned = false;
    const taken = arrived;
    arrived = new Map();
    batch(() => {
      for (const [key, payload] of taken) {
        if (typeof key === "symbol") payload.forEach(settleFilter);
        else apply(key, payload);
      }
    });
  };
  if (document.hidden) setTimeout(flush, HIDDEN_FLUSH_MS);
  else {
    requestAnimationFrame(flush);
    setTimeout(flush, HIDDEN_FLUSH_MS); // a page that is hidden meanwhile gets no frame
  }
}

function apply(topic, payload) {
  const found = cell(topic);
  const before = found.peek();
  let isInitial = false;
  for (const [filter, kept] of filters) {
    if (kept.seen && matches(filter, topic)) { // what is under it is still coming
      kept.seen.add(topic);
      isInitial = true;
    }
  }
  if (before === payload) return;
  found.value = payload;
  const id = topic.slice(baseTopic.peek().length + 1).split("/", 1)[0];
  const place = placeOf(id);
  if (payload === null ? place.names.delete(topic) : before === null && place.names.add(topic)) {
    place.version.value = place.version.peek() + 1;
    if (place.names.size <= 1) roster.value = roster.peek() + 1;
  }
  if (!isInitial || before !== null) changes.set(topic, Date.now());
  for (const reader of readers) if (matches(reader.filter, topic)) untracked(() => reader.told(topic, payload));
}

/** All that is under a filter has come: what was there before and did not come again is gone. */
function settleFilter(filter) {
  const kept = filters.get(filter);
  if (!kept) return;
  const { seen } = kept;
  kept.seen = null;
  kept.ready.value = true;
  if (!seen) return;
  for (const [topic, found] of topics) {
    if (found.peek() !== null && !seen.has(topic) && matches(filter, topic)) apply(topic, null);
  }
}

function hear(topic, payload) {
  const levels = topic.slice(baseTopic.peek().length + 1).split("/");
  if (levels[1] === "response" && sets.get(levels[0])?.length) {
    let answer = {};
    try {
      answer = JSON.parse(payload);
    } catch { /* it is nobody's */ }
    const waiting = sets.get(levels[0]);
    const isUnnamed = !answer.variable && answer.callid === undefined && answer.success === false;
    const first = waiting.find((each) => each.variable === answer.variable) ?? (isUnnamed ? waiting[0] : undefined);
    if (first) settle(levels[0], first, answer);
  }
  for (const { filter, told } of listeners) if (matches(filter, topic)) told(topic, payload);
}

/** A command that was not carried out, with its topic. */
function refuse({ topic = "", error, code }) {
  const { id, variable } = placeOfValue(topic);
  const first = (sets.get(id) ?? []).find((each) => each.variable === variable);
  if (first) settle(id, first, { success: false, outcome: "not_sent", error, code });
}

function settle(id, waiting, answer) {
  sets.set(id, (sets.get(id) ?? []).filter((each) => each !== waiting));
  waiting.resolve(answer);
}
