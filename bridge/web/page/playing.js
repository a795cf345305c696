/** What a player plays, and its controls. */

import { call } from "./api.js";
import { Button, report, Slider } from "./kit.js";
import { documentAt, documentOf, topicOf } from "./documents.js";
import { serviceLevel } from "./model.js";
import { set } from "./store.js";
import { html } from "./ui.js";
import { words } from "./words.js";

/** A player as its topics tell it. */
export function playerOf(id) {
  const document = documentOf(id);
  const found = serviceLevel(document, "AVTransport");
  const transport = found ?? "AVTransport";
  const directory = serviceLevel(document, "ContentDirectory");
  const rendering = serviceLevel(document, "RenderingControl");
  const media = documentAt(topicOf(id, "media"));
  return { id, document, transport, hasTransport: Boolean(found), directory, rendering, media };
}

/** Call an action of AVTransport on instance 0, and say what went wrong. */
export async function transportCall(player, action, args = {}) {
  return report(await call(player.id, player.transport, action, { InstanceID: 0, ...args }));
}

export function PlayPause({ player, disabled, isLarge = false }) {
  const isPlaying = ["playing", "transitioning"].includes(player.media?.state);
  const canPause = offers(player, "Pause");
  const action = !isPlaying ? "Play" : canPause ? "Pause" : "Stop";
  const label = words.player[action.toLowerCase()];
  return html`<${Button} isIcon kind="round ${isLarge ? "primary" : ""}" symbol=${action.toLowerCase()} label=${label} needs disabled=${disabled} testid="play-pause"
    onClick=${() => transportCall(player, action, action === "Play" ? { Speed: "1" } : {})} />`;
}

/** Whether a player has an action: yes where its documents are not watched. */
export function offers(player, action) {
  const service = documentAt(topicOf(player.id, player.transport));
  return !service?.children || service.children.some((id) => id.endsWith(`/action/${action}`));
}

export function Volume({ player, name, disabled }) {
  const { media, rendering, id } = player;
  if (!rendering) return null;
  const at = (variable) => topicOf(id, rendering, "value", variable); // the bridge knows instance and channel
  const range = documentAt(topicOf(id, rendering, "variable", "Volume"));
  const [low, high] = [range?.minimum ?? 0, range?.maximum ?? 100];
  return html`<div class="row">
    ${media.muted != null && html`<${Button} isIcon kind="quiet" needs disabled=${disabled} symbol=${media.muted ? "muted" : "volume"} label=${media.muted ? words.player.unmute : words.player.mute}
      testid="mute" onClick=${async () => report(await set(at("Mute"), String(!media.muted)))} />`}
    <${Slider} label=${words.player.volumeOf(name)} value=${media.volume} disabled=${disabled} testid="volume"
      onChange=${(percent) => set(at("Volume"), String(Math.round(low + (percent / 100) * (high - low))))} /></div>`;
}
