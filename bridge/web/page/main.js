/** The frame around every page: navigation, the state of the bridge, and the page itself. */

import { Badge, Button, Dialog, Field, Guarded, Note, say, Symbol, Toasts } from "./kit.js";
import { href, route } from "./router.js";
import { canControl, loadSession, login, logout, session, whyNot } from "./session.js";
import { connect, connections, link, reconnect } from "./store.js";
import { html, render, signal, useEffect, useId, useRef, useState } from "./ui.js";
import { words } from "./words.js";

const PAGES = {
  devices: () => import("./pages/devices.js"),
  device: () => import("./pages/device.js"),
  players: () => import("./pages/players.js"),
  map: () => import("./pages/map.js"),
  activity: () => import("./pages/activity.js"),
  health: () => import("./pages/health.js"),
  settings: () => import("./pages/settings.js"),
};
const NAVIGATION = ["devices", "players", "map", "activity", "health", "settings"];
const THEMES = ["auto", "light", "dark"];
const THEME_SYMBOLS = { auto: "auto", light: "sun", dark: "moon" };
const RETRY_MS = 1500;
const SESSION_MS = 5000;
const SETTLED_MS = 2000;

const theme = signal(localStorage.getItem("theme") ?? "auto");
const isLoggingIn = signal(false);

function applyTheme() {
  document.documentElement.dataset.theme = theme.value;
}

function ThemeButton() {
  const next = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length];
  return html`<${Button} kind="quiet" isIcon symbol=${THEME_SYMBOLS[theme.value]} label=${words.theme[theme.value]} testid="theme"
    onClick=${() => {
      theme.value = next;
      localStorage.setItem("theme", next);
      applyTheme();
    }} />`;
}

function Login() {
  const id = useId();
  const [wrong, setWrong] = useState("");
  const [busy, setBusy] = useState(false);
  const field = useRef(null);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    const problem = await login(field.current.value);
    setBusy(false);
    setWrong(problem);
    if (problem) return;
    isLoggingIn.value = false;
    reconnect();
  };
  return html`<${Dialog} title=${words.session.loginTitle} onClose=${() => { isLoggingIn.value = false; }} testid="login">
    <form onSubmit=${submit}>
      <p>${words.session.loginText}</p>
      <${Field} label=${words.session.password} id=${id}>
        <input id=${id} ref=${field} type="password" autocomplete="current-password" required autofocus aria-invalid=${Boolean(wrong)} /></${Field}>
      ${wrong && html`<p class="wrong" role="alert">${wrong}</p>`}
      <div class="actions"><${Button} type="submit" kind="primary" label=${words.session.login} busy=${busy} /></div>
    </form></${Dialog}>`;
}

function Rights() {
  if (!session.value) return null;
  if (session.value.login) {
    return html`<${Button} kind="quiet" symbol="lock" label=${words.session.login} testid="open-login" onClick=${() => { isLoggingIn.value = true; }} />`;
  }
  if (!canControl.value) {
    return html`<span title=${whyNot.value}><${Badge} tone="warn" symbol="lock">${words.session.readOnlyShort}</${Badge}></span>`;
  }
  if (!session.value.logged_in) return null;
  return html`<${Button} kind="quiet" label=${words.session.logout} onClick=${async () => {
    await logout();
    reconnect();
  }} />`;
}

function Navigation({ current }) {
  return html`<nav class="navigation" aria-label=${words.nav.label}>
    ${NAVIGATION.map((name) => html`<a key=${name} href=${href(name)} title=${words.nav[name]} data-testid=${`nav-${name}`} aria-current=${name === current ? "page" : undefined}>
      <${Symbol} name=${name} size=${22} /><span>${words.nav[name]}</span></a>`)}
  </nav>`;
}

function Banners() {
  const broker = session.value?.broker;
  const isAway = broker?.connected === false;
  return html`<div class="banners" role="status" aria-live="polite">
    ${link.value === "gone" && html`<${Note} tone="bad" symbol="unplugged" testid="bridge-gone">${words.banner.gone}</${Note}>`}
    ${link.value !== "gone" && isAway && html`<${Note} tone="warn" symbol="unplugged" testid="broker-away">${words.banner.broker(broker.url)}
      ${broker.reason && html`<br /><small>${broker.reason}</small>`}</${Note}>`}
    ${session.value && !canControl.value && html`<${Note} symbol="lock" testid="read-only">${words.banner.readOnly(whyNot.value)}</${Note}>`}
  </div>`;
}

function Page({ name }) {
  const [loaded, setLoaded] = useState(null);
  useEffect(() => {
    let isCurrent = true;
    PAGES[name]().then((module) => isCurrent && setLoaded({ name, View: module.default }), (error) => isCurrent && link.value !== "gone" && say(String(error.message), "bad"));
    return () => { isCurrent = false; };
  }, [name, connections.value]);
  if (loaded?.name !== name) return html`<p class="muted loading">${words.loading}</p>`;
  return html`<${Guarded} name=${`${name}/${route.value.id}`}><${loaded.View} key=${`${name}/${route.value.id}`} /></${Guarded}>`;
}

function Frame() {
  const name = Object.hasOwn(PAGES, route.value.page) ? route.value.page : "devices";
  const current = name === "device" ? "devices" : name;
  const main = useRef(null);
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${words.nav[current]} · ${words.name}`;
    if (isFirst.current) isFirst.current = false;
    else {
      main.current.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
  }, [name, route.value.id]);
  return html`
    <a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); main.current.focus(); }}>${words.skip}</a>
    <header class="top">
      <a class="brand" href=${href("devices")}><span class="logo" aria-hidden="true"></span><span>${words.name}</span>
        ${session.value && session.value.instance !== "main" && html`<small>${session.value.instance}</small>`}</a>
      <${Navigation} current=${current} />
      <div class="top-end"><${Rights} /><${ThemeButton} /></div>
    </header>
    <main id="content" ref=${main} tabindex="-1">
      ${session.value ? html`<${Banners} /><${Page} name=${name} />` : html`<${Waiting} />`}
    </main>
    ${isLoggingIn.value && html`<${Login} />`}
    <${Toasts} />`;
}

function Waiting() {
  const isGone = link.value === "gone";
  return html`<div class="banners" role="status">${isGone
    ? html`<${Note} tone="bad" symbol="unplugged" testid="bridge-gone">${words.banner.gone}</${Note}>`
    : html`<p class="muted loading">${words.banner.connecting}</p>`}</div>`;
}

/** Have all pages, so that each can be opened while the bridge does not answer. */
const fetchPages = () => Promise.allSettled(Object.values(PAGES).map((load) => load()));

async function start() {
  applyTheme();
  render(html`<${Frame} />`, document.getElementById("page"));
  while (!(await loadSession())) {
    link.value = "gone";
    await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
  }
  connect();
  setTimeout(fetchPages, SETTLED_MS);
  setInterval(() => link.value === "open" && !document.hidden && loadSession(), SESSION_MS);
}

start();
