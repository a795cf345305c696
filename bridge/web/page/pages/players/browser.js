/** The folders of a media server, and playing from them on any player. */

import { call, pictureUrl } from "../../api.js";
import { parseDidl, playable } from "../../didl.js";
import { Button, Choice, faultText, Note, Picture, say, SearchBox, Symbol } from "../../kit.js";
import { topicOf } from "../../documents.js";
import { clock } from "../../model.js";
import { playerOf, transportCall } from "../../playing.js";
import { route, setQuery } from "../../router.js";
import { read } from "../../store.js";
import { html, useEffect, useRef, useState } from "../../ui.js";
import { words } from "../../words.js";

const PORTION = 50;
const TYPING_MS = 400;
const TIMEOUT_S = 20;

export function Browser({ servers, players }) {
  const { server: chosenServer = "", on = "" } = route.value.query;
  const server = servers.find((each) => each.id === chosenServer) ?? servers.find((each) => each.isOnline) ?? servers[0];
  const player = players.find((each) => each.id === on) ?? players[0];
  if (!server) return html`<section><div class="section-head"><h2>${words.browse.title}</h2></div><p class="muted">${words.browse.none}</p></section>`;
  return html`<section aria-label=${words.browse.title} data-testid="browser">
    <div class="section-head"><h2 class="grow">${words.browse.title}</h2>
      <${Choice} isNamed=${true} label=${words.browse.server} value=${server.id} testid="server"
        options=${Object.fromEntries(servers.map((each) => [each.id, each.name]))} onChange=${(id) => setQuery({ server: id })} />
      ${player
        ? html`<${Choice} isNamed=${true} label=${words.browse.renderer} value=${player.id} testid="renderer"
            options=${Object.fromEntries(players.map((each) => [each.id, each.name]))} onChange=${(id) => setQuery({ on: id })} />`
        : html`<span class="muted">${words.browse.noRenderer}</span>`}</div>
    <${Folders} key=${server.id} server=${server} player=${player} /></section>`;
}

const TOP = [{ id: "0", title: words.browse.root }];

function Folders({ server, player }) {
  const [path, setPath] = useState(TOP);
  const [search, setSearch] = useState("");
  const [found, setFound] = useState({ entries: [], total: 0, fault: "", busy: true });
  const asked = useRef(0);
  const folder = path.at(-1);

  const load = async (from) => {
    asked.current += 1;
    const mine = asked.current;
    setFound((before) => (from ? { ...before, busy: true } : { entries: [], total: 0, fault: "", busy: true }));
    const answer = await ask(server, folder.id, search.trim(), from);
    if (mine !== asked.current) return;
    setFound((before) => ({ ...answer, busy: false, entries: from ? [...before.entries, ...answer.entries] : answer.entries }));
  };
  useEffect(() => {
    const timer = setTimeout(load, search ? TYPING_MS : 0, 0);
    return () => clearTimeout(timer);
  }, [folder.id, search]);
  const enter = (entry) => {
    setSearch("");
    setPath([...path, { id: entry.id, title: entry.title || entry.id }]);
  };

  const { entries, total, fault, busy } = found;
  const areAlbums = entries.length > 0 && entries.every((each) => each.isContainer && each.cover);
  return html`<div class="card">
    <div class="toolbar">
      <nav class="crumbs grow" aria-label=${words.browse.path}>${path.map((each, i) => html`${i > 0 && html`<${Symbol} name="forward" size=${14} />`}
        <${Button} kind="quiet" label=${each.title} disabled=${i === path.length - 1 && !search} onClick=${() => {
          setSearch("");
          setPath(path.slice(0, i + 1));
        }} />`)}</nav>
      <${SearchBox} label=${words.browse.search} hint=${words.browse.searchHint} value=${search} testid="browse-search" onInput=${setSearch} />
    </div>
    <ul class="entries ${areAlbums ? "tiles" : ""}" aria-busy=${busy} data-testid="entries">${entries.map((each) => html`<${Entry} key=${each.id} entry=${each} server=${server} player=${player} onOpen=${() => enter(each)} />`)}</ul>
    ${fault && html`<${Note} tone="warn">${fault}</${Note}>`}
    ${busy && html`<p class="muted loading">${words.loading}</p>`}
    ${!busy && !fault && !entries.length && html`<p class="muted loading">${words.browse.empty}</p>`}
    ${entries.length > 0 && html`<div class="split foot"><span class="muted" role="status">${words.browse.range(entries.length, Math.max(total, entries.length))}</span>
      ${entries.length < total && html`<${Button} label=${words.more} busy=${busy} testid="more" onClick=${() => load(entries.length)} />`}</div>`}</div>`;
}

