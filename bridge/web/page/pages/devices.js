/** All devices as cards: what matters of each, by its kind. Search, filters and order stand in the address. */

import { artUrl, request } from "../api.js";
import { Ago, Badge, Button, Choice, DeviceIcon, Dialog, Empty, Field, Growing, Picture, report, say, SearchBox, Slider, Symbol, Toggle } from "../kit.js";
import { PlayPause, playerOf, Volume } from "../playing.js";
import { below, bitRate, byName, inOrder, kinds, listFilters, rows, valueOf } from "../model.js";
import { documentAt, topicOf } from "../documents.js";
import { rateOf } from "../rates.js";
import { href, route, setQuery } from "../router.js";
import { instance } from "../session.js";
import { readJson, set, useWatch } from "../store.js";
import { html, useId, useRef, useState } from "../ui.js";
import { words } from "../words.js";

const ORDERS = {
  name: byName,
  kind: (a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind) || byName(a, b),
  state: (a, b) => b.isOnline - a.isOnline || b.problems - a.problems || byName(a, b),
  model: (a, b) => inOrder(a.model, b.model) || byName(a, b),
  address: (a, b) => inOrder(a.address, b.address) || byName(a, b),
};
const STATES = {
  online: (row) => row.isOnline,
  offline: (row) => !row.isOnline,
  problems: (row) => row.problems > 0 || row.hints.length > 0,
};

export default function Devices() {
  const isWhole = useWatch(listFilters());
  const { search = "", kind = "", state = "", sort = "name" } = route.value.query;
  const all = rows();
  if (!all.length) return isWhole ? html`<${NoDevice} />` : html`<p class="muted loading">${words.loading}</p>`;
  const wanted = search.trim().toLowerCase().split(/\s+/);
  const isFound = (row) => {
    const text = `${row.name} ${row.model} ${row.manufacturer} ${row.address} ${row.id} ${row.type}`.toLowerCase();
    return wanted.every((word) => text.includes(word));
  };
  const counted = all.filter((row) => isFound(row) && (STATES[state]?.(row) ?? true));
  const shown = counted.filter((row) => !kind || row.kind === kind).sort(ORDERS[sort] ?? byName);
  const present = kinds.filter((each) => all.some((row) => row.kind === each));
  return html`
    <div class="page-head"><h1>${words.devices.title}</h1>
      <span class="muted" role="status" data-testid="device-count">${shown.length === all.length ? words.devices.count(all.length) : words.devices.countOf(shown.length, all.length)}</span></div>
    <div class="toolbar">
      <${SearchBox} label=${words.devices.search} hint=${words.devices.searchHint} value=${search} testid="device-search" onInput=${(text) => setQuery({ search: text })} />
      <${Choice} label=${words.devices.state} value=${state} options=${words.devices.states} testid="device-state" onChange=${(value) => setQuery({ state: value })} />
      <${Choice} label=${words.devices.sort} value=${sort} options=${words.devices.sorts} testid="device-sort" onChange=${(value) => setQuery({ sort: value === "name" ? "" : value })} />
      ${present.length > 1 && html`<div class="chips" role="group" aria-label=${words.devices.kind}>
        <${Chip} text=${words.devices.allKinds} n=${counted.length} isOn=${!kind} onClick=${() => setQuery({ kind: "" })} />
        ${present.map((each) => html`<${Chip} key=${each} text=${words.kinds[each]} n=${counted.filter((row) => row.kind === each).length}
          isOn=${kind === each} onClick=${() => setQuery({ kind: kind === each ? "" : each })} />`)}
      </div>`}
    </div>
    ${shown.length
      ? html`<${Growing} class="grid" as="ul" items=${shown} render=${(row) => html`<${DeviceCard} key=${row.id} row=${row} />`} />`
      : html`<${Empty} symbol="search" title=${words.devices.nothingFound}>
          <${Button} label=${words.devices.clear} onClick=${() => setQuery({ search: "", kind: "", state: "" })} /></${Empty}>`}`;
}

