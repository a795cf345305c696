/** Curves, by uPlot, which is fetched when the first one is to be drawn. */

import { connections } from "./store.js";
import { html, useEffect, useRef } from "./ui.js";
import { words } from "./words.js";

let library;

function loadLibrary() {
  library ??= new Promise((resolve, reject) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = new URL("./vendor/uplot.css", import.meta.url).href;
    document.head.append(link);
    import("./vendor/uplot.js").then((module) => resolve(module.default), reject);
  });
  library.catch(() => { library = undefined; });
  return library;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** A small curve without axes: `points` is `[[seconds…], [numbers…]]`. */
export function Spark({ points, label, height = 34 }) {
  return html`<${Curve} points=${points} label=${label} height=${height} series=${[{ tone: "accent", fill: true }]} isBare />`;
}

/**
 * A curve: `points` is `[[seconds…], [numbers or null…], …]`, `series` says of each row after the
 * first its `label` and `tone` (a colour of the page by its name, such as `accent` or `good`).
 */
export function Curve({ points, series, label, height = 180, isBare = false, format }) {
  const place = useRef(null);
  const plot = useRef(null);
  const shape = JSON.stringify(series);
  useEffect(() => {
    let isWanted = true;
    const make = (UPlot) => {
      if (!isWanted || !place.current) return;
      plot.current?.destroy();
      plot.current = new UPlot(options(place.current, { series, height, isBare, format }), points, place.current);
    };
    const fresh = () => loadLibrary().then(make, () => { /* it is tried again with the next connection */ });
    fresh();
    const sizes = new ResizeObserver(([{ target }]) => plot.current?.setSize({ width: Math.max(60, target.clientWidth), height }));
    sizes.observe(place.current);
    const themes = new MutationObserver(fresh);
    themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const system = matchMedia("(prefers-color-scheme: dark)");
    system.addEventListener("change", fresh);
    return () => {
      isWanted = false;
      sizes.disconnect();
      themes.disconnect();
      system.removeEventListener("change", fresh);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, height, isBare, connections.value]);
  useEffect(() => plot.current?.setData(points), [points]);
  return html`<div ref=${place} class="curve" role="img" aria-label=${label}></div>`;
}

/** Times of an axis, by the clock of the reader. */
function clocks(_, ticks) {
  const isShort = ticks.length > 1 && ticks[1] - ticks[0] < 60;
  const shape = { hour: "2-digit", minute: "2-digit", ...(isShort && { second: "2-digit" }) };
  return ticks.map((tick) => new Date(tick * 1000).toLocaleTimeString("en-GB", shape));
}

function options(place, { series, height, isBare, format }) {
  const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  return {
    width: Math.max(60, place.clientWidth),
    height,
    padding: isBare ? [3, 2, 3, 2] : [12, 26, 0, 0],
    cursor: isBare ? { show: false } : { y: false, drag: { x: false, y: false } },
    legend: { show: !isBare },
    axes: isBare ? [{ show: false }, { show: false }] : [{ ...axis, values: clocks, space: 70 }, { ...axis, size: 64, values: format && ((_, ticks) => ticks.map(format)) }],
    scales: { x: { time: true }, y: isBare ? {} : { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : 1] } },
    series: [
      { label: words.time, value: (plot, time) => clocks(plot, [time ?? plot.data[0].at(-1), 0])[0] },
      ...series.map(({ label, tone, fill }) => ({
        label,
        stroke: colour(tone),
        width: 1.6,
        points: { show: false },
        fill: fill ? `${colour(tone)}22` : undefined,
        value: format && ((plot, value, row, at) => format(at == null ? plot.data[row].at(-1) : value)),
      })),
    ],
  };
}
