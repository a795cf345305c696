/** What goes on in the bridge, as it happens: its log, commands, answers, and events of devices. */

import { request } from "../api.js";
import { documentAt, topicOf } from "../documents.js";
import { Badge, Button, Choice, Copy, Empty, Growing, report, SearchBox } from "../kit.js";
import { below, decoded } from "../model.js";
import { href, route, setQuery } from "../router.js";
import { canControl, instance } from "../session.js";
import { onActivity, read, useWatch } from "../store.js";
import { html, signal, useEffect, useState } from "../ui.js";
import { words } from "../words.js";

const KEPT = 1000;
const FLUSH_MS = 200;
const KINDS = ["log", "command", "answer", "event"];
const LEVELS = { debug: "debug", info: "info", warning: "warning", error: "error" };

/** Entries, the newest first; `hold` keeps what comes from being shown. */
function useActivity(isHeld) {
  const [entries] = useState(() => signal([]));
  const [waiting] = useState(() => signal([]));
  useEffect(() => {
    let fresh = [];
    let number = 0;
    let timer = 0;
    const flush = () => {
      timer = 0;
      waiting.value = [...fresh.reverse(), ...waiting.peek()].slice(0, KEPT);
      fresh = [];
    };
    const end = onActivity((entry) => {
      number += 1;
      fresh.push({ ...entry, number, text: JSON.stringify(entry).toLowerCase() });
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

export default function Activity() {
  const [isPaused, pause] = useState(false);
  const { entries, waiting } = useActivity(isPaused);
  const { filter = "", kind = "" } = route.value.query;
  const wanted = filter.trim().toLowerCase().split(/\s+/);
  const shown = entries.value.filter((each) => (!kind || each.kind === kind) && wanted.every((word) => each.text.includes(word)));
  return html`<div class="page-head"><h1>${words.nav.activity}</h1>
      <span class="actions"><${Level} />
        <${Button} symbol=${isPaused ? "play" : "pause"} label=${isPaused ? words.activity.goOn(waiting.value.length) : words.activity.pause} testid="pause" onClick=${() => pause(!isPaused)} />
        <${Copy} text=${() => shown.map(line).join("\n")} label=${words.activity.copy} testid="copy-activity" />
        <${Button} kind="quiet" label=${words.activity.clear} onClick=${() => { entries.value = []; }} /></span></div>
    <div class="toolbar"><${SearchBox} label=${words.activity.filter} hint=${words.activity.filterHint} value=${filter} testid="activity-filter" onInput=${(text) => setQuery({ filter: text })} />
      <div class="chips" role="group" aria-label=${words.activity.kind}>${["", ...KINDS].map((each) => html`<button key=${each} type="button" class="chip" aria-pressed=${kind === each}
        onClick=${() => setQuery({ kind: each })}>${words.activity.kinds[each]}</button>`)}</div></div>
    ${shown.length
      ? html`<div class="card log"><${Growing} as="ol" items=${shown} portion=${100} render=${(each) => html`<${Entry} key=${each.number} entry=${each} />`} /></div>`
      : html`<${Empty} symbol="activity" title=${entries.value.length ? words.activity.nothingFound : words.activity.none}><p>${words.activity.noneText}</p></${Empty}>`}`;
}

/** From which level on the bridge writes log lines. */
function Level() {
  const topic = topicOf("bridge", instance.value, "health");
  useWatch([topic]);
  const [chosen, choose] = useState("");
  const level = chosen || documentAt(topic)?.log_level || "";
  const options = level in LEVELS ? LEVELS : { [level]: level || words.none, ...LEVELS };
  return html`<label class="pick"><span class="muted">${words.activity.level}</span><${Choice} label=${words.activity.level} value=${level} options=${options} disabled=${!canControl.value} testid="log-level"
    onChange=${async (next) => report(await request("log_level", { level: next })) && choose(next)} /></label>`;
}

const line = ({ number, text, ...entry }) => JSON.stringify(entry);

const TONES = { warning: "warn", error: "bad", critical: "bad" };

function Entry({ entry }) {
  const { kind, time } = entry;
  const answer = kind === "answer" ? parse(entry.payload) : null;
  const tone = kind === "log" ? TONES[entry.level] ?? "plain" : answer?.success === false ? "bad" : { command: "accent", answer: "good" }[kind] ?? "plain";
  return html`<li class="log-line" data-testid="activity" data-kind=${kind}>
    <time class="mono muted" datetime=${time} title=${time}>${clockOf(time)}</time>
    <${Badge} tone=${tone}>${kind === "log" ? entry.level : words.activity.kindOf[kind] ?? kind}</${Badge}>
    <div class="log-text">${textOf(entry)}</div></li>`;
}

function textOf(entry) {
  const { kind, time, event, level, ...rest } = entry;
  if (kind === "log") return html`<strong>${event}</strong> <span class="muted">${pairs(rest)}</span>`;
  if (kind === "event") {
    const [id, service = ""] = String(entry.service).split("/");
    return html`<a href=${href("device", id)}>${nameOf(id)}</a> <strong>${decoded(service)}</strong> <span class="muted">${pairs(entry.values ?? {})}</span>`;
  }
  return html`<code>${below(String(entry.topic))}</code> <span class="muted">${entry.payload}</span>${entry.from === "page" && html` <${Badge}>${words.activity.fromPage}</${Badge}>`}`;
}

/** The name of a device where it is known, else its id. */
function nameOf(id) {
  return read(topicOf(id)) === undefined ? id : documentAt(topicOf(id))?.friendly_name ?? id;
}

const pairs = ({ number, text, ...fields }) => Object.entries(fields).map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join(" · ");

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function clockOf(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  return `${date.toLocaleTimeString("en-GB")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