function Chip({ text, n, isOn, onClick }) {
  return html`<button type="button" class="chip" aria-pressed=${isOn} onClick=${onClick}>${text} <b>${n}</b></button>`;
}

function DeviceCard({ row }) {
  const light = row.kind === "light" || row.kind === "switch" ? lightOf(row) : null;
  return html`<li class="card device ${row.isOnline ? "" : "away"} ${light?.isOn && row.isOnline ? "lit" : ""}" data-testid="device" data-udn=${row.id}>
    <div class="device-head">
      <${DeviceIcon} id=${row.id} kind=${row.kind} hasIcon=${row.hasIcon} />
      <div class="grow">
        <h2 class="device-name two-lines"><a href=${href("device", row.id)}>${row.name}</a></h2>
        <p class="muted clip">${row.model || words.kind[row.kind]}</p>
      </div>
      ${light?.power && html`<${Toggle} label=${words.devices.switchOf(row.name)} value=${light.isOn} disabled=${!row.isOnline} testid="switch"
        onChange=${(on) => set(light.power.topic, powerText(light.power.value, on))} />`}
    </div>
    <div class="device-body"><${Body} row=${row} light=${light} /></div>
    <div class="device-foot">
      <span class="dot ${row.isOnline ? "good" : ""}">${row.isOnline ? words.devices.online
        : Date.parse(row.since) ? html`<${Ago} ms=${Date.parse(row.since)} say=${words.devices.offlineSince} />` : words.devices.offline}</span>
      ${row.problems > 0 && html`<${Badge} tone="warn" symbol="warning">${words.devices.problems(row.problems)}</${Badge}>`}
      ${row.owner && row.owner !== instance.value && html`<${Badge} tone="accent">${words.devices.foreign(row.owner)}</${Badge}>`}
    </div>
  </li>`;
}

function Body({ row, light }) {
  if (light?.level) {
    return html`<${Slider} label=${words.devices.brightnessOf(row.name)} value=${light.percent} unit=" %" disabled=${!row.isOnline} testid="brightness"
      onChange=${(percent) => set(light.level.topic, String(Math.round(light.low + (percent / 100) * (light.high - light.low))))} />`;
  }
  if (row.kind === "player") return html`<${Playing} row=${row} />`;
  if (row.kind === "router") return html`<${Router} row=${row} />`;
  if (row.kind === "server") {
    return html`<a class="button browse" href=${href("players", "", { server: row.id })}><${Symbol} name="folder" />${words.browse.here}</a>`;
  }
  if (row.kind === "other" && row.address) {
    return html`<dl class="mini-facts"><dt>${words.devices.address}</dt><dd class="clip">${row.address.replace(/:\d+$/, "")}</dd></dl>`;
  }
  return null;
}

/** On or off in the words of the value that is there. */
const powerText = (value, on) => (/^[01]/.test(value ?? "") ? String(Number(on)) : String(on));

/** What a light or switch says of itself: its power and its level. */
function lightOf(row) {
  const ids = [row.id, ...row.subdevices];
  const power = valueOf(ids, "Status", (service) => service.startsWith("SwitchPower")) ?? valueOf(ids, "BinaryState");
  const level = valueOf(ids, "LoadLevelStatus");
  const range = level && documentAt(topicOf(below(level.topic).split("/")[0], level.service, "variable", "LoadLevelTarget"));
  const [low, high] = [range?.minimum ?? 0, range?.maximum ?? 100];
  const isOn = power ? !["false", "0", undefined].includes(power.value?.split("|")[0]) : Number(level?.value) > low;
  return { power, level, isOn, low, high, percent: level?.value === undefined ? undefined : Math.round(((Number(level.value) - low) / (high - low || 1)) * 100) };
}

