/** The parts that every page is made of. Whatever they show of a device is text. */

import { iconUrl } from "./api.js";
import { canControl, whyNot } from "./session.js";
import { connections } from "./store.js";
import { Symbol } from "./symbols.js";
import { html, signal, useEffect, useErrorBoundary, useId, useLayoutEffect, useRef, useState } from "./ui.js";
import { words } from "./words.js";

export { Symbol };

const TOAST_MS = 5000;
const SETTLE_MS = 2500;
const PORTION = 60;

/** The seconds since 1970, counted up while somebody looks. */
export const now = signal(Math.floor(Date.now() / 1000));
setInterval(() => {
  if (!document.hidden) now.value = Math.floor(Date.now() / 1000);
}, 1000);

/** How long ago a time in ms is, in words. */
export function ago(ms, at = now.value) {
  const s = Math.max(0, Math.round(at - ms / 1000));
  if (s < 2) return words.ago.now;
  if (s < 60) return words.ago.seconds(s);
  if (s < 3600) return words.ago.minutes(Math.floor(s / 60));
  if (s < 86400) return words.ago.hours(Math.floor(s / 3600));
  return words.ago.days(Math.floor(s / 86400));
}

/** A time, with how long ago it is; the whole date is its title. */
export function Ago({ ms, say = (text) => text }) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return null;
  return html`<time class="ago" datetime=${date.toISOString()} title=${date.toLocaleString()}>${say(ago(ms))}</time>`;
}

const toasts = signal([]);

/** Say something for a few seconds, at the page's edge. */
export function say(text, tone = "good") {
  const toast = { text, tone };
  toasts.value = [...toasts.value.slice(-3), toast];
  setTimeout(() => {
    toasts.value = toasts.value.filter((each) => each !== toast);
  }, TOAST_MS);
}

/** What an answer of the bridge says where it is a failure, in words; empty where it is none. */
export function faultText(answer) {
  if (!answer || answer.success) return "";
  const known = words.action.codes[answer.code] ?? words.failed;
  const code = answer.upnp_code ? ` (${words.action.upnpCode(answer.upnp_code)})` : "";
  return answer.error && answer.error !== known ? `${known}: ${answer.error}${code}` : `${known}${code}`;
}

/** Say what went wrong; returns whether the answer was a success. */
export function report(answer) {
  if (!answer.success) say(faultText(answer), "bad");
  return Boolean(answer.success);
}

export function Toasts() {
  return html`<div class="toasts" role="status" aria-live="polite">
    ${toasts.value.map(({ text, tone }) => html`<p class="toast ${tone}"><${Symbol} name=${tone === "bad" ? "warning" : "check"} />${text}</p>`)}
  </div>`;
}

/** A button; `needs` control: without it, it is disabled and says why. */
export function Button({ label, symbol, onClick, kind = "", needs = false, isIcon = false, disabled = false, busy = false, title, type = "button", testid }) {
  const reason = needs && !canControl.value ? whyNot.value : "";
  return html`<button type=${type} class="button ${kind} ${isIcon ? "icon" : ""}" onClick=${onClick}
    disabled=${disabled || busy || Boolean(reason)} aria-busy=${busy} data-testid=${testid}
    aria-label=${isIcon ? label : undefined} title=${reason || title || (isIcon ? label : undefined)}>
    ${symbol && html`<${Symbol} name=${symbol} />`}${!isIcon && html`<span>${label}</span>`}
  </button>`;
}

/** A switch for what is on or off. */
export function Toggle({ label, value, onChange, disabled, testid }) {
  const reason = canControl.value ? "" : whyNot.value;
  const [wanted, want] = useWanted(value);
  return html`<button type="button" role="switch" class="toggle" aria-checked=${Boolean(wanted)} aria-label=${label}
    title=${reason || undefined} disabled=${disabled || Boolean(reason)} data-testid=${testid}
    onClick=${() => want(!wanted, onChange)}><span class="knob"></span></button>`;
}

