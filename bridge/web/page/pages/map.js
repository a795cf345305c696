/** The bridge, its devices, the devices embedded in them and their services, drawn as one tree. */

import { documentOf, topicOf } from "../documents.js";
import { Button, Empty, SearchBox } from "../kit.js";
import { decoded, rows, serviceIds } from "../model.js";
import { href, route, setQuery } from "../router.js";
import { baseTopic, instance } from "../session.js";
import { read, readJson, useWatch } from "../store.js";
import { html, useState } from "../ui.js";
import { words } from "../words.js";

const PORTION = 40;
const MOST_CHILDREN = 60;
const ROW = 34;
const GAP = 14;
const COLUMNS = [16, 230, 500, 760, 1010, 1250];
const WIDTHS = [150, 210, 200, 190, 190, 190];
const LETTER = 8;
const MOST_CENTRED = 12;

export default function Map() {
  const at = baseTopic.value;
  const isWhole = useWatch([`${at}/bridge/+/devices`, `${at}/bridge/+/state`, `${at}/bridge/+/health`, `${at}/+`, `${at}/+/availability`]);
  const [most, show] = useState(PORTION);
  const { search = "" } = route.value.query;
  const wanted = search.trim().toLowerCase();
  const all = rows().sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  if (!all.length) return isWhole ? html`<${Empty} symbol="map" title=${words.devices.none.title}><p>${words.devices.none.text}</p></${Empty}>` : html`<p class="muted loading">${words.loading}</p>`;
  const found = all.filter((row) => `${row.name} ${row.model} ${row.id}`.toLowerCase().includes(wanted));
  const tree = bridgeNode(found.slice(0, most));
  const { nodes, links, width, height } = laidOut(tree);
  return html`<div class="page-head"><h1>${words.nav.map}</h1><span class="muted">${words.devices.count(found.length)}</span></div>
    <div class="toolbar"><${SearchBox} label=${words.devices.search} hint=${words.devices.searchHint} value=${search} onInput=${(text) => setQuery({ search: text })} />
      <span class="actions legend">${["online", "offline", "failing"].map((state) => html`<span key=${state} class="dot ${{ online: "good", failing: "warn" }[state] ?? ""}">${words.map.states[state]}</span>`)}</span></div>
    <div class="card map scroll" tabindex="0" role="region" aria-label=${words.nav.map}>
      <svg width=${width} height=${height} viewBox=${`0 0 ${width} ${height}`} role="group" aria-label=${words.map.label}>
        <g class="links">${links.map(([from, to]) => html`<path key=${to.key} d=${curve(from, to)} class=${to.state} />`)}</g>
        ${nodes.map((node) => html`<${Node} key=${node.key} node=${node} />`)}</svg></div>
    ${found.length > most && html`<div class="growing-end"><${Button} label=${words.more} onClick=${() => show(most + PORTION)} /></div>`}`;
}

function bridgeNode(found) {
  const isOnline = read(topicOf("bridge", instance.value, "state")) === "online";
  const failing = readJson(topicOf("bridge", instance.value, "health"))?.failing ?? {};
  return {
    key: "bridge", kind: "bridge", text: instance.value, state: isOnline ? "good" : "", href: href("health"),
    children: found.map((row) => deviceNode(row.id, row.name, row, failing, 0)),
  };
}

function deviceNode(id, name, row, failing, depth) {
  const document = documentOf(id);
  const services = serviceIds(document).slice(0, MOST_CHILDREN).map((service) => ({
    key: service, kind: "service", text: decoded(service.slice(service.lastIndexOf("/") + 1)),
    state: !row.isOnline ? "" : failing[service] ? "warn" : "good",
    title: failing[service] && (words.device.subscriptionStates[failing[service].state] ?? failing[service].state), children: [],
  }));
  const inside = depth < 3 ? (document?.children ?? []).filter((each) => !each.includes("/")).slice(0, MOST_CHILDREN) : [];
  return {
    key: id, kind: depth ? "embedded" : "device", text: name, state: row.isOnline ? "good" : "", href: href("device", id),
    children: [...services, ...inside.map((each) => deviceNode(each, documentOf(each)?.friendly_name ?? each, row, failing, depth + 1))],
  };
}

/** Places for all nodes: a row for each leaf, a column for each depth, parents in the middle of their children, or above many. */
function laidOut(tree) {
  const nodes = [];
  const links = [];
  let next = 20;
  let deepest = 0;
  const place = (node, depth) => {
    deepest = Math.max(deepest, depth);
    const column = Math.min(depth, COLUMNS.length - 1);
    const placed = { ...node, x: COLUMNS[column], width: WIDTHS[column] };
    nodes.push(placed);
    const below = node.children.map((child) => place(child, depth + 1));
    if (below.length > MOST_CENTRED) placed.y = below[0].y; // its middle would be far down
    else if (below.length) placed.y = (below[0].y + below.at(-1).y) / 2;
    else {
      placed.y = next;
      next += ROW;
    }
    if (depth === 1) next += GAP;
    links.push(...below.map((child) => [placed, child]));
    return placed;
  };
  place(tree, 0);
  const last = Math.min(deepest, COLUMNS.length - 1);
  return { nodes, links, width: COLUMNS[last] + WIDTHS[last] + 20, height: next + 10 };
}

function curve(from, to) {
  const [x, middle] = [from.x + from.width, (from.x + from.width + to.x) / 2];
  return `M${x} ${from.y}C${middle} ${from.y} ${middle} ${to.y} ${to.x} ${to.y}`;
}

function Node({ node }) {
  const { x, y, width, text, kind, state } = node;
  const most = Math.floor((width - 34) / LETTER);
  const short = text.length > most ? `${text.slice(0, most - 1)}…` : text;
  const label = `${words.map.kinds[kind]} ${text}: ${words.map.states[{ good: "online", warn: "failing" }[state] ?? "offline"]}`;
  const inside = html`<title>${node.title ? `${label} (${node.title})` : label}</title>
    <rect x=${x} y=${y - 13} width=${width} height="26" rx="8" />
    <circle cx=${x + 14} cy=${y} r="4.5" class=${state} /><text x=${x + 27} y=${y + 4.5}>${short}</text>`;
  return node.href
    ? html`<a class="node ${kind}" href=${node.href} aria-label=${label}>${inside}</a>`
    : html`<g class="node ${kind}" role="img" aria-label=${label}>${inside}</g>`;
}
