/** Who the reader is to the bridge: whether they may control, and if not, why not. */

import { get, post } from "./api.js";
import { computed, signal } from "./ui.js";
import { words } from "./words.js";

/** The session document of the bridge, null while it is not known. */
export const session = signal(null);

export const canControl = computed(() => Boolean(session.value?.control && !session.value.read_only));

/** Why nothing can be changed from here, in words; empty where it can. */
export const whyNot = computed(() => {
  if (!session.value || canControl.value) return "";
  return session.value.read_only ? words.session.readOnlyBridge : session.value.reason || words.session.readOnly;
});

export const baseTopic = computed(() => session.value?.base_topic ?? "upnp");
export const instance = computed(() => session.value?.instance ?? "main");

/** Ask the bridge again; returns whether it answered. A bridge of another version brings its own page. */
export async function loadSession() {
  try {
    const found = await get("/api/session");
    if (session.value && session.value.version !== found.version) location.reload();
    if (JSON.stringify(session.value) !== JSON.stringify(found)) session.value = found;
    return true;
  } catch {
    return false;
  }
}

/** Give the password; returns what was wrong, empty where nothing was. */
export async function login(password) {
  const { status, body } = await post("/api/login", { password });
  if (status === 200) {
    await loadSession();
    return "";
  }
  return body.error || words.api.status(status);
}

export async function logout() {
  await post("/api/logout");
  await loadSession();
}
