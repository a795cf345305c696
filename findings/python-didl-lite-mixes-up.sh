#!/usr/bin/env bash
# python-didl-lite 1.5.2: an element is known by its local name, and the last of a name wins. So a
# vendor's element takes the place of DIDL-Lite's own, and of several artists by role (ContentDirectory:4,
# appendix B.2, upnp:artist@role) the conductor is left; and an item whose class derives from
# musicTrack, as section 5.2.1 of ContentDirectory:1 lets vendors derive it, is not there at all.
#
# Seen: title x, album None; artist Karl; 0 items
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet python-didl-lite==1.5.2
"$work/venv/bin/python" - >"$work/seen" <<'PYTHON'
from didl_lite.didl_lite import from_xml_string


def read(fields, upnp_class="object.item.audioItem.musicTrack"):
    return from_xml_string(
        '<DIDL-Lite xmlns="urn:schemas-upnp-org:metadata-1-0/DIDL-Lite/"'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:upnp="urn:schemas-upnp-org:metadata-1-0/upnp/" xmlns:pv="http://www.pv.com/pvns/">'
        '<item id="1" parentID="0" restricted="1"><dc:title>T</dc:title>'
        f"<upnp:class>{upnp_class}</upnp:class>{fields}</item></DIDL-Lite>",
        strict=False,
    )


(track,) = read("<upnp:album>A</upnp:album><pv:album></pv:album><pv:title>x</pv:title>")
print(f"title {track.title}, album {track.album}")
(track,) = read(
    '<upnp:artist role="Performer">Ann</upnp:artist>'
    '<upnp:artist role="Conductor">Karl</upnp:artist>'
)
print(f"artist {track.artist}")
print(f"{len(read('', 'object.item.audioItem.musicTrack.live'))} items")
PYTHON
diff - "$work/seen" <<'SEEN'
title x, album None
artist Karl
0 items
SEEN
