/** How the bridge is: what it counts now, and the curves of the last hour. */

import { get } from "../api.js";
import { Curve } from "../curve.js";
import { documentOf, topicOf } from "../documents.js";
import { Ago, Badge, Note } from "../kit.js";
import { below, decoded } from "../model.js";
import { href } from "../router.js";
import { baseTopic, instance, session } from "../session.js";
import { read, readJson, topicsOf, useWatch } from "../store.js";
import { html, useEffect, useState } from "../ui.js";
import { words } from "../words.js";

const ASK_MS = 10000;
const MOST_FAILING = 100;
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
  const [problem, setProblem] = useState("");
  useEffect(() => {
    let isCurrent = true;
    const ask = async () => {
      try {
        const found = await get("/api/history");
        if (!isCurrent) return;
        setHistory(found);
        setProblem("");
      } catch (error) {
        if (isCurrent) setProblem(error.status ? words.api.status(error.status) : words.api.gone);
      }
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
      ${problem && html`<${Note} tone="warn" testid="no-history">${words.health.noHistory(problem)}</${Note}>`}
      ${history ? html`<div class="curves">${CURVES.map((curve) => html`<${Panel} key=${curve.key} curve=${curve} history=${history} />`)}</div>` : !problem && html`<p class="muted loading">${words.loading}</p>`}</div>`;
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
  const topic = topicOf("bridge", encodeURIComponent(instance.value), "health");
  const info = topicOf("bridge", encodeURIComponent(instance.value), "info");
  useWatch([topic, info]);
  const health = readJson(topic);
  if (!health) return null;
  const { devices = {}, subscriptions = {}, events = {}, published = {}, calls = {}, failing = {} } = health;
  const ended = Object.values(calls.ended ?? {}).reduce((sum, n) => sum + n, 0);
  const facts = [
    [words.health.version, health.version],
    [words.health.started, html`<${Ago} ms=${Date.parse(readJson(info)?.started)} />`],
    [words.health.devices, words.health.online(devices.online ?? 0, devices.known ?? 0)],
    [words.health.subscriptions, number(subscriptions.subscribed)],
    [words.health.events, number(events.received)],
    [words.health.published, number(published.tree)],
    [words.health.calls, number(ended)],
    [words.health.files, number(health.open_files)],
  ];
  return html`<section class="card" data-testid="now"><dl class="facts numbers">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></section>
    <${Broker} health=${health} /><${Others} /><${Failing} failing=${failing} />`;
}

/** The broker as the bridge has it now, and what it lacks and has refused. */
function Broker({ health }) {
  const broker = session.value?.broker ?? {};
  const { reconnects, problems = [], refused = {} } = health.broker ?? {};
  const facts = [
    [words.health.url, broker.url || words.none],
    [words.health.reconnects, number(reconnects)],
    [words.health.waiting, number(health.published?.waiting)],
  ];
  return html`<section class="card panel" data-testid="broker"><div class="row"><h2>${words.health.broker}</h2>
      <${Badge} tone=${broker.connected ? "good" : "bad"}>${broker.connected ? words.health.connected : words.health.away}</${Badge}></div>
    <dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${!broker.connected && broker.reason && html`<${Note} tone="bad">${broker.reason}</${Note}>`}
    ${problems.map((problem) => html`<${Note} tone="warn">${String(problem)}</${Note}>`)}
    ${Object.entries(refused).map(([what, why]) => html`<${Note} tone="warn">${words.health.refused(what, typeof why === "string" ? why : JSON.stringify(why))}</${Note}>`)}</section>`;
}

/** Other instances on the same tree, where this one hears them. */
function Others() {
  useWatch([`${baseTopic.value}/bridge/+/state`, `${baseTopic.value}/bridge/+/health`]);
  const own = encodeURIComponent(instance.value);
  const levels = [...topicsOf("bridge")].map((topic) => below(topic).split("/")).filter((each) => each[2] === "state" && each[1] !== own).map((each) => each[1]);
  if (!levels.length) return null;
  return html`<section class="card" data-testid="others"><h2>${words.health.others}</h2><ul class="entities">${levels.sort().map((level) => {
    const isOnline = read(topicOf("bridge", level, "state")) === "online";
    const { devices, version } = readJson(topicOf("bridge", level, "health")) ?? {};
    return html`<li key=${level}><span class="grow clip">${decoded(level)}</span><span class="muted">${[version, devices && `${words.health.online(devices.online ?? 0, devices.known ?? 0)}`].filter(Boolean).join(" · ")}</span>
      <${Badge} tone=${isOnline ? "good" : "bad"}>${isOnline ? words.devices.online : words.devices.offline}</${Badge}></li>`;
  })}</ul></section>`;
}

function Failing({ failing }) {
  const shown = Object.entries(failing).slice(0, MOST_FAILING);
  useWatch([...new Set(shown.map(([id]) => topicOf(id.split("/")[0])))]);
  if (!shown.length) return null;
  return html`<section class="card" data-testid="failing"><h2>${words.health.failing}</h2><ul class="entities">${shown.map(([id, each]) => {
    const [device, service = ""] = id.split("/");
    return html`<li key=${id}><a class="grow clip" href=${href("device", device)}>${documentOf(device)?.friendly_name ?? device} · ${decoded(service)}</a>
      <${Badge} tone="warn">${words.device.subscriptionStates[each?.state] ?? String(each?.state)}</${Badge}></li>`;
  })}</ul></section>`;
}

const number = (n) => (n ?? 0).toLocaleString("en");
