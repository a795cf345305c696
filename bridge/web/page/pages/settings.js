/** All settings with where each came from, and the doctor. */

import { get, post } from "../api.js";
import { Badge, Button, Copy, Empty, Prose, SearchBox, Symbol, Tabs } from "../kit.js";
import { href, route } from "../router.js";
import { connections } from "../store.js";
import { html, useEffect, useState } from "../ui.js";
import { words } from "../words.js";

export default function Settings() {
  const section = route.value.id === "doctor" ? "doctor" : "all";
  return html`<div class="page-head"><h1>${words.nav.settings}</h1></div>
    <${Tabs} label=${words.nav.settings} current=${section} items=${[
      { key: "all", text: words.settings.all, href: href("settings") },
      { key: "doctor", text: words.settings.doctor, href: href("settings", "doctor") },
    ]} />
    ${section === "doctor" ? html`<${Doctor} />` : html`<${All} />`}`;
}

function All() {
  const [settings, setSettings] = useState(null);
  const [problem, setProblem] = useState("");
  const [filter, setFilter] = useState("");
  const [isChosenOnly, chooseOnly] = useState(false);
  const load = () => get("/api/settings").then(
    (found) => {
      setSettings(found.settings);
      setProblem("");
    },
    (error) => setProblem(error.status ? words.api.status(error.status) : words.api.gone),
  );
  useEffect(() => { load(); }, [connections.value]);
  if (problem && !settings) return html`<${Empty} symbol="unplugged" title=${problem}><${Button} label=${words.again} onClick=${load} /></${Empty}>`;
  if (!settings) return html`<p class="muted loading">${words.loading}</p>`;
  const wanted = filter.trim().toLowerCase();
  const shown = settings.filter((each) => (!isChosenOnly || each.source !== "default") && `${each.name} ${each.variable} ${each.description}`.toLowerCase().includes(wanted));
  const groups = [...new Set(shown.map(groupOf))];
  return html`<p class="muted intro">${words.settings.intro}</p>
    <div class="toolbar"><${SearchBox} label=${words.settings.filter} hint=${words.settings.filterHint} value=${filter} testid="settings-filter" onInput=${setFilter} />
      <div class="chips"><button type="button" class="chip" aria-pressed=${isChosenOnly} data-testid="settings-chosen" onClick=${() => chooseOnly(!isChosenOnly)}>${words.settings.chosen} <b>${settings.filter((each) => each.source !== "default").length}</b></button></div></div>
    ${!shown.length && html`<${Empty} symbol="settings" title=${words.settings.nothingFound} />`}
    <div class="stack">${groups.map((group) => html`<section class="card" key=${group}><h2>${words.settings.groups[group] ?? group}</h2>
      ${shown.filter((each) => groupOf(each) === group).map((each) => html`<${Setting} key=${each.name} setting=${each} />`)}</section>`)}</div>`;
}

const groupOf = ({ name }) => (name.includes(".") ? name.split(".")[0] : "");

function Setting({ setting }) {
  const { name, variable, description, value, default: usual, source, secret } = setting;
  const isUsual = JSON.stringify(value) === JSON.stringify(usual);
  return html`<div class="setting" data-testid="setting" data-name=${name}>
    <div><h3>${name}</h3><p class="muted"><${Prose} text=${description} /></p>
      <p class="copyable"><code class="muted">${variable}</code><${Copy} isIcon text=${variable} label=${words.settings.copy} /></p></div>
    <div class="setting-value">
      <p class="shown">${secret ? (value ? words.settings.secret : words.settings.unset) : said(value)}</p>
      <p class="row"><${Badge} tone=${source === "default" ? "plain" : "accent"}>${words.settings.sources[source] ?? source}</${Badge}>
        ${!isUsual && !secret && html`<small>${words.settings.usual(said(usual))}</small>`}</p></div></div>`;
}

function said(value) {
  if (value === null || value === "" || (Array.isArray(value) && !value.length)) return words.settings.unset;
  if (value === true) return words.on;
  if (value === false) return words.off;
  return typeof value === "object" ? (Array.isArray(value) ? value.join(", ") : JSON.stringify(value)) : String(value);
}

const TONES = { ok: "good", note: "plain", warning: "warn", error: "bad", skipped: "plain" };
const SYMBOLS = { ok: "check", note: "info", warning: "warning", error: "warning", skipped: "forward" };

const titleOf = (finding) => String(finding.check).replaceAll("_", " ");

/** Findings by the title that they stand under, in their order. */
function byTitle(findings) {
  const groups = new Map();
  for (const each of findings) groups.set(each.title, [...(groups.get(each.title) ?? []), each]);
  return [...groups];
}

/** A finding as a line of text, with what is advised below it. */
function asText(finding) {
  const lines = [`[${finding.status}] ${titleOf(finding)}: ${finding.fact}`, ...(finding.advice ?? []).map((advice) => `    -> ${advice}`)];
  return lines.join("\n");
}

function Doctor() {
  const [findings, setFindings] = useState(null);
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    const { status, body } = await post("/api/doctor");
    setBusy(false);
    setProblem(status === 200 ? "" : body.error);
    setFindings(status === 200 ? body.findings : null);
  };
  const counts = (status) => findings.filter((each) => each.status === status).length;
  return html`<p class="muted intro">${words.settings.doctorText}</p>
    <div class="actions intro"><${Button} kind="primary" symbol="health" label=${busy ? words.settings.running : findings ? words.again : words.settings.run} needs busy=${busy} testid="doctor" onClick=${run} />
      ${findings && html`<${Copy} text=${() => byTitle(findings).map(([title, under]) => [title, ...under.map(asText)].join("\n")).join("\n\n")} label=${words.settings.copyFindings} />
        <span role="status">${["error", "warning", "ok"].filter(counts).map((status) => html`<${Badge} key=${status} tone=${TONES[status]}>${counts(status)} ${words.settings.statuses[status]}</${Badge}> `)}</span>`}</div>
    ${problem && html`<p class="wrong" role="alert">${problem}</p>`}
    ${findings && byTitle(findings).map(([title, under]) => html`<section key=${title}><div class="section-head"><h2>${title}</h2></div>
      <ul class="card findings">${under.map((each, i) => html`<li key=${i} class="finding ${TONES[each.status] ?? "plain"}" data-testid="finding" data-status=${each.status}>
      <${Symbol} name=${SYMBOLS[each.status] ?? "info"} /><div><h3>${titleOf(each)} <small>${words.settings.statuses[each.status] ?? each.status}</small></h3><p><${Prose} text=${each.fact} /></p>
        ${(each.advice ?? []).map((advice) => html`<p class="advice">→ <${Prose} text=${advice} /></p>`)}</div></li>`)}</ul></section>`)}`;
}
