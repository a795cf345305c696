/** Where the reader is: `#/<page>/<id>?<query>`, so that every view can be kept and sent. */

import { signal } from "./ui.js";

function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [page = "", id = ""] = path.split("/");
  return { page: page || "devices", id: decode(id), query: Object.fromEntries(new URLSearchParams(query)) };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const route = signal(parse(location.hash));

addEventListener("hashchange", () => {
  route.value = parse(location.hash);
});

/** The address of a view. Empty members of the query are left out. */
export function href(page, id = "", query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== "" && value != null);
  const text = new URLSearchParams(kept).toString();
  return `#/${page}${id && `/${encodeURIComponent(id)}`}${text && `?${text}`}`;
}

/** Change the query of this view, without a step in the browser's history. */
export function setQuery(changes) {
  const { page, id, query } = route.value;
  history.replaceState(null, "", href(page, id, { ...query, ...changes }));
  route.value = parse(location.hash);
}

export function go(page, id, query) {
  location.hash = href(page, id, query);
}
