/** One device: what it reports, what can be set and called, what stands on the bus of it. */

import { get, request } from "../api.js";
import { servicesOf } from "../components.js";
import { Ago, Badge, Button, DeviceIcon, Dialog, Empty, Note, report, save, say, Symbol, Tabs } from "../kit.js";
import { documentOf } from "../documents.js";
import { below, describe, rows, safeUrl } from "../model.js";
import { go, href, route } from "../router.js";
import { baseTopic, instance } from "../session.js";
import { noteChanges, topicsOf, useWatch } from "../store.js";
import { html, useEffect, useState } from "../ui.js";
import { words } from "../words.js";
import { Actions } from "./device/actions.js";
import { Documents } from "./device/documents.js";
import { HomeAssistant } from "./device/homeassistant.js";
import { Overview } from "./device/overview.js";

const SECTIONS = { overview: Overview, actions: Actions, documents: Documents, homeassistant: HomeAssistant };
const REFRESH_MS = 10000;

export default function Device() {
  const { id, query } = route.value;
  const at = baseTopic.value;
  const isWhole = useWatch([`${at}/${id}/#`, `${at}/bridge/+/devices`]);
  const more = useMore(id);
  const document = documentOf(id);
  if (!document && !topicsOf(id).size) {
    if (more?.owned === false) return html`<${Back} /><${Empty} symbol="other" title=${words.device.elsewhere} testid="elsewhere"><p>${words.device.elsewhereText(more.owner)}</p></${Empty}>`;
    if (!isWhole) return html`<p class="muted loading">${words.loading}</p>`;
    return html`<${Back} /><${Empty} symbol="other" title=${words.device.notFound}><p>${words.device.notFoundText}</p></${Empty}>`;
  }
  const row = rows().find((each) => each.id === id) ?? describe({ id }, document);
  const section = Object.hasOwn(SECTIONS, query.section ?? "") ? query.section : "overview";
  const View = SECTIONS[section];
  return html`<${Back} />
    <${Top} row=${row} document=${document} />
    <${Troubles} row=${row} document=${document} isForeign=${more?.owned === false || (row.owner && row.owner !== instance.value)} />
    <${Tabs} label=${row.name} current=${section} items=${Object.keys(SECTIONS).map((key) =>
      ({ key, text: words.device.sections[key], href: href("device", id, { section: key === "overview" ? "" : key }) }))} />
    <${View} id=${id} row=${row} document=${document} services=${servicesOf(id, document)} more=${more} />`;
}

/** What the bridge knows of a device that is not on the bus below the base. */
function useMore(id) {
  const [more, setMore] = useState(null);
  useEffect(() => {
    let isCurrent = true;
    const ask = async () => {
      try {
        const found = await get(`/api/device/${encodeURIComponent(id)}`);
        if (!isCurrent) return;
        noteChanges(found.received ?? {});
        setMore(found);
      } catch { /* it stays as it is */ }
    };
    ask();
    const timer = setInterval(() => document.hidden || ask(), REFRESH_MS);
    return () => {
      isCurrent = false;
      clearInterval(timer);
    };
  }, [id]);
  return more;
}

function Back() {
  return html`<a class="back" href=${href("devices")}><${Symbol} name="back" size=${18} />${words.device.back}</a>`;
}

function Top({ row, document }) {
  const page = safeUrl(document?.presentation_url);
  return html`<div class="device-top">
    <${DeviceIcon} id=${row.id} kind=${row.kind} hasIcon=${row.hasIcon} size=${72} />
    <div class="grow">
      <h1 class="three-lines">${row.name}</h1>
      <p class="muted three-lines">${[row.manufacturer, row.model].filter(Boolean).join(" · ") || words.kind[row.kind]}</p>
      <p class="actions"><${Badge} tone=${row.isOnline ? "good" : "plain"}>${row.isOnline ? words.devices.online
        : Date.parse(row.since) ? html`<${Ago} ms=${Date.parse(row.since)} say=${words.devices.offlineSince} />` : words.devices.offline}</${Badge}>
        <${Badge}>${words.kind[row.kind]}</${Badge}>
        ${page && html`<a href=${page} target="_blank" rel="noopener noreferrer">${words.device.web}</a>`}</p>
    </div>
    <${Verbs} row=${row} />
  </div>`;
}

function Verbs({ row }) {
  const [busy, setBusy] = useState("");
  const [isForgetting, forget] = useState(false);
  const run = async (verb, body, then) => {
    setBusy(verb);
    const answer = await request(verb, body);
    setBusy("");
    if (report(answer)) then(answer.data);
  };
  return html`<div class="actions">
    <${Button} symbol="refresh" label=${words.device.refresh} title=${words.device.refreshHint} needs busy=${busy === "refresh"} testid="refresh"
      onClick=${() => run("refresh", { id: row.id }, () => say(words.device.refreshed))} />
    <${Button} symbol="download" label=${busy === "diagnostics" ? words.device.capturing : words.device.diagnostics} title=${words.device.diagnosticsHint} needs
      busy=${busy === "diagnostics"} testid="diagnostics"
      onClick=${() => run("diagnostics", { id: row.id }, (data) => save("upnp2mqtt-diagnostics.json", JSON.stringify(data, null, 1)))} />
    <${Button} symbol="trash" kind="danger" label=${words.device.forget} needs testid="forget" onClick=${() => forget(true)} />
    ${isForgetting && html`<${Dialog} title=${words.device.forgetTitle(row.name)} onClose=${() => forget(false)} testid="forget-dialog">
      <p>${words.device.forgetText}</p>
      <div class="actions"><${Button} label=${words.cancel} onClick=${() => forget(false)} />
        <${Button} kind="danger" symbol="trash" label=${words.device.forget} busy=${busy === "forget"} testid="forget-now"
          onClick=${() => run("forget", { id: row.id }, () => {
            say(words.device.forgot(row.name));
            go("devices");
          })} /></div></${Dialog}>`}
  </div>`;
}

function Troubles({ row, document, isForeign }) {
  const { problems = [], hints = [] } = document ?? {};
  if (!problems.length && !hints.length && !isForeign && row.isOnline) return null;
  return html`<div class="banners">
    ${isForeign && html`<${Note} testid="foreign">${words.device.foreign(row.owner)}</${Note}>`}
    ${!row.isOnline && html`<${Note} symbol="unplugged">${words.device.offline}</${Note}>`}
    ${hints.length > 0 && html`<${Note} tone="warn" testid="hints"><h2>${words.device.hints}</h2>
      <ul>${hints.map((hint) => html`<li>${String(hint.text ?? hint.code ?? "")}</li>`)}</ul></${Note}>`}
    ${problems.length > 0 && html`<${Note} tone="warn" testid="problems"><details open=${problems.length < 4}><summary><h2>${words.devices.problems(problems.length)}</h2></summary>
      <ul>${problems.slice(0, 200).map((problem) => html`<li>${String(problem)}</li>`)}</ul></details></${Note}>`}
  </div>`;
}
