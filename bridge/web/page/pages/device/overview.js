/** What a device reports: values by service, each with its control where it can be set. */

import { boundsOf, entryOf, servicesOf, settableOf, valuesOf, variableOf } from "../../components.js";
import { Spark } from "../../curve.js";
import { Ago, Badge, Button, Choice, Growing, Picture, report, SearchBox, Slider, Symbol, Toggle, useAllowed } from "../../kit.js";
import { documentOf, topicOf } from "../../documents.js";
import { decoded, hostOf, safeUrl, shortType } from "../../model.js";
import { artUrl } from "../../api.js";
import { PlayPause, playerOf, Volume } from "../../playing.js";
import { href, route, setQuery } from "../../router.js";
import { baseTopic } from "../../session.js";
import { changedAt, onChange, read, readJson, set, useWatch } from "../../store.js";
import { html, signal, useEffect, useMemo, useState } from "../../ui.js";
import { words } from "../../words.js";

const POINTS = 240;
const FRESH_MS = 1500;
const MOST_INSIDE = 8;
const MOST_NAMED = 300;

/** The last values of the numbers of devices: topic → signal of `[[seconds…], [numbers…]]`. */
function useHistory(ids) {
  const history = useMemo(() => new Map(), []);
  useEffect(() => {
    const ends = ids.map((id) => onChange(`${baseTopic.value}/${id}/+/value/#`, (topic, payload) => note(history, topic, payload)));
    return () => ends.forEach((end) => end());
  }, [ids.join()]);
  return history;
}

function note(history, topic, payload) {
  if (payload === null || payload.trim() === "" || !Number.isFinite(Number(payload))) return;
  const points = pointsOf(history, topic);
  const [times, numbers] = points.value;
  points.value = [
    [...times.slice(1 - POINTS), Date.now() / 1000],
    [...numbers.slice(1 - POINTS), Number(payload)],
  ];
}

function pointsOf(history, topic) {
  if (!history.has(topic)) history.set(topic, signal([[], []]));
  return history.get(topic);
}

export function Overview({ id, row, document, services, more }) {
  const inside = [...new Set([...row.subdevices, ...(document?.children ?? []).filter((each) => !each.includes("/"))])];
  const shownInside = inside.slice(0, MOST_INSIDE);
  const history = useHistory([id, ...shownInside]);
  useWatch(shownInside.map((each) => `${baseTopic.value}/${each}/#`));
  const wanted = (route.value.query.filter ?? "").trim().toLowerCase();
  const parts = [{ id, services }, ...shownInside.map((each) => ({ id: each, document: documentOf(each), services: servicesOf(each, documentOf(each)) }))];
  const all = parts.flatMap((part) => part.services);
  return html`<div class="stack">
    ${isPlayer(row, document) && html`<${NowPlaying} row=${row} />`}
    <${Relatives} row=${row} document=${document} inside=${inside} />
    ${all.length > 1 && html`<div class="toolbar tight"><${SearchBox} label=${words.device.filter} hint=${words.device.filterHint} value=${route.value.query.filter ?? ""} onInput=${(text) => setQuery({ filter: text })} /></div>`}
    ${!all.length && html`<p class="muted">${words.device.noServices}</p>`}
    ${parts.map((part) => html`<${Services} key=${part.id} ...${part} isInside=${part.id !== id} wanted=${wanted} history=${history} row=${row} more=${more} />`)}
    <${About} row=${row} document=${document} />
  </div>`;
}

function Services({ id, document, services, isInside, wanted, history, row, more }) {
  const values = valuesOf(id);
  const fits = (service) => !wanted || service.name.toLowerCase().includes(wanted)
    || (values.get(service.id) ?? []).some((each) => each.variable.toLowerCase().includes(wanted));
  const shown = services.filter(fits);
  if (!shown.length) return null;
  return html`${isInside && html`<h2 class="inside"><a class="plain" href=${href("device", id)}>${document?.friendly_name ?? id}</a> <small>${shortType(document?.device_type)}</small></h2>`}
    <${Growing} class="stack" items=${shown} portion=${25} render=${(service) => html`<${Service} key=${service.id} id=${id} service=${service}
      values=${values.get(service.id) ?? []} wanted=${wanted} history=${history} isOnline=${row.isOnline}
      subscription=${more?.subscriptions?.find((each) => each.service === service.id)} />`} />`;
}

const isPlayer = (row, document) => row.kind === "player" && (read(topicOf(row.id, "media")) || document?.children?.some((id) => id.includes("/AVTransport")));

