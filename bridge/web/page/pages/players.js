/** The page "players". */

import { html } from "../ui.js";
import { words } from "../words.js";

export default function View() {
  return html`<h1>${words.nav.devices}</h1>`;
}
