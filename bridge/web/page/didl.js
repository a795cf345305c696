/** DIDL-Lite, as a media server answers Browse and Search: read as XML, shown as text. */

import { safeUrl, seconds } from "./model.js";

const DC = "http://purl.org/dc/elements/1.1/";
const UPNP = "urn:schemas-upnp-org:metadata-1-0/upnp/";
const DIDL = "urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/";

/** The containers and items of a Result; null where it cannot be read. */
export function parseDidl(text) {
  const document = new DOMParser().parseFromString(text, "text/xml");
  if (document.getElementsByTagName("parsererror").length) return null;
  const root = document.documentElement;
  return [...root.children]
    .filter((each) => each.localName === "container" || each.localName === "item")
    .map((each) => entry(each, root));
}

function entry(element, root) {
  const said = (name) => childrenOf(element, name)[0]?.textContent.trim() ?? "";
  const isContainer = element.localName === "container";
  const resources = childrenOf(element, "res").map(resource).filter((each) => each.url);
  const kind = said("class").split(".")[2] ?? "";
  return {
    id: element.getAttribute("id") ?? "",
    isContainer,
    title: said("title"),
    artist: said("artist") || said("creator"),
    album: said("album"),
    count: Number(element.getAttribute("childCount")) || 0,
    symbol: isContainer ? "folder" : { videoItem: "video", imageItem: "image" }[kind] ?? "music",
    cover: cover(element),
    resources,
    seconds: resources.map((each) => each.seconds).find((each) => each !== undefined),
    metadata: () => alone(element, root),
  };
}

const childrenOf = (element, name) => [...element.children].filter((each) => each.localName === name);

function cover(element) {
  const arts = childrenOf(element, "albumArtURI").map((each) => safeUrl(each.textContent.trim()));
  return arts.find(Boolean) ?? "";
}

function resource(element) {
  const protocol = (element.getAttribute("protocolInfo") ?? "").split(":");
  return {
    url: safeUrl(element.textContent.trim()) ?? "",
    protocol: protocol[0],
    mime: (protocol[2] ?? "").toLowerCase(),
    seconds: seconds(element.getAttribute("duration")),
  };
}

/** One item as a document of its own, as SetAVTransportURI wants it. */
function alone(element, root) {
  const copy = document.implementation.createDocument(DIDL, "DIDL-Lite");
  const top = copy.documentElement;
  const spaces = { dc: DC, upnp: UPNP };
  for (const { name, value } of root.attributes) if (name.startsWith("xmlns:")) spaces[name.slice(6)] = value;
  for (const [prefix, uri] of Object.entries(spaces)) top.setAttributeNS("http://www.w3.org/2000/xmlns/", `xmlns:${prefix}`, uri);
  top.append(copy.importNode(element, true));
  return new XMLSerializer().serializeToString(copy);
}

/** The resource of an entry that a renderer can play, by what it says it takes; undefined where there is none. */
export function playable(entry, sink = "") {
  const reachable = entry.resources.filter((each) => each.protocol === "http-get" || each.protocol === "*");
  const taken = sink.split(",").map((each) => each.split(":")).filter((each) => each[0] === "http-get" || each[0] === "*").map((each) => (each[2] ?? "").toLowerCase());
  const fits = ({ mime }) => taken.some((each) => each === "*" || each === mime || (each.endsWith("/*") && mime.startsWith(each.slice(0, -1))));
  return reachable.find(fits) ?? reachable[0];
}