function NowPlaying({ row }) {
  const player = playerOf(row.id);
  const { media } = player;
  return html`<section class="card now large" aria-label=${words.player.of(row.name)}>
    <${Picture} url=${media?.album_art ? artUrl(row.id, media.album_art) : ""} symbol="music" size=${96} />
    <div class="grow stack tight"><div><p class="song clip">${media?.title || words.player.states[media?.state] || words.player.nothing}</p>
      <p class="muted clip">${[media?.artist, media?.album].filter(Boolean).join(" · ")}</p></div>
      ${media?.volume != null && html`<${Volume} player=${player} name=${row.name} disabled=${!row.isOnline} />`}</div>
    <${PlayPause} player=${player} disabled=${!row.isOnline} isLarge /></section>`;
}

/** The devices that this one is part of, or that are part of it. */
function Relatives({ row, document, inside }) {
  const root = document?.root && document.root !== row.id ? document.root : "";
  const ids = root ? [root] : inside;
  useWatch(ids.slice(0, MOST_NAMED).map((id) => `${baseTopic.value}/${id}`));
  if (!ids.length) return null;
  return html`<section class="card"><h2>${root ? words.device.partOf : words.device.embedded}</h2>
    <ul class="links">${ids.slice(0, MOST_NAMED).map((id) => html`<li key=${id}><a href=${href("device", id)}><${Symbol} name="other" size=${16} />${documentOf(id)?.friendly_name ?? id}</a>
      <small class="muted">${shortType(documentOf(id)?.device_type)}</small></li>`)}</ul></section>`;
}

const SUBSCRIPTION_TONES = { subscribed: "good", pending: "plain", silent: "warn", refused: "warn", lost: "bad" };

function Service({ id, service, values, wanted, history, isOnline, subscription }) {
  const [isOpen, open] = useState(true);
  const settable = settableOf(service);
  const known = new Set(values.map((each) => each.variable));
  const unreported = [...settable.keys()].filter((name) => !known.has(encodeURIComponent(name)) && !known.has(name));
  const updated = Date.parse(readJson(topicOf(id, service.level, "state"))?.updated);
  const isService = !wanted || service.name.toLowerCase().includes(wanted);
  const lines = [
    ...values.map((each) => ({ ...each, name: decoded(each.variable) })),
    ...unreported.map((name) => ({ topic: topicOf(id, service.level, "value", name), variable: name, name, place: [] })),
  ].filter((each) => isService || each.name.toLowerCase().includes(wanted));
  return html`<details class="card service" open=${isOpen} onToggle=${(event) => open(event.target.open)} data-testid="service" data-service=${service.level}>
    <summary><h2 class="grow clip">${service.name}</h2>
      ${Number.isFinite(updated) && html`<span class="muted updated"><${Ago} ms=${updated} say=${words.ago.changed} /></span>`}
      ${subscription && html`<span title=${subscription.expires_s ? words.device.expires(Math.round(subscription.expires_s)) : undefined}>
        <${Badge} tone=${SUBSCRIPTION_TONES[subscription.state] ?? "plain"}>${words.device.subscriptionStates[subscription.state] ?? subscription.state}</${Badge}></span>`}
      ${shortType(service.document?.service_type) !== service.name && html`<small class="clip">${shortType(service.document?.service_type)}</small>`}</summary>
    ${isOpen && html`<div class="service-body">
      ${!lines.length && html`<p class="muted value">${words.device.noValues}</p>`}
      <${Growing} items=${lines} portion=${50} render=${(line) => html`<${Value} key=${line.topic} line=${line} service=${service}
        range=${settable.get(line.name)} isSettable=${settable.has(line.name)} points=${pointsOf(history, line.topic)} isOnline=${isOnline} />`} />
    </div>`}
  </details>`;
}

function Value({ line, service, range, isSettable, points, isOnline }) {
  const text = read(line.topic);
  const changed = changedAt(line.topic);
  const variable = range ?? variableOf(service, line.variable);
  const isFresh = changed && Date.now() - changed < FRESH_MS;
  return html`<div class="value ${isFresh ? "fresh" : ""}" data-testid="value" data-topic=${line.topic}>
    <div class="name">${line.name}${line.place.length > 0 && html` <${Badge}>${line.place.join(" · ")}</${Badge}>`}</div>
    <div class="content">${isSettable && !(entryOf(variable) === "choice" && variable.allowed_values.length < 2)
      ? html`<${Setter} topic=${line.topic} name=${[line.name, ...line.place].join(" ")} variable=${variable} text=${text} disabled=${!isOnline} />`
      : html`<${Shown} text=${text} />`}</div>
    <div class="spark">${points.value[0].length > 1 && html`<${Spark} points=${points.value} label=${words.device.history(line.name)} />`}</div>
    <div class="when">${changed && html`<${Ago} ms=${changed} />`}</div>
  </div>`;
}