function Playing({ row }) {
  const player = playerOf(row.id);
  const { media } = player;
  return html`<div class="now">
      <${Picture} url=${media?.album_art ? artUrl(row.id, media.album_art) : ""} symbol="music" size=${52} />
      <div class="grow"><p class="clip">${media?.title || words.player.states[media?.state] || words.player.nothing}</p>
        <p class="muted clip">${[media?.artist, media?.album].filter(Boolean).join(" · ")}</p></div>
      <${PlayPause} player=${player} disabled=${!row.isOnline} />
    </div>
    ${media?.volume != null && html`<${Volume} player=${player} name=${row.name} disabled=${!row.isOnline} />`}`;
}

function Router({ row }) {
  const ids = [row.id, ...row.subdevices];
  const value = (name) => valueOf(ids, name)?.value;
  const [external, connection] = [value("ExternalIPAddress"), value("ConnectionStatus")];
  const [down, up] = [value("Layer1DownstreamMaxBitRate"), value("Layer1UpstreamMaxBitRate")];
  const [received, sent] = [rateOf(valueOf(ids, "TotalBytesReceived")?.topic), rateOf(valueOf(ids, "TotalBytesSent")?.topic)];
  const facts = [
    [words.devices.address, row.address.replace(/:\d+$/, "")],
    [words.devices.external, external],
    [words.devices.connection, connection],
    [words.devices.link, down && `↓ ${bitRate(Number(down))}  ↑ ${bitRate(Number(up))}`],
    [words.devices.traffic, received !== undefined && `↓ ${bitRate(received)}  ↑ ${bitRate(sent ?? 0)}`],
  ].filter(([, text]) => text);
  return html`<dl class="mini-facts">${facts.map(([name, text]) => html`<dt>${name}</dt><dd class="clip">${text}</dd>`)}</dl>`;
}

function NoDevice() {
  const [busy, setBusy] = useState(false);
  const [isAdding, add] = useState(false);
  const search = async () => {
    setBusy(true);
    report(await request("search"));
    setTimeout(() => setBusy(false), 4000);
  };
  const health = topicOf("bridge", encodeURIComponent(instance.value), "health");
  useWatch([health]);
  const others = Object.entries(readJson(health)?.instances ?? {}).filter(([name, each]) => name !== instance.value && each?.owns > 0);
  return html`<${Empty} symbol="devices" title=${words.devices.none.title} testid="no-device">
    ${others.length > 0 && html`<p><strong>${words.devices.none.elsewhere(others.map(([name, each]) => [name, each.owns]))}</strong></p>`}
    <p>${words.devices.none.text}</p>
    <ul>${words.devices.none.hints.map((text) => html`<li>${text}</li>`)}</ul>
    <div class="actions">
      <${Button} kind="primary" symbol="search" label=${busy ? words.devices.none.searching : words.devices.none.search} busy=${busy} needs onClick=${search} />
      <${Button} symbol="plus" label=${words.devices.none.add} needs onClick=${() => add(true)} />
      <a class="button" href=${href("settings", "doctor")}>${words.devices.none.doctor}</a>
    </div></${Empty}>
    ${isAdding && html`<${AddDevice} onClose=${() => add(false)} />`}`;
}

export function AddDevice({ onClose }) {
  const id = useId();
  const field = useRef(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    const answer = await request("add", { location: field.current.value });
    setBusy(false);
    if (!report(answer)) return;
    say(words.devices.none.added(answer.data.friendly_name));
    onClose();
  };
  return html`<${Dialog} title=${words.devices.none.add} onClose=${onClose}><form onSubmit=${submit}>
    <${Field} label=${words.devices.none.location} id=${id}><input id=${id} ref=${field} type="url" required placeholder=${words.devices.none.locationHint} /></${Field}>
    <div class="actions"><${Button} type="submit" kind="primary" label=${words.devices.none.add} busy=${busy} needs /></div></form></${Dialog}>`;
}