/** Ask a server for a part of a folder, or of what it finds below it. */
async function ask(server, container, search, from) {
  const directory = playerOf(server.id).directory ?? "ContentDirectory";
  const page = { Filter: "*", StartingIndex: from, RequestedCount: PORTION, SortCriteria: "" };
  const text = search.replaceAll("\\", "\\\\").replaceAll('"', '\\"');
  const answer = search
    ? await call(server.id, directory, "Search", { ContainerID: container, SearchCriteria: `dc:title contains "${text}"`, ...page }, { timeout: TIMEOUT_S })
    : await call(server.id, directory, "Browse", { ObjectID: container, BrowseFlag: "BrowseDirectChildren", ...page }, { timeout: TIMEOUT_S });
  if (!answer.success) {
    const isRefused = search && ["unknown_action", "upnp_fault"].includes(answer.code);
    return { entries: [], total: 0, fault: isRefused ? `${words.browse.refused} ${faultText(answer)}` : faultText(answer) };
  }
  const entries = parseDidl(String(answer.out.Result ?? ""));
  if (!entries) return { entries: [], total: 0, fault: words.browse.unreadable };
  const total = Number(answer.out.TotalMatches) || 0;
  const isMore = total === 0 && entries.length === PORTION; // a server that does not count
  return { entries, total: isMore ? from + entries.length + 1 : total, fault: "" };
}

function Entry({ entry, server, player, onOpen }) {
  const [busy, setBusy] = useState(false);
  const title = entry.title || entry.id;
  const picture = html`<${Picture} url=${entry.cover ? pictureUrl(server.id, entry.cover) : ""} symbol=${entry.symbol} size=${48} />`;
  if (entry.isContainer) {
    return html`<li class="entry" data-testid="folder"><button type="button" class="folder" onClick=${onOpen}>${picture}
      <span class="grow"><span class="title clip block">${title}</span><span class="muted clip block">${[entry.artist, entry.count > 0 && words.browse.children(entry.count)].filter(Boolean).join(" · ")}</span></span>
      <${Symbol} name="forward" size=${18} /></button></li>`;
  }
  const play = async () => {
    setBusy(true);
    const target = playerOf(player.id);
    const resource = playable(entry, read(topicOf(player.id, "ConnectionManager", "value", "SinkProtocolInfo")));
    const isSet = await transportCall(target, "SetAVTransportURI", { CurrentURI: resource.url, CurrentURIMetaData: entry.metadata() });
    if (isSet && (await transportCall(target, "Play", { Speed: "1" }))) say(words.browse.playing(title, player.name));
    setBusy(false);
  };
  const canPlay = player && playable(entry);
  return html`<li class="entry" data-testid="item">${picture}
    <div class="grow"><p class="clip">${title}</p><p class="muted clip">${[entry.artist, entry.album].filter(Boolean).join(" · ")}</p></div>
    ${entry.seconds !== undefined && html`<span class="muted">${clock(entry.seconds)}</span>`}
    <${Button} isIcon kind="round" symbol="play" label=${player ? words.browse.play(title, player.name) : words.browse.noRenderer} title=${canPlay || !player ? undefined : words.browse.unplayable}
      needs busy=${busy} disabled=${!canPlay} testid="play-item" onClick=${play} /></li>`;
}
