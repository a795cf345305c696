/** What stands on the bus of a device, as it stands there. */

import { Copy, Growing, SearchBox } from "../../kit.js";
import { read, topicsOf } from "../../store.js";
import { html, useState } from "../../ui.js";
import { words } from "../../words.js";

export function Documents({ id }) {
  const [filter, setFilter] = useState("");
  const wanted = filter.trim().toLowerCase();
  const topics = [...topicsOf(id)].filter((topic) => topic.toLowerCase().includes(wanted)).sort();
  return html`<div class="stack">
    <div class="toolbar tight"><${SearchBox} label=${words.documents.filter} hint=${words.documents.filterHint} value=${filter} onInput=${setFilter} />
      <span class="muted">${words.documents.count(topics.length)}</span></div>
    <section class="card">${topics.length
      ? html`<${Growing} items=${topics} portion=${80} render=${(topic) => html`<${Topic} key=${topic} topic=${topic} />`} />`
      : html`<p class="muted">${words.documents.empty}</p>`}</section></div>`;
}

function Topic({ topic }) {
  const payload = read(topic) ?? "";
  return html`<div class="topic-row" data-testid="topic"><div class="row"><code class="grow">${topic}</code>
      <span class="actions"><${Copy} isIcon text=${topic} label=${words.documents.copyTopic} /></span></div>
    <div class="payload"><pre tabindex="0">${pretty(payload)}</pre><${Copy} isIcon text=${payload} label=${words.documents.copyPayload} /></div></div>`;
}

/** JSON with its members on lines of their own; whatever else as it is. */
export function pretty(text) {
  if (!/^[[{]/.test(text)) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
