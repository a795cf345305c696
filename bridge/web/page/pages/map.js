/** The bridges, their devices, the devices embedded in them and their services, drawn as trees. */

import { documentOf, topicOf } from "../documents.js";
import { Button, Choice, Empty, SearchBox } from "../kit.js";
import { below, byName, decoded, rows, serviceIds } from "../model.js";
import { href, route, setQuery } from "../router.js";
import { baseTopic, instance } from "../session.js";
import { read, readJson, topicsOf, useWatch } from "../store.js";
import { html, useEffect, useRef, useState } from "../ui.js";
import { words } from "../words.js";
import { inColumns, inLevels } from "./map/layout.js";

const PORTION = 240;
const MOST_CHILDREN = 60;
const MOST_DEPTH = 3;
const MOST_OPEN = 12;
const LEAST_WIDTH = 900;
const LETTER = 8;
const TONES = { online: "good", offline: "", problems: "warn" };

export default function Map() {
  const at = baseTopic.value;
  const isWhole = useWatch([`${at}/bridge/+/devices`, `${at}/bridge/+/state`, `${at}/bridge/+/health`, `${at}/+`, `${at}/+/availability`]);
  const [most, show] = useState(PORTION);
  const [flipped, flip] = useState(new Set());
  const { search = "", state = "" } = route.value.query;
  const wanted = search.trim().toLowerCase();
  const all = rows().sort(byName);
  if (!all.length) return isWhole ? html`<${Empty} symbol="map" title=${words.devices.none.title}><p>${words.devices.none.text}</p></${Empty}>` : html`<p class="muted loading">${words.loading}</p>`;

  const failing = failingServices();
  const found = all.map((row) => ({ ...row, state: stateOf(row, failing) }))
    .filter((row) => (!state || row.state === state) && `${row.name} ${row.model} ${row.address} ${row.id}`.toLowerCase().includes(wanted));
  const hasMany = found.length > MOST_OPEN;
  const isOpen = (id) => flipped.has(id) === hasMany;
  const toggle = (id) => {
    const next = new Set(flipped);
    if (!next.delete(id)) next.add(id);
    flip(next);
  };
  const trees = bridges(found.slice(0, most), failing, isOpen);
  return html`<div class="page-head"><h1>${words.nav.map}</h1><span class="muted" role="status">${summary(found)}</span></div>
    <div class="toolbar"><${SearchBox} label=${words.devices.search} hint=${words.devices.searchHint} value=${search} testid="map-search" onInput=${(text) => setQuery({ search: text })} />
      <${Choice} label=${words.devices.state} value=${state} options=${words.devices.states} testid="map-state" onChange=${(next) => setQuery({ state: next })} />
      <span class="actions legend">${Object.entries(TONES).map(([each, tone]) => html`<span key=${each} class="dot ${tone}">${words.map.states[each]}</span>`)}</span></div>
    ${found.length
      ? html`<${Drawing} trees=${trees} hasMany=${hasMany} toggle=${toggle} />`
      : html`<${Empty} symbol="map" title=${words.devices.nothingFound}><${Button} label=${words.devices.clear} onClick=${() => setQuery({ search: "", state: "" })} /></${Empty}>`}
    ${found.length > most && html`<div class="growing-end"><${Button} label=${words.more} onClick=${() => show(most + PORTION)} /></div>`}`;
}

function summary(found) {
  const count = (state) => found.filter((row) => row.state === state).length;
  const [offline, troubled] = [count("offline"), count("problems")];
  return [
    words.devices.count(found.length),
    offline && words.map.offline(offline),
    troubled && words.map.problems(troubled),
  ].filter(Boolean).join(" · ");
}

function stateOf(row, failing) {
  if (!row.isOnline) return "offline";
  return row.problems || row.hints.length || failing.devices.has(row.id) ? "problems" : "online";
}

/** What each bridge says of services without events: by service, and the devices that have one. */
function failingServices() {
  const services = new globalThis.Map();
  for (const topic of topicsOf("bridge")) {
    if (!topic.endsWith("/health")) continue;
    for (const [id, each] of Object.entries(readJson(topic)?.failing ?? {})) services.set(id, String(each?.state));
  }
  return { services, devices: new Set([...services.keys()].map((id) => id.split("/")[0])) };
}

/** A tree for each bridge: this one first, then others that are known. */
function bridges(found, failing, isOpen) {
  const said = [...topicsOf("bridge")].map((topic) => below(topic).split("/")).filter((levels) => levels[2] === "state");
  const others = new Set([...said.map((levels) => decoded(levels[1])), ...found.map((row) => row.owner)]);
  others.delete(instance.value);
  others.delete("");
  return [instance.value, ...[...others].sort()].map((name) => {
    const own = found.filter((row) => (row.owner || instance.value) === name);
    const level = encodeURIComponent(name);
    return {
      key: `bridge/${name}`, kind: "bridge", text: name, href: href("health"), isOpen: true,
      state: read(topicOf("bridge", level, "state")) === "online" ? "online" : "offline",
      children: own.map((row) => deviceNode(row.id, row.name, row, failing, isOpen, 0)),
    };
  });
}

