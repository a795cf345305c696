/** What the page makes of the tree: rows of devices, their kinds, and what matters of each. */

import { documentOf, shaped, topicOf } from "./documents.js";
import { baseTopic } from "./session.js";
import { knownIds, readJson, read, topicsOf } from "./store.js";
import { words } from "./words.js";

/** The filters of a list of devices: a row, a document, whether it is there, what matters of it. */
export function listFilters() {
  const at = baseTopic.value;
  const values = [
    "Status", "LoadLevelStatus", "BinaryState", "ExternalIPAddress", "ConnectionStatus",
    "TotalBytesReceived", "TotalBytesSent", "Layer1DownstreamMaxBitRate", "Layer1UpstreamMaxBitRate",
  ];
  return [
    `${at}/bridge/+/devices`, `${at}/+`, `${at}/+/availability`, `${at}/+/media`,
    ...values.map((name) => `${at}/+/+/value/${name}`),
    ...["Volume", "LoadLevelTarget"].map((name) => `${at}/+/+/variable/${name}`),
  ];
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

/** The order of texts for people: `Room 2` before `Room 10`. */
export const inOrder = collator.compare;

export const byName = (a, b) => inOrder(a.name, b.name);

/** The topic without the base. */
export const below = (topic) => topic.slice(baseTopic.value.length + 1);

const lastLevel = (id) => id.slice(id.lastIndexOf("/") + 1);

/** A name of a topic level as it was before it was encoded. */
export function decoded(level) {
  try {
    return decodeURIComponent(level);
  } catch {
    return level;
  }
}

/** The ids of the services of a device, in the order of its description. */
export const serviceIds = (document) => (document?.children ?? []).filter((id) => id.includes("/"));

/** The topic level of a service whose name begins so, undefined where there is none. */
export function serviceLevel(document, name) {
  const found = serviceIds(document).find((id) => lastLevel(id).split(":")[0].startsWith(name));
  return found && lastLevel(found);
}

/** `MediaRenderer` of `urn:schemas-upnp-org:device:MediaRenderer:1`. */
export const shortType = (type = "") => type.split(":").at(-2) ?? type;

const KINDS = [
  ["router", /gateway|^WAN|WLANAccessPoint|WFADevice|router/i],
  ["player", /renderer|zoneplayer|player/i],
  ["server", /mediaserver|contentserver|library/i],
  ["light", /light|lamp|dimm|bulb/i],
  ["switch", /switch|controllee|socket|insight|plug|outlet|relay/i],
];

export const kinds = ["light", "switch", "player", "server", "router", "other"];

/** The kind of a device, from its type and its services. */
export function kindOf(type, document) {
  const name = shortType(type);
  const byType = KINDS.find(([, pattern]) => pattern.test(name))?.[0];
  if (byType) return byType;
  if (serviceLevel(document, "AVTransport")) return "player";
  if (serviceLevel(document, "ContentDirectory")) return "server";
  if (serviceLevel(document, "Dimming")) return "light";
  if (serviceLevel(document, "SwitchPower")) return "switch";
  return "other";
}

/** The rows of all root devices; a row of a bridge is kept with what the document says beside it. */
export function rows() {
  const found = new Map();
  for (const topic of topicsOf("bridge")) {
    if (!/^[^/]+\/devices$/.test(below(topic).slice("bridge/".length))) continue;
    const list = readJson(topic);
    if (!Array.isArray(list)) continue;
    const owner = below(topic).split("/")[1];
    for (const each of list) {
      const row = shaped(each);
      if (row?.id) found.set(row.id, { ...row, problems: Number(each.problems) || 0, bridge: decoded(owner) });
    }
  }
  for (const id of knownIds()) {
    if (id === "bridge" || found.has(id)) continue;
    const document = documentOf(id);
    if (document?.kind === "device") found.set(id, { ...document, problems: document.problems?.length ?? 0 });
  }
  return [...found.values()].map((row) => describe(row, documentOf(row.id)));
}

/** What a list shows of one device. */
export function describe(row, document) {
  const type = document?.device_type ?? row.device_type ?? "";
  return {
    id: row.id,
    name: row.friendly_name || document?.friendly_name || words.devices.unnamed,
    model: row.model_name ?? document?.model_name ?? "",
    manufacturer: row.manufacturer ?? document?.manufacturer ?? "",
    type,
    kind: kindOf(type, document),
    address: hostOf(row.location ?? document?.location),
    isOnline: (read(topicOf(row.id, "availability")) ?? row.availability) === "online",
    since: row.offline_since,
    problems: row.problems || document?.problems?.length || 0,
    hints: document?.hints ?? [],
    subdevices: row.subdevices ?? [],
    hasIcon: Boolean(document?.icons?.length),
    owner: document?.bridge ?? row.bridge ?? "",
  };
}

/** Host and port of a URL, empty where it is none. */
export function hostOf(url) {
  try {
    return new URL(url).host;
  } catch {
    return "";
  }
}

/** A URL that may be linked, undefined where it is none of http or https. */
export function safeUrl(url) {
  try {
    const { protocol, href } = new URL(url);
    return protocol === "http:" || protocol === "https:" ? href : undefined;
  } catch {
    return undefined;
  }
}

/** The first topic `<id>/<service>/value/<name>` of these devices: `{topic, service, value}`. */
export function valueOf(ids, name, isIt = () => true) {
  for (const id of ids) {
    for (const topic of topicsOf(id)) {
      const [, service, word, variable, ...rest] = below(topic).split("/");
      if (word === "value" && variable === name && !rest.length && isIt(service)) {
        return { topic, service, value: read(topic) };
      }
    }
  }
  return undefined;
}

/** `0:03:07` or `0:03:07.500` in seconds, undefined where it is no time. */
export function seconds(time) {
  const found = /^(\d+):(\d{1,2}):(\d{1,2})(?:\.\d+)?$/.exec(time ?? "");
  return found ? Number(found[1]) * 3600 + Number(found[2]) * 60 + Number(found[3]) : undefined;
}

/** Seconds as `3:07` or `1:03:07`. */
export function clock(total) {
  const whole = Math.max(0, Math.floor(total));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Seconds as `H:MM:SS`, as UPnP wants them. */
export function upnpTime(total) {
  const whole = Math.max(0, Math.floor(total));
  const two = (n) => String(n).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
}

/** A number of bits a second for people. */
export function bitRate(bits) {
  const units = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];
  let [value, unit] = [bits, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value >= 100 || unit === 0 ? Math.round(value) : Number(value.toPrecision(2))} ${units[unit]}`;
}
