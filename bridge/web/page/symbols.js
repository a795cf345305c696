/** The page's symbols: lines on a grid of 24, drawn for it. */

import { html } from "./ui.js";

const PATHS = {
  devices: "M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z",
  players: "M9 18V6l10-2v12M9 18a2.500 2.500 0 1 1-5 0a2.500 2.500 0 0 1 5 0zM19 16a2.500 2.500 0 1 1-5 0a2.500 2.500 0 0 1 5 0z",
  map: "M12 9a2.500 2.500 0 1 0 0-5a2.500 2.500 0 0 0 0 5zM5.500 20a2.500 2.500 0 1 0 0-5a2.500 2.500 0 0 0 0 5zM18.500 20a2.500 2.500 0 1 0 0-5a2.500 2.500 0 0 0 0 5zM11 9l-4 6.500M13 9l4 6.500",
  activity: "M4 6h16M4 12h10M4 18h13",
  health: "M3 12h4l3-7l4 14l3-7h4",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9a2 2 0 1 0 0-4a2 2 0 0 0 0 4zM9 19a2 2 0 1 0 0-4a2 2 0 0 0 0 4z",
  light: "M9 18h6M10 21h4M12 3a6 6 0 0 0-3.500 10.900c.6.500 1 1.200 1 2V16h5v-.1c0-.8.4-1.500 1-2A6 6 0 0 0 12 3z",
  player: "M6 3h12v18H6zM12 17.500a3.500 3.500 0 1 0 0-7a3.500 3.500 0 0 0 0 7zM12 6.800v.1",
  server: "M4 4h16v7H4zM4 13h16v7H4zM7.500 7.500v.1M7.500 16.500v.1M12 7.500h5M12 16.500h5",
  router: "M4 13h16v6H4zM7.500 16v.1M11 16v.1M17 13V7M14 6.500a4.200 4.200 0 0 1 6 0",
  switch: "M7 7h10a5 5 0 0 1 0 10H7A5 5 0 0 1 7 7zM17 14a2 2 0 1 0 0-4a2 2 0 0 0 0 4z",
  other: "M12 3l8 4.500v9L12 21l-8-4.500v-9zM4 7.500l8 4.500l8-4.500M12 12v9",
  play: "M8 5l11 7l-11 7z",
  pause: "M8 5v14M16 5v14",
  stop: "M6 6h12v12H6z",
  next: "M6 5l9 7l-9 7zM18 5v14",
  previous: "M18 5l-9 7l9 7zM6 5v14",
  volume: "M4 9.500h3.500L12 5.500v13l-4.500-4H4zM15.500 9a4 4 0 0 1 0 6M18 6.500a8 8 0 0 1 0 11",
  muted: "M4 9.500h3.500L12 5.500v13l-4.500-4H4zM16 9.500l5 5M21 9.500l-5 5",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13a6.500 6.500 0 0 0 0 13zM15.500 15.500L20 20",
  sun: "M12 16a4 4 0 1 0 0-8a4 4 0 0 0 0 8zM12 3v2M12 19v2M3 12h2M19 12h2M5.600 5.600L7 7M17 17l1.400 1.400M5.600 18.400L7 17M17 7l1.400-1.400",
  moon: "M19.500 14.500A8 8 0 0 1 9.500 4.500a8 8 0 1 0 10 10z",
  auto: "M4 5h16v11H4zM9 20h6M12 16v4",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  check: "M5 12.500l4.500 4.500L19 7.500",
  warning: "M12 4l9 16H3zM12 10v4M12 17v.1",
  info: "M12 21a9 9 0 1 0 0-18a9 9 0 0 0 0 18zM12 11v5M12 8v.1",
  close: "M6 6l12 12M18 6L6 18",
  back: "M19 12H5M11 6l-6 6l6 6",
  forward: "M9 5l7 7l-7 7",
  refresh: "M19 12a7 7 0 1 1-2-5M19 4v4h-4",
  trash: "M5 7h14M9 7V4h6v3M7 7l1 13h8l1-13",
  download: "M12 4v11M7 10.500l5 5l5-5M5 20h14",
  open: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  folder: "M3 6h6l2 2h10v11H3z",
  music: "M9 18V6l10-2v12M9 18a2.500 2.500 0 1 1-5 0a2.500 2.500 0 0 1 5 0zM19 16a2.500 2.500 0 1 1-5 0a2.500 2.500 0 0 1 5 0z",
  video: "M3 6h12v12H3zM15 10.500l6-3.500v10l-6-3.500z",
  image: "M4 5h16v14H4zM4 16l5-5l4 4l2.500-2.500L20 17M15.500 9v.1",
  send: "M4 12l16-8l-6 16l-3-6.500z",
  link: "M10 14a4 4 0 0 0 5.700 0l3-3A4 4 0 0 0 13 5.300l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3A4 4 0 0 0 11 18.700l1-1",
  plus: "M12 5v14M5 12h14",
  filter: "M4 6h16l-6 7v6l-4-2v-4z",
  unplugged: "M4 20l4-4M20 4l-4 4M8.500 9.500l6 6l-2 2a4.200 4.200 0 0 1-6-6zM15.500 14.500l-6-6l2-2a4.200 4.200 0 0 1 6 6z",
};

/** A symbol, hidden from screen readers: what it stands for is said in words beside it. */
export function Symbol({ name, size = 20 }) {
  return html`<svg class="symbol" viewBox="0 0 24 24" width=${size} height=${size} aria-hidden="true" focusable="false">
    <path d=${PATHS[name] ?? PATHS.other} /></svg>`;
}