function Shown({ text }) {
  const [isWhole, show] = useState(false);
  if (text === undefined) return html`<span class="muted">${words.device.empty}</span>`;
  if (text.length < 120) return html`<span class="text">${text}</span>`;
  return html`<span class=${isWhole ? "text mono" : "long"}>${isWhole ? text : text.slice(0, 600)}</span>
    <${Button} kind="quiet" label=${isWhole ? words.less : words.more} onClick=${() => show(!isWhole)} />`;
}

/** The control of a value that can be set. */
export function Setter({ topic, name, variable, text, disabled }) {
  const label = words.device.setOf(name);
  const change = (value) => set(topic, String(value));
  const [low, high] = boundsOf(variable);
  const entry = entryOf(variable);
  if (entry === "boolean") return html`<div class="setter"><${Toggle} label=${label} value=${text === "true"} onChange=${change} disabled=${disabled} testid="set" /><span class="muted">${text === undefined ? words.device.notReported : text === "true" ? words.on : words.off}</span></div>`;
  if (entry === "choice") {
    const options = { ...(text === undefined ? { "": words.device.notReported } : {}), ...Object.fromEntries(variable.allowed_values.map((each) => [each, each])) };
    if (text !== undefined && !Object.hasOwn(options, text)) options[text] = text;
    return html`<div class="setter"><${Chosen} label=${label} value=${text ?? ""} options=${options} change=${change} disabled=${disabled} /></div>`;
  }
  if (entry === "integer" && variable?.minimum !== undefined && variable?.maximum !== undefined && high - low <= 1000) {
    return html`<div class="setter"><${Slider} label=${label} value=${text === undefined ? undefined : Number(text)} min=${low} max=${high} step=${variable.step || 1} onChange=${change} disabled=${disabled} testid="set" /></div>`;
  }
  return html`<${Written} label=${label} text=${text} variable=${variable} isNumber=${entry === "integer" || entry === "real"} change=${change} disabled=${disabled} />`;
}

function Chosen({ label, value, options, change, disabled }) {
  const isAllowed = useAllowed();
  return html`<${Choice} label=${label} value=${value} options=${options} disabled=${disabled || !isAllowed} testid="set" onChange=${async (next) => report(await change(next))} />`;
}

function Written({ label, text, variable, isNumber, change, disabled }) {
  const isAllowed = useAllowed();
  const [draft, write] = useState(null);
  const [busy, setBusy] = useState(false);
  const [low, high] = boundsOf(variable);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    if (report(await change(draft ?? text ?? ""))) write(null);
    setBusy(false);
  };
  return html`<form class="setter" onSubmit=${submit}>
    <input aria-label=${label} type=${isNumber ? "number" : "text"} min=${low} max=${high} step=${variable?.step ?? (isNumber ? "any" : undefined)} value=${draft ?? text ?? ""}
      disabled=${disabled || !isAllowed} data-testid="set" placeholder=${text === undefined ? words.device.notReported : undefined} onInput=${(event) => write(event.target.value)} />
    <${Button} type="submit" label=${words.device.set} needs disabled=${disabled || draft === null} busy=${busy} /></form>`;
}

function About({ row, document = {} }) {
  const link = (url) => (safeUrl(url) ? html`<a href=${safeUrl(url)} target="_blank" rel="noopener noreferrer">${hostOf(url)}</a>` : url);
  const facts = [
    [words.device.manufacturer, document.manufacturer],
    [words.device.model, [document.model_name, document.model_number].filter(Boolean).join(" ")],
    [words.device.description, document.model_description],
    [words.device.serial, document.serial_number],
    [words.device.type, document.device_type],
    [words.device.location, document.location && link(document.location)],
    [words.device.software, document.server],
    [words.device.bridge, row.owner],
    [words.device.udn, document.udn ?? row.id],
  ].filter(([, value]) => value);
  return html`<section class="card"><h2>${words.device.about}</h2><dl class="facts">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></section>`;
}
