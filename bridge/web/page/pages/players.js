/** What plays, everywhere, and what could: a wall of players, and the media servers to choose from. */

import { artUrl } from "../api.js";
import { Badge, Button, Empty, Growing, Picture, say, Slider } from "../kit.js";
import { documentAt, topicOf } from "../documents.js";
import { byName, clock, rows, safeUrl, seconds, upnpTime } from "../model.js";
import { offers, PlayPause, playerOf, transportCall, Volume } from "../playing.js";
import { call } from "../api.js";
import { href } from "../router.js";
import { baseTopic } from "../session.js";
import { changedAt, read, useWatch } from "../store.js";
import { html, useEffect, useId, useRef, useState } from "../ui.js";
import { words } from "../words.js";
import { Browser } from "./players/browser.js";

function filters() {
  const at = baseTopic.value;
  return [
    `${at}/bridge/+/devices`, `${at}/+`, `${at}/+/availability`, `${at}/+/media`, `${at}/+/AVTransport`,
    `${at}/+/+/variable/Volume`, `${at}/+/+/value/RelativeTimePosition/0`, `${at}/+/ConnectionManager/value/SinkProtocolInfo`,
  ];
}

/** All players, embedded ones too, those that play first. */
function players() {
  const all = rows();
  const found = all.flatMap((row) => [row, ...row.subdevices.map((id) => embedded(row, id))])
    .filter((row) => row && (row.kind === "player" || documentAt(topicOf(row.id, "media"))))
    .filter((row) => playerOf(row.id).hasTransport || row.kind === "player");
  const order = (row) => (!row.isOnline ? 3 : { playing: 0, transitioning: 0, paused: 1 }[documentAt(topicOf(row.id, "media"))?.state] ?? 2);
  return found.sort((a, b) => order(a) - order(b) || byName(a, b));
}

function embedded(row, id) {
  const document = documentAt(topicOf(id));
  if (!document || !playerOf(id).hasTransport) return null;
  return { ...row, id, name: document.friendly_name ?? row.name, model: document.model_name ?? row.model, kind: "player", subdevices: [] };
}

export default function Players() {
  const isWhole = useWatch(filters());
  const found = players();
  const servers = rows().filter((row) => row.kind === "server" || playerOf(row.id).directory);
  if (!found.length && !servers.length) {
    if (!isWhole) return html`<p class="muted loading">${words.loading}</p>`;
    return html`<${Empty} symbol="players" title=${words.player.none} testid="no-player"><p>${words.player.noneText}</p></${Empty}>`;
  }
  return html`<div class="page-head"><h1>${words.player.title}</h1></div>
    ${!found.length && html`<p class="muted">${words.player.noneText}</p>`}
    <div class=${found.length === 1 ? "beside" : ""}>
      <div><${Growing} class="wall" items=${found} portion=${24} render=${(row) => html`<${NowPlaying} key=${row.id} row=${row} />`} /></div>
      <${Browser} servers=${servers} players=${found.filter((row) => row.isOnline)} /></div>`;
}

function NowPlaying({ row }) {
  const player = playerOf(row.id);
  const { media } = player;
  const isAway = !row.isOnline;
  const says = words.player.states[media?.state] ?? words.player.nothing;
  return html`<section class="card now-playing ${isAway ? "away" : ""}" aria-label=${row.name} data-testid="player" data-udn=${row.id}>
    <${Picture} class="cover" url=${media?.album_art ? artUrl(row.id, media.album_art) : ""} symbol="music" alt=${media?.title ? words.player.cover(media.title) : ""} />
    <div class="now-body">
      <div class="split"><h2 class="clip"><a class="plain" href=${href("device", row.id)}>${row.name}</a></h2>
        <${Badge} tone=${isAway ? "plain" : media?.state === "playing" ? "good" : "plain"}>${isAway ? words.devices.offline : says}</${Badge}></div>
      <div class="now-title"><p class="song clip" title=${media?.title}>${media?.title || html`<span class="muted">${words.player.nothing}</span>`}</p>
        <p class="muted clip">${[media?.artist, media?.album].filter(Boolean).join(" · ")}</p></div>
      <${Progress} row=${row} player=${player} />
      <${Transport} row=${row} player=${player} />
      ${media?.volume != null && html`<${Volume} player=${player} name=${row.name} disabled=${isAway} />`}
      <${PlayUrl} row=${row} player=${player} />
    </div></section>`;
}

