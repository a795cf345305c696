/** How the bridge is: what it counts now, and the curves of the last hour. */

import { get } from "../api.js";
import { Curve } from "../curve.js";
import { topicOf } from "../documents.js";
import { Ago, Badge, Note } from "../kit.js";
import { decoded } from "../model.js";
import { href } from "../router.js";
import { instance } from "../session.js";
import { readJson, useWatch } from "../store.js";
import { html, useEffect, useState } from "../ui.js";
import { words } from "../words.js";

const ASK_MS = 10000;
const TONES = ["accent", "good", "warn", "bad", "lamp", "muted"];

const CURVES = [
  { key: "rates", series: ["events_per_s", "publications_per_s"], format: (n) => `${round(n)}` },
  { key: "latency", series: ["p50_ms", "p99_ms"], format: (n) => `${round(n)} ms` },
  { key: "queue", series: ["queue"], format: round },
  { key: "calls", prefix: "calls.", format: round },
  { key: "cpu", series: ["cpu"], format: (n) => `${round(n)} %` },
  { key: "memory", series: ["memory_mb"], format: (n) => `${round(n)} MB` },
  { key: "subscriptions", prefix: "subscriptions.", format: round },
];

function round(n) {
  if (n == null) return words.none;
  return String(n >= 100 ? Math.round(n) : Number(n.toPrecision(3)));
}

export default function Health() {
  const [history, setHistory] = useState(null);
  useEffect(() => {
    let isCurrent = true;
    const ask = async () => {
      try {
        const found = await get("/api/history");
        if (isCurrent) setHistory(found);
      } catch { /* it stays as it is */ }
    };
    ask();
    const timer = setInterval(() => document.hidden || ask(), ASK_MS);
    return () => {
      isCurrent = false;
      clearInterval(timer);
    };
  }, []);
  return html`<div class="page-head"><h1>${words.nav.health}</h1></div>
    <div class="stack"><${Now} />
      ${history ? html`<div class="curves">${CURVES.map((curve) => html`<${Panel} key=${curve.key} curve=${curve} history=${history} />`)}</div>` : html`<p class="muted loading">${words.loading}</p>`}</div>`;
}

function Panel({ curve, history }) {
  const names = (curve.series ?? Object.keys(history.series).filter((name) => name.startsWith(curve.prefix))).filter((name) => history.series[name]);
  const title = words.health.curves[curve.key];
  const last = names.map((name) => [label(name, curve), history.series[name].at(-1)]);
  const points = [history.points, ...names.map((name) => history.series[name])];
  return html`<section class="card panel" data-testid=${`curve-${curve.key}`}>
    <div class="split"><h2>${title}</h2><span class="muted">${last.length === 1 ? curve.format(last[0][1]) : ""}</span></div>
    ${history.points.length > 1 && names.length
      ? html`<${Curve} points=${points} label=${`${title}: ${last.map(([name, value]) => `${name} ${curve.format(value)}`).join(", ")}`} height=${170} format=${curve.format}
          series=${names.map((name, i) => ({ label: label(name, curve), tone: TONES[i % TONES.length], fill: names.length === 1 }))} />`
      : html`<p class="muted waiting">${names.length || !curve.prefix ? words.health.soon(history.step_s) : words.health.nothing}</p>`}</section>`;
}

const label = (name, curve) => (curve.prefix ? name.slice(curve.prefix.length) : words.health.series[name] ?? name);

function Now() {
  const topic = topicOf("bridge", instance.value, "health");
  const info = topicOf("bridge", instance.value, "info");
  useWatch([topic, info]);
  const health = readJson(topic);
  if (!health) return null;
  const { devices = {}, subscriptions = {}, events = {}, published = {}, broker = {}, calls = {}, failing = {} } = health;
  const ended = Object.entries(calls.ended ?? {});
  const facts = [
    [words.health.version, health.version],
    [words.health.started, html`<${Ago} ms=${Date.parse(readJson(info)?.started)} />`],
    [words.health.broker, html`<${Badge} tone=${broker.connected ? "good" : "bad"}>${broker.connected ? words.health.connected : words.health.away}</${Badge}>`],
    [words.health.devices, words.health.online(devices.online ?? 0, devices.known ?? 0)],
    [words.health.subscriptions, `${subscriptions.subscribed ?? 0}`],
    [words.health.events, number(events.received)],
    [words.health.published, number(published.tree)],
    [words.health.calls, number(ended.reduce((sum, [, n]) => sum + n, 0))],
  ];
  const failed = Object.entries(failing);
  return html`<section class="card"><dl class="facts numbers">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></section>
    ${(broker.problems ?? []).map((problem) => html`<${Note} tone="warn">${String(problem)}</${Note}>`)}
    ${failed.length > 0 && html`<section class="card"><h2>${words.health.failing}</h2><ul class="entities">${failed.slice(0, 100).map(([id, { state }]) => html`<li key=${id}>
      <a class="grow clip" href=${href("device", id.split("/")[0])}>${decoded(id)}</a><${Badge} tone="warn">${words.device.subscriptionStates[state] ?? state}</${Badge}></li>`)}</ul></section>`}`;
}

const number = (n) => (n ?? 0).toLocaleString("en");
