"""What a field of a description, an event, a header or a document holds, by its name."""

import re
from enum import Enum
from functools import lru_cache


class FieldKind(Enum):
    """What a field holds, by its name."""

    NAME = "name"
    TITLE = "title"
    IDENTIFIER = "identifier"
    URI = "uri"
    SECRET = "secret"  # noqa: S105 - the name of a kind
    MODEL = "model"


_KINDS = (
    (
        FieldKind.SECRET,
        (
            r".*(password|passwd|passphrase|passkey|secret|token|apikey|sessionid|cookie|credential"
            r"|privatekey|presharedkey|wpakey|wepkey).*|psk|pin|pincode|authorization"
        ),
    ),
    (
        FieldKind.NAME,
        (
            r".*(friendlyname|zonename|roomname|devicename|nickname|hostname|username|ssid).*"
            r"|name of owner|owner|user|login|account|newinternalclient|newremotehost"
            r"|newportmappingdescription|instance|basetopic|prefix|responsetopics|allow|deny"
            r"|callbackhost"
        ),
    ),
    (
        FieldKind.TITLE,
        (
            r"title|creator|artist|album|albumartist|author|actor|director|producer|publisher"
            r"|contributor|longdescription|streamcontent|radioshowmd|channelname|programtitle|genre"
            r"|dc description|.*(playlist|track|media|song)(title|name)"
        ),
    ),
    (FieldKind.IDENTIFIER, (r"udn|upc|uuid|.*mac|.*(serial|macaddr|deviceid|householdid).*")),
    (
        FieldKind.URI,
        (
            r"(avtransport|nextavtransport|currenttrack|current|next|track|enqueuedtransport"
            r"|nexttrack|albumart|artistdiscography|lyrics|presentation)ur[il]|res|.*_file|tls_\w+"
        ),
    ),
    (FieldKind.MODEL, (r"devicetype|device_type|manufacturer|modelname|model_name")),
)
_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _KINDS)


@lru_cache(maxsize=4096)
def kind_of(name: str) -> FieldKind | None:
    """Return what a field holds; None for what need not be hidden."""
    lowered = name.lower()
    plain = re.sub(r"[_.-]", "", lowered)
    for kind, pattern in _PATTERNS:
        if pattern.fullmatch(lowered) or pattern.fullmatch(plain):
            return kind
    return None