/** A slider. It shows what the reader chose until the device has had time to report it. */
export function Slider({ label, value, min = 0, max = 100, step = 1, onChange, unit = "", disabled, isQuiet = false, testid }) {
  const reason = canControl.value ? "" : whyNot.value;
  const [wanted, want] = useWanted(value);
  const [dragged, drag] = useState(null);
  const shown = dragged ?? wanted ?? min;
  const part = max > min ? ((shown - min) / (max - min)) * 100 : 0;
  const bar = useRef(null);
  useLayoutEffect(() => bar.current.style.setProperty("--part", `${part}%`));
  return html`<span class="slider" title=${reason || undefined}>
    <input ref=${bar} type="range" aria-label=${label} min=${min} max=${max} step=${step} value=${shown} disabled=${disabled || Boolean(reason)}
      data-testid=${testid} onInput=${(event) => drag(Number(event.target.value))}
      onChange=${(event) => {
        drag(null);
        want(Number(event.target.value), onChange);
      }} />
    ${!isQuiet && html`<output>${value == null && dragged == null ? words.none : shown}${unit}</output>`}
  </span>`;
}

/** A value and what was chosen in its place: it holds until the value changes, fails, or a while has passed. */
export function useWanted(value) {
  const [wanted, setWanted] = useState(undefined);
  const timer = useRef(0);
  useEffect(() => setWanted(undefined), [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const want = async (next, change) => {
    setWanted(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setWanted(undefined), SETTLE_MS);
    const answer = await change(next);
    if (answer && !report(answer)) setWanted(undefined);
  };
  return [wanted === undefined ? value : wanted, want];
}

/** A picture of a device's kind, or its own icon where it has one. */
export function DeviceIcon({ id, kind, hasIcon, size = 44 }) {
  return html`<${Picture} url=${hasIcon ? iconUrl(id) : ""} symbol=${kind} size=${size} class="device-icon" />`;
}

/** A picture of the bridge's own; a symbol where there is none, or it cannot be shown. */
export function Picture({ url, symbol, size, alt = "", class: name = "" }) {
  const [failed, fail] = useState("");
  const [loaded, load] = useState("");
  const key = `${url} ${connections.value}`; // a bridge that is back may have it
  const isShown = url && failed !== key;
  const frame = useRef(null);
  useLayoutEffect(() => {
    if (size) frame.current.style.setProperty("--size", `${size}px`);
  }, [size]);
  return html`<span ref=${frame} class="picture ${name} ${isShown ? "" : "empty"} ${isShown && loaded !== key ? "awaited" : ""}">
    ${isShown
      ? html`<img key=${key} src=${url} alt=${alt} loading="lazy" decoding="async" onLoad=${() => load(key)} onError=${() => fail(key)} />`
      : html`<${Symbol} name=${symbol} size=${size ? Math.round(size * 0.55) : 40} />`}
  </span>`;
}

/** A text in which `…` is code. */
export function Prose({ text }) {
  return String(text).split("`").map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));
}

/** A label with its field. */
export function Field({ label, hint, children, id }) {
  return html`<div class="field"><label for=${id}>${label}</label>${children}${hint && html`<small>${hint}</small>`}</div>`;
}

export function SearchBox({ label, hint, value, onInput, testid }) {
  const id = useId();
  return html`<div class="searchbox" role="search">
    <${Symbol} name="search" /><label class="unseen" for=${id}>${label}</label>
    <input id=${id} type="search" placeholder=${hint} value=${value} autocomplete="off" spellcheck=${false}
      data-testid=${testid} onInput=${(event) => onInput(event.target.value)} />
  </div>`;
}

/** Whether the reader may change anything. */
export const useAllowed = () => canControl.value;

export function Choice({ label, value, options, onChange, testid, disabled, isNamed = false }) {
  const id = useId();
  return html`<span class="choice ${isNamed ? "pick" : ""}"><label class=${isNamed ? "muted" : "unseen"} for=${id}>${label}</label>
    <select id=${id} title=${(disabled && whyNot.value) || label} value=${value} disabled=${disabled} data-testid=${testid} onChange=${(event) => onChange(event.target.value)}>
      ${Object.entries(options).map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select></span>`;
}

