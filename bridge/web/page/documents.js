/** JSON of the tree, read once and for all: what has not the type that it should have is left out. */

import { baseTopic } from "./session.js";
import { readJson } from "./store.js";

const TEXTS = new Set(["children", "problems", "allowed_values", "subdevices"]);
const OBJECTS = new Set(["icons", "hints"]);
const NUMBERS = new Set(["minimum", "maximum", "step", "volume", "duration_s", "track", "tracks"]);
const BOOLEANS = new Set(["evented", "retval", "muted"]);

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function fitting(name, value) {
  if (TEXTS.has(name)) return Array.isArray(value) ? value.filter((each) => typeof each === "string") : undefined;
  if (OBJECTS.has(name)) return Array.isArray(value) ? value.filter(isObject) : undefined;
  if (NUMBERS.has(name)) return Number.isFinite(value) ? value : undefined;
  if (BOOLEANS.has(name)) return typeof value === "boolean" ? value : undefined;
  if (name === "default") return typeof value === "object" ? undefined : value;
  return typeof value === "string" ? value : undefined;
}

/** An object with those fields that have the type of their name; undefined where it is no object. */
export function shaped(value) {
  if (!isObject(value)) return undefined;
  const kept = Object.entries(value).map(([name, each]) => [name, fitting(name, each)]);
  return Object.fromEntries(kept.filter(([, each]) => each !== undefined));
}

const known = new WeakMap();

/** The document at a topic, as it may be relied on; undefined where there is none. */
export function documentAt(topic) {
  const value = readJson(topic);
  if (!isObject(value)) return undefined;
  if (!known.has(value)) known.set(value, shaped(value));
  return known.get(value);
}

export const topicOf = (id, ...levels) => [baseTopic.value, id, ...levels].join("/");

/** The document of a component by its id. */
export const documentOf = (id) => documentAt(topicOf(id));
