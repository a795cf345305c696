/** The bridge's HTTP API: one function for each kind of request. An answer is always an object. */

import { words } from "./words.js";

/** The base path of the page, never ending in a slash. */
export const base = document.querySelector('meta[name="base"]').content;

const GONE = { success: false, code: "gone", outcome: "unknown" };

/** Fetch JSON; throws where there is no answer, or one with a status that is an error. */
export async function get(path) {
  const response = await fetch(`${base}${path}`, { headers: { Accept: "application/json" } });
  if (!response.ok) throw Object.assign(new Error(response.statusText), { status: response.status });
  return response.json();
}

/** Send JSON; returns `{status, body}`, and status 0 where the bridge did not answer. */
export async function post(path, body = {}) {
  let response;
  try {
    response = await fetch(`${base}${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    return { status: 0, body: { ...GONE, error: words.api.gone } };
  }
  try {
    return { status: response.status, body: await response.json() };
  } catch {
    return { status: response.status, body: { ...GONE, error: words.api.status(response.status) } };
  }
}

/** Call an action of a device; returns the answer as it is on the bus. */
export async function call(id, service, action, args = {}, more = {}) {
  const command = { id, action, args, ...more };
  if (service) command.service = service;
  const { status, body } = await post("/api/call", command);
  return status === 200 ? body : { success: false, outcome: "not_sent", ...body };
}

/** Ask the bridge for something by one of its verbs. */
export async function request(verb, body = {}) {
  const { status, body: answer } = await post(`/api/request/${verb}`, body);
  return status === 200 ? answer : { success: false, ...answer };
}

/** The bridge's copy of the picture of a device. */
export const iconUrl = (id) => `${base}/api/icon/${encodeURIComponent(id)}`;

/** The bridge's copy of the cover of what a device plays; `version` changes with the cover. */
export const artUrl = (id, version = "") =>
  `${base}/api/art/${encodeURIComponent(id)}${version && `?of=${encodeURIComponent(version)}`}`;

/** The bridge's copy of a picture that a device names in an answer. */
export const pictureUrl = (id, url) =>
  `${base}/api/picture?udn=${encodeURIComponent(id)}&url=${encodeURIComponent(url)}`;
