/** What goes on in the bridge, as it happens: its log, commands, answers, and events of devices. */

import { request } from "../api.js";
import { documentAt, topicOf } from "../documents.js";
import { Badge, Button, Choice, Copy, Empty, Growing, report, SearchBox } from "../kit.js";
import { below, decoded, inOrder } from "../model.js";
import { href, route, setQuery } from "../router.js";
import { baseTopic, canControl, instance } from "../session.js";
import { onActivity, readJson, useWatch } from "../store.js";
import { html, signal, useEffect, useState } from "../ui.js";
import { words } from "../words.js";

const KEPT = 2000;
const SENT_AGAIN = 400; // a new connection begins with what the bridge has kept
const FLUSH_MS = 200;
const KINDS = ["log", "command", "answer", "event"];
const LEVELS = ["debug", "info", "warning", "error", "critical"];
const MOST_NAMED = 50;
const LONG = 280;

/** Entries, the newest first; while held, what comes waits. */
function useActivity(isHeld) {
  const [entries] = useState(() => signal([]));
  const [waiting] = useState(() => signal([]));
  useEffect(() => {
    const seen = new Set();
    let fresh = [];
    let number = 0;
    let timer = 0;
    const flush = () => {
      timer = 0;
      waiting.value = [...fresh.reverse(), ...waiting.peek()].slice(0, KEPT);
      fresh = [];
    };
    const end = onActivity((entry) => {
      const line = JSON.stringify(entry);
      if (seen.has(line)) return;
      seen.add(line);
      if (seen.size > SENT_AGAIN) seen.delete(seen.values().next().value);
      number += 1;
      fresh.push(read(entry, line, number));
      timer ||= setTimeout(flush, FLUSH_MS);
    });
    return () => {
      end();
      clearTimeout(timer);
    };
  }, []);
  useEffect(() => {
    if (isHeld || !waiting.value.length) return;
    entries.value = [...waiting.value, ...entries.peek()].slice(0, KEPT);
    waiting.value = [];
  }, [isHeld, waiting.value]);
  return { entries, waiting };
}

/** An entry with what it is found by: its line, its device, and how grave it is. */
function read(entry, line, number) {
  const body = entry.kind === "command" || entry.kind === "answer" ? parse(entry.payload) : null;
  const level = entry.kind === "log" ? LEVELS.indexOf(entry.level) : LEVELS.indexOf(body?.success === false ? "warning" : "info");
  return { ...entry, number, line, body, device: deviceOf(entry), gravity: level };
}

function deviceOf({ kind, service, topic, udn, device }) {
  if (kind === "event") return String(service).split("/")[0];
  if (kind === "log") return String(udn ?? device ?? "").replace(/^uuid:/, "").split("/")[0];
  const id = below(String(topic)).split("/")[0];
  return id === "bridge" ? "" : id;
}