function deviceNode(id, name, row, failing, isOpen, depth) {
  const document = documentOf(id);
  const services = serviceIds(document).slice(0, MOST_CHILDREN);
  const inside = depth < MOST_DEPTH ? (document?.children ?? []).filter((each) => !each.includes("/")).slice(0, MOST_CHILDREN) : [];
  const hints = depth ? [] : row.hints.map((hint) => hint.text);
  return {
    key: id, kind: depth ? "embedded" : "device", text: name, href: href("device", id),
    state: depth ? embeddedState(row, id, failing) : row.state,
    title: [...hints, !depth && row.problems ? words.devices.problems(row.problems) : ""].filter(Boolean).join("; "),
    isOpen: isOpen(id), size: services.length + inside.length,
    children: !isOpen(id) ? [] : [
      ...services.map((service) => serviceNode(service, row, failing)),
      ...inside.map((each) => deviceNode(each, documentOf(each)?.friendly_name ?? decoded(each), row, failing, isOpen, depth + 1)),
    ],
  };
}

function embeddedState(row, id, failing) {
  if (!row.isOnline) return "offline";
  return failing.devices.has(id) ? "problems" : "online";
}

function serviceNode(id, row, failing) {
  const trouble = failing.services.get(id);
  return {
    key: id, kind: "service", text: decoded(id.slice(id.lastIndexOf("/") + 1)), children: [],
    state: !row.isOnline ? "offline" : trouble ? "problems" : "online",
    title: trouble && (words.device.subscriptionStates[trouble] ?? trouble),
  };
}

/** The trees side by side in levels where there is room for that, else in columns from top to bottom. */
function Drawing({ trees, hasMany, toggle }) {
  const frame = useRef(null);
  const [room, setRoom] = useState(0);
  useEffect(() => {
    const sizes = new ResizeObserver(([{ contentRect }]) => setRoom(Math.floor(contentRect.width)));
    sizes.observe(frame.current);
    return () => sizes.disconnect();
  }, []);
  const { nodes, links, width, height } = hasMany || room < LEAST_WIDTH ? inColumns(trees, room) : inLevels(trees);
  return html`<div ref=${frame} class="card map scroll" tabindex="0" role="region" aria-label=${words.nav.map}>
    ${room > 0 && html`<svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="group" aria-label=${words.map.label}>
      <g class="links" aria-hidden="true">${links.map(({ key, path, state }) => html`<path key=${key} d=${path} class=${TONES[state] ?? ""} />`)}</g>
      ${nodes.map((node) => html`<${Node} key=${node.key} node=${node} toggle=${toggle} />`)}</svg>`}</div>`;
}

function Node({ node, toggle }) {
  const { x, y, width, text, kind, state, title, size } = node;
  const most = Math.max(4, Math.floor((width - (size ? 70 : 34)) / LETTER));
  const short = text.length > most ? `${text.slice(0, most - 1)}…` : text;
  const label = `${words.map.kinds[kind]} ${text}: ${words.map.states[state]}`;
  const inside = html`<title>${title ? `${label} (${title})` : label}</title>
    <rect x=${x} y=${y - 13} width=${width} height="26" rx="8" />
    <circle cx=${x + 14} cy=${y} r="4.5" class=${TONES[state]} /><text x=${x + 27} y=${y + 4.5}>${short}</text>`;
  return html`<g class=${state === "offline" ? "away" : ""}>${node.href
    ? html`<a class="node ${kind}" href=${node.href} aria-label=${label}>${inside}</a>`
    : html`<g class="node ${kind}" role="img" aria-label=${label}>${inside}</g>`}
    ${size > 0 && html`<${Fold} node=${node} toggle=${toggle} />`}</g>`;
}

/** Shows and hides what is below a device. */
function Fold({ node, toggle }) {
  const { x, y, width, key, text, size, isOpen } = node;
  const left = x + width - 40;
  const onKey = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    toggle(key);
  };
  return html`<g class="fold" role="button" tabindex="0" aria-expanded=${isOpen} aria-label=${words.map.parts(text, size)} data-testid="fold" onClick=${() => toggle(key)} onKeyDown=${onKey}>
    <rect x=${left} y=${y - 12} width="39" height="24" rx="7" /><text x=${left + 9} y=${y + 4} aria-hidden="true">${size}</text>
    <path d=${isOpen ? `M${left + 23} ${y - 2}l4 4l4-4` : `M${left + 25} ${y - 4}l4 4l-4 4`} /></g>`;
}