/** Where the track is: what the device said last, and while it plays the time since then. */
function Progress({ row, player }) {
  const { media } = player;
  const topic = topicOf(row.id, player.transport, "value", "RelativeTimePosition", "0");
  const said = seconds(read(topic));
  const place = usePlace(said, media?.state === "playing" && row.isOnline, `${media?.uri}\n${media?.track}`, changedAt(topic));
  const total = media?.duration_s;
  if (place === undefined || !total) return html`<div class="progress"><div class="times"><span></span><span>${total ? clock(total) : ""}</span></div></div>`;
  const at = Math.min(place, total);
  return html`<div class="progress">
    <${Slider} label=${words.player.position} value=${Math.floor(at)} max=${Math.ceil(total)} isQuiet disabled=${!row.isOnline || !offers(player, "Seek")} testid="position"
      onChange=${(to) => call(row.id, player.transport, "Seek", { InstanceID: 0, Unit: "REL_TIME", Target: upnpTime(to) })} />
    <div class="times"><span>${clock(at)}</span><span>${clock(total)}</span></div></div>`;
}

/** The seconds into a track: counted on from what was said last, from 0 where the track has changed since. */
function usePlace(said, isPlaying, track, at) {
  const [, tick] = useState(0);
  const known = useRef(null);
  const before = known.current;
  if (!before || before.said !== said || before.at !== at || before.track !== track || before.isPlaying !== isPlaying) {
    const isNews = !before || before.said !== said || before.at !== at;
    const isNewTrack = before && before.track !== track;
    const counted = before && placeNow(before);
    known.current = { said, at, track, isPlaying, from: isNews ? said : isNewTrack ? 0 : counted, since: Date.now() };
  }
  useEffect(() => {
    if (!isPlaying) return undefined;
    const timer = setInterval(() => document.hidden || tick((n) => n + 1), 500);
    return () => clearInterval(timer);
  }, [isPlaying]);
  return placeNow(known.current);
}

function placeNow({ from, since, isPlaying }) {
  if (from === undefined) return undefined;
  return isPlaying ? from + (Date.now() - since) / 1000 : from;
}

function Transport({ row, player }) {
  const step = (action, label) => offers(player, action) && html`<${Button} isIcon kind="quiet round" symbol=${action.toLowerCase()} label=${label} needs disabled=${!row.isOnline}
    testid=${action.toLowerCase()} onClick=${() => transportCall(player, action)} />`;
  return html`<div class="transport" role="group" aria-label=${words.player.of(row.name)}>
    ${step("Previous", words.player.previous)}
    <${PlayPause} player=${player} disabled=${!row.isOnline} isLarge />
    ${step("Next", words.player.next)}
    ${step("Stop", words.player.stop)}</div>`;
}

function PlayUrl({ row, player }) {
  const id = useId();
  const [isOpen, open] = useState(false);
  const [busy, setBusy] = useState(false);
  const field = useRef(null);
  const submit = async (event) => {
    event.preventDefault();
    const url = safeUrl(field.current.value.trim());
    if (!url) {
      say(words.player.urlWrong, "bad");
      return;
    }
    setBusy(true);
    const isSet = await transportCall(player, "SetAVTransportURI", { CurrentURI: url, CurrentURIMetaData: "" });
    if (isSet && (await transportCall(player, "Play", { Speed: "1" }))) open(false);
    setBusy(false);
  };
  if (!isOpen) return html`<${Button} kind="quiet" symbol="link" label=${words.player.playUrl} needs disabled=${!row.isOnline} testid="play-url" onClick=${() => open(true)} />`;
  return html`<form class="inline-form" onSubmit=${submit}><label class="unseen" for=${id}>${words.player.url}</label>
    <input id=${id} ref=${field} type="url" required placeholder=${words.player.urlHint} autofocus data-testid="url" />
    <${Button} type="submit" kind="primary" isIcon symbol="play" label=${words.player.play} needs busy=${busy} />
    <${Button} isIcon kind="quiet" symbol="close" label=${words.cancel} onClick=${() => open(false)} /></form>`;
}