function parse(text) {
  try {
    const value = JSON.parse(text);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** The names of the devices that are spoken of. */
function useNames(entries) {
  const list = `${baseTopic.value}/bridge/+/devices`;
  const own = topicOf("bridge", encodeURIComponent(instance.value), "devices");
  const rows = readJson(own);
  const names = new Map();
  for (const row of Array.isArray(rows) ? rows : []) if (typeof row?.friendly_name === "string") names.set(row.id, row.friendly_name);
  const others = [...new Set(entries.map((each) => each.device))].filter((id) => id && !names.has(id)).slice(0, MOST_NAMED);
  useWatch([list, ...others.map((id) => topicOf(id))]);
  for (const id of others) {
    const name = documentAt(topicOf(id))?.friendly_name;
    if (name) names.set(id, name);
  }
  return names;
}

export default function Activity() {
  const [isPaused, pause] = useState(false);
  const { entries, waiting } = useActivity(isPaused);
  const names = useNames(entries.value);
  const { filter = "", kind = "", device = "", level = "" } = route.value.query;
  const wanted = filter.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (each) => (!kind || each.kind === kind) && (!device || each.device === device) && (!level || each.gravity >= LEVELS.indexOf(level))
    && wanted.every((word) => each.line.toLowerCase().includes(word) || names.get(each.device)?.toLowerCase().includes(word));
  const shown = entries.value.filter(fits);
  return html`<div class="page-head"><h1>${words.nav.activity}</h1><span class="muted">${words.activity.count(shown.length)}</span>
      <span class="actions"><${Button} symbol=${isPaused ? "play" : "pause"} label=${isPaused ? words.activity.goOn(waiting.value.length) : words.activity.pause} testid="pause" onClick=${() => pause(!isPaused)} />
        <${Copy} text=${() => shown.map((each) => each.line).join("\n")} label=${words.activity.copy} testid="copy-activity" />
        <${Button} kind="quiet" symbol="trash" label=${words.activity.clear} onClick=${() => { entries.value = []; }} /></span></div>
    <div class="toolbar"><${SearchBox} label=${words.activity.filter} hint=${words.activity.filterHint} value=${filter} testid="activity-filter" onInput=${(text) => setQuery({ filter: text })} />
      <${Choice} label=${words.activity.device} value=${device} options=${deviceOptions(entries.value, names, device)} testid="activity-device" onChange=${(id) => setQuery({ device: id })} />
      <${Choice} label=${words.activity.shownLevel} value=${level} options=${words.activity.shownLevels} testid="activity-level" onChange=${(next) => setQuery({ level: next })} /></div>
    <div class="toolbar"><div class="chips" role="group" aria-label=${words.activity.kind}>${["", ...KINDS].map((each) => html`<button key=${each} type="button" class="chip" aria-pressed=${kind === each}
        onClick=${() => setQuery({ kind: each })}>${words.activity.kinds[each]}</button>`)}</div><${Level} /></div>
    ${shown.length
      ? html`<div class="card log" role="log" aria-live="off" aria-label=${words.nav.activity}><${Growing} as="ol" items=${shown} portion=${100} render=${(each) => html`<${Entry} key=${each.number} entry=${each} name=${names.get(each.device)} />`} /></div>`
      : html`<${Nothing} isFiltered=${entries.value.length > 0} />`}`;
}

function Nothing({ isFiltered }) {
  if (!isFiltered) return html`<${Empty} symbol="activity" title=${words.activity.none}><p>${words.activity.noneText}</p></${Empty}>`;
  return html`<${Empty} symbol="activity" title=${words.activity.nothingFound}>
    <${Button} label=${words.devices.clear} onClick=${() => setQuery({ filter: "", kind: "", device: "", level: "" })} /></${Empty}>`;
}

function deviceOptions(entries, names, chosen) {
  const ids = new Set([...entries.map((each) => each.device), chosen]);
  ids.delete("");
  const found = [...ids].map((id) => [id, names.get(id) ?? id]).sort(([, a], [, b]) => inOrder(a, b));
  return { "": words.activity.anyDevice, ...Object.fromEntries(found) };
}

/** From which level on the bridge writes log lines. */
function Level() {
  const topic = topicOf("bridge", encodeURIComponent(instance.value), "health");
  useWatch([topic]);
  const [chosen, choose] = useState("");
  const level = chosen || documentAt(topic)?.log_level || "";
  const known = LEVELS.slice(0, 4);
  const options = Object.fromEntries((known.includes(level) ? known : [level, ...known]).map((each) => [each, each || words.none]));
  return html`<${Choice} isNamed=${true} label=${words.activity.level} value=${level} options=${options} disabled=${!canControl.value} testid="log-level"
    onChange=${async (next) => report(await request("log_level", { level: next })) && choose(next)} />`;
}

const TONES = { warning: "warn", error: "bad", critical: "bad" };

function toneOf({ kind, level, body }) {
  if (kind === "log") return TONES[level] ?? "plain";
  if (kind === "answer") return body?.success === false ? "bad" : "good";
  return kind === "command" ? "accent" : "plain";
}

function Entry({ entry, name }) {
  const { kind, time, level } = entry;
  const View = { log: Line, event: Event }[kind] ?? Command;
  return html`<li class="log-line" data-testid="activity" data-kind=${kind}>
    <time class="mono muted" datetime=${time} title=${time}>${clockOf(time)}</time>
    <${Badge} tone=${toneOf(entry)}>${kind === "log" ? level : words.activity.kindOf[kind] ?? kind}</${Badge}>
    <div class="log-text"><${View} entry=${entry} name=${name} /></div></li>`;
}

function Line({ entry, name }) {
  const { kind, time, event, level, number, line, body, device, gravity, ...rest } = entry;
  if (name) for (const each of ["name", "udn"]) delete rest[each];
  return html`<strong>${event}</strong> ${name && html`<${DeviceLink} id=${device} name=${name} /> `}<${Long} text=${pairs(rest)} />`;
}

function Event({ entry, name }) {
  const service = String(entry.service).split("/")[1] ?? "";
  return html`<${DeviceLink} id=${entry.device} name=${name} /> <strong>${decoded(service)}</strong> <${Long} text=${pairs(entry.values ?? {})} />`;
}

/** A command or an answer: of which device, which action, with what. */
function Command({ entry, name }) {
  const { device, topic, payload, body, from, kind } = entry;
  const levels = below(String(topic)).split("/").slice(device ? 1 : 2);
  const action = [body?.service, body?.action].filter((each) => typeof each === "string").join(".");
  const title = action || body?.verb || levels.map(decoded).join("/");
  return html`${device && html`<${DeviceLink} id=${device} name=${name} /> `}<strong>${String(title)}</strong> <${Long} text=${kind === "answer" ? outcome(body, payload) : given(body, payload)} />
    ${body?.callid !== undefined && html` <small>${words.activity.callid(JSON.stringify(body.callid))}</small>`}
    ${from === "page" && html` <${Badge}>${words.activity.fromPage}</${Badge}>`}`;
}

function given(body, payload) {
  return body?.action && (body.args === undefined || isObject(body.args)) ? pairs(body.args ?? {}) : String(payload);
}

function outcome(body, payload) {
  if (!body) return String(payload);
  const took = Number.isFinite(body.elapsed_ms) ? words.action.took(body.elapsed_ms) : "";
  if (body.success === false) return [`${body.error} (${body.upnp_code ?? body.code})`, took].filter(Boolean).join(" · ");
  const told = isObject(body.out) ? pairs(body.out) : body.data === undefined ? "" : JSON.stringify(body.data);
  return [told, took].filter(Boolean).join(" · ");
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

const DeviceLink = ({ id, name }) => html`<a href=${href("device", id)}>${name ?? id}</a>`;

/** A text that is opened where it is long. */
function Long({ text }) {
  if (text.length <= LONG) return html`<span class="muted">${text}</span>`;
  return html`<details><summary><span class="muted clip">${text.slice(0, LONG)}</span></summary><pre>${text}</pre></details>`;
}

const pairs = (fields) => Object.entries(fields).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(" · ");

function clockOf(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  return `${date.toLocaleTimeString("en-GB")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
