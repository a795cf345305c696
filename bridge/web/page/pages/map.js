/** The page "map". */

import { html } from "../ui.js";
import { words } from "../words.js";

export default function View() {
  return html`<h1>${words.nav.map}</h1>`;
}
