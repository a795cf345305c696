/** What Home Assistant gets of a device. */

import { Badge, Copy } from "../../kit.js";
import { href } from "../../router.js";
import { html } from "../../ui.js";
import { words } from "../../words.js";
import { pretty } from "./documents.js";

export function HomeAssistant({ more, document }) {
  if (!more) return html`<p class="muted">${words.loading}</p>`;
  const told = more.homeassistant ?? [];
  if (!told.length) {
    const { root, id } = document ?? {};
    return html`<section class="card"><p class="muted">${root && root !== id ? words.homeassistant.ofRoot : words.homeassistant.none}</p>
      ${root && root !== id && html`<a href=${href("device", root, { section: "homeassistant" })}>${words.device.partOf} ${root}</a>`}</section>`;
  }
  return html`<div class="stack">${told.map(({ topic, payload }) => html`<${Discovery} key=${topic} topic=${topic} payload=${payload} />`)}</div>`;
}

function Discovery({ topic, payload }) {
  const text = typeof payload === "string" ? payload : JSON.stringify(payload);
  let components = [];
  try {
    components = Object.entries(JSON.parse(text).components ?? {});
  } catch { /* shown as it is */ }
  return html`<section class="card" data-testid="homeassistant"><div class="split"><h2>${words.homeassistant.entities(components.length)}</h2><${Copy} text=${text} label=${words.homeassistant.document} /></div>
    <ul class="entities">${components.map(([key, entity]) => html`<li key=${key}><${Badge} tone="accent">${entity.platform}</${Badge}><span class="grow">${entity.name ?? key}</span>
      <code class="muted clip">${entity.state_topic ?? entity.command_topic ?? ""}</code></li>`)}</ul>
    <details><summary><code class="clip">${topic}</code></summary><pre tabindex="0">${pretty(text)}</pre></details></section>`;
}
