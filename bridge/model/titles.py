"""What a listener calls what plays, where its title is not told, or is one for machines only."""

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from bridge.formats.decoding import decoded

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_NAMED = frozenset(
    {"http", "https", "ftp", "ftps", "sftp", "file", "smb", "cifs", "nfs", "x-file-cifs"}
    | {"afp", "dav", "davs", "webdav", "rtsp", "mms", "mmsh"}
)
"""Schemes whose paths are names of files. In others they are ids, if there are any."""
_URL = re.compile(
    r"(?:[a-z][a-z0-9+.-]*://|(?:x-[a-z0-9+.-]+|aac|hls-radio|spotify):)\S*", re.IGNORECASE
)
_MEDIA_EXTENSIONS = """
3g2 3gp aac aacp ac3 aif aiff alac amr ape asf asx au avi bmp cue dff divx dsf dts eac3 flac flv
gif heic jpeg jpg m2ts m3u m3u8 m4a m4b m4p m4s m4v mid midi mka mkv mov mp2 mp3 mp4 mpa mpc mpd
mpeg mpg mts nsv oga ogg ogv opus pcm pls png ra ram rm shn spx strm tak tif tiff ts tta vob wav
wave wax webm webp wma wmv wpl wv wvx xspf
"""
_MEDIA = frozenset(_MEDIA_EXTENSIONS.split())
_SCRIPTS = frozenset(
    {"action", "asp", "aspx", "cgi", "dll", "do", "exe", "htm", "html", "jsp", "php", "pl", "py"}
)
_EXTENSION = re.compile(r"(.*[^.])\.([A-Za-z0-9]{1,5})", re.DOTALL)
_OTHER_EXTENSION = re.compile(r"[a-z][a-z0-9]{1,3}|[A-Z][A-Z0-9]{1,3}")
_NAMELESS = re.compile(
    r"[\W_]*|[\W_]*(?:audio|channel|chunklist|content|default|download|file|hls|index|item|listen|live"
    r"|main|manifest|master|media|object|playlist|radio|resource|stream|video|videoplayback)[\W_]*\d{0,4}",
    re.IGNORECASE,
)
"""Names of whatever a server sends."""
_BARE = re.compile(
    r"[\W_]*(?:aac|api|data|flac|get|hi|high|hq|lo|low|lq|mp3|music|ogg|opus|pcm|play|playback|proxy"
    r"|raw|transcode|watch|wav)[\W_]*\d{0,4}",
    re.IGNORECASE,
)
"""Likewise, but with an extension these may be titles."""
_ID = re.compile(r"(?=.*\d)[0-9a-fA-F{}-]{16,}|\d{4,}")
_CODED = re.compile(
    r"(?=.*[_.-])(?:.*[_.-])?(?:aacp?|aac\+|heaac|mp3|ogg|opus|flac|wma|hls|mpeg|m3u8?|pls"
    r"|\d{2,3}k(?:bps?)?|(?<=[_.-])(?:32|48|64|96|128|160|192|256|320))(?:[_.-].*)?",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DASH = re.compile(r"\s+[-\u2013\u2014]\s+")
_PLACEHOLDER = re.compile(r"ZPSTR_\w+")
_PROGRAMME_ID = re.compile(r",\s*[a-z]?\d+\s*$")
_MAX_TITLE = 512
_MAX_TEXT = 1024


class OnAir(NamedTuple):
    """What a radio station plays."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None


def of_uri(uri: str | None) -> str | None:
    """Return the title that a URI has: the name of a file without its extension.

    None where its last part names nothing, as those of streams do.
    """
    uri = (uri or "").strip()
    scheme = _SCHEME.match(uri)
    if scheme and scheme[1].lower() not in _NAMED:
        return None
    rest = re.split(r"[?#]", uri[scheme.end() :] if scheme else uri, maxsplit=1)[0]
    if not scheme or scheme[1].lower() == "file":
        rest = rest.replace("\\", "/")
    if rest.startswith("//"):
        rest = rest[2:].partition("/")[2]
    parts = [part for part in rest.split("/") if part not in ("", ".", "..")]
    if not parts:
        return None
    name = re.sub(r";[\w.-]+=.*", "", parts[-1])
    name = _CONTROL.sub(
        " ", decoded(unquote_to_bytes(name.encode("utf-8", "surrogatepass")))
    ).strip()
    found = _EXTENSION.fullmatch(name)
    extension = found[2].lower() if found else ""
    is_media = extension in _MEDIA
    if extension in _SCRIPTS or (not scheme and not is_media):
        return None
    if found and (is_media or _OTHER_EXTENSION.fullmatch(found[2])):
        name = found[1].strip()
    if _NAMELESS.fullmatch(name) or _ID.fullmatch(name):
        return None
    if not is_media and (_BARE.fullmatch(name) or is_technical(name)):
        return None
    return name[:_MAX_TITLE]


def is_url(title: str) -> bool:
    """Return whether a title is an address."""
    return _URL.fullmatch(title) is not None


def is_technical(title: str | None) -> bool:
    """Return whether a title gives way to another: it is none, an address, a file's or stream's."""
    if title is None or is_url(title):
        return True
    found = _EXTENSION.fullmatch(title)
    if found and found[2].lower() in _MEDIA:
        return True
    if " " in title:
        return False
    return "=" in title.partition("?")[2] or _CODED.fullmatch(title[:_MAX_TITLE]) is not None


def on_air(content: str | None) -> OnAir:
    """Return what Sonos' `streamContent` says: `Artist - Title`, or `TYPE=SNG|TITLE …|ARTIST …`."""
    text = (content or "")[:_MAX_TEXT].strip()
    if not text or is_url(text) or _PLACEHOLDER.fullmatch(text):
        return OnAir()
    if "|" in text and ("TYPE=" in text or "TITLE " in text):
        fields: dict[str, str | None] = {}
        for part in text.split("|"):
            name, _, value = part.strip().partition(" ")
            fields.setdefault(name.upper(), value.strip() or None)
        return OnAir(fields.get("TITLE"), fields.get("ARTIST"), fields.get("ALBUM"))
    artist, *title = _DASH.split(text, maxsplit=1)
    if title and artist and title[0]:
        return OnAir(title[0], artist)
    return OnAir(text)


def show(programme: str | None) -> str | None:
    """Return the name in Sonos' `radioShowMd`, which has an id behind it."""
    return _PROGRAMME_ID.sub("", (programme or "")[:_MAX_TEXT]).strip() or None