/** A button that copies a text, and says that it did. */
export function Copy({ text, label = words.copy, isIcon = false, testid }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await writeClipboard(typeof text === "function" ? text() : text);
    setDone(true);
    setTimeout(() => setDone(false), 1500);
  };
  return html`<${Button} kind="quiet" isIcon=${isIcon} symbol=${done ? "check" : "copy"} label=${done ? words.copied : label} onClick=${copy} testid=${testid} />`;
}

/** Copy by the clipboard's interface, or by a selection where the page is not in a secure context. */
async function writeClipboard(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return;
    } catch { /* not allowed: by a selection */ }
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "unseen";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** Save a text as a file of the reader's. */
export function save(name, text, type = "application/json") {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(new Blob([text], { type }));
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
}

/** What is shown where there is nothing to show, and what to do. */
export function Empty({ symbol, title, children, testid }) {
  return html`<section class="empty-state" data-testid=${testid}>
    <span class="empty-symbol"><${Symbol} name=${symbol} size=${40} /></span><h2>${title}</h2>${children}</section>`;
}

/** A line that says how things are: `tone` is good, warn, bad or plain. */
export function Note({ tone = "plain", symbol, children, testid }) {
  return html`<div class="note ${tone}" data-testid=${testid}><${Symbol} name=${symbol ?? (tone === "plain" ? "info" : "warning")} /><div>${children}</div></div>`;
}

export function Badge({ tone = "plain", symbol, children }) {
  return html`<span class="badge ${tone}">${symbol && html`<${Symbol} name=${symbol} size=${14} />`}${children}</span>`;
}

/** A dialog over the page; Escape and the backdrop close it. */
export function Dialog({ title, onClose, children, testid }) {
  const dialog = useRef(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    dialog.current.showModal();
    return () => before?.focus?.();
  }, []);
  return html`<dialog ref=${dialog} aria-labelledby=${id} onClose=${onClose} data-testid=${testid}
    onClick=${(event) => event.target === dialog.current && onClose()}>
    <div class="dialog-body"><header><h2 id=${id}>${title}</h2>
      <${Button} kind="quiet" isIcon symbol="close" label=${words.close} onClick=${onClose} /></header>${children}</div>
  </dialog>`;
}

/** A long list that grows as the reader comes to its end. */
export function Growing({ items, render, portion = PORTION, class: name = "", as = "div", label, role }) {
  const [shown, show] = useState(portion);
  const end = useRef(null);
  const hasMore = items.length > shown;
  useEffect(() => {
    if (!hasMore) return undefined;
    const observer = new IntersectionObserver(
      (entries) => entries.some((each) => each.isIntersecting) && show((n) => n + portion),
      { rootMargin: "800px" },
    );
    observer.observe(end.current);
    return () => observer.disconnect();
  }, [hasMore, shown]);
  return html`<${as} class=${name} aria-label=${label} role=${role}>${items.slice(0, shown).map(render)}</${as}>
    ${hasMore && html`<div ref=${end} class="growing-end"><${Button} kind="quiet" label=${words.more} onClick=${() => show(shown + portion)} /></div>`}`;
}

/** Views of one page, chosen by a link each. */
export function Tabs({ label, current, items }) {
  const bar = useRef(null);
  useEffect(() => bar.current.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), [current]);
  return html`<nav ref=${bar} class="tabs" aria-label=${label}>${items.map(({ key, text, href }) =>
    html`<a key=${key} href=${href} aria-current=${key === current ? "page" : undefined} data-testid=${`tab-${key}`}>${text}</a>`)}</nav>`;
}

/** Keep what broke inside of it from the rest of the page. */
export function Guarded({ children, name }) {
  const [error, reset] = useErrorBoundary((caught) => console.error(caught));
  const shown = useRef(name);
  useEffect(() => {
    if (shown.current !== name) {
      shown.current = name;
      reset();
    }
  }, [name]);
  if (!error) return children;
  return html`<${Empty} symbol="warning" title=${words.broken}><p class="muted">${String(error.message)}</p>
    <${Button} label=${words.again} onClick=${reset} /></${Empty}>`;
}
