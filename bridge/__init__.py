"""Every UPnP device on the network, mirrored onto MQTT."""

from importlib import metadata

__version__ = "0.1.0"

_SUPPORT = ("support", "issues", "bug tracker", "documentation", "repository", "homepage")


def support_url() -> str | None:
    """Return where people find help, as the package says; None where it names no such place."""
    try:
        named = metadata.metadata("upnp2mqtt").get_all("Project-URL") or ()
    except metadata.PackageNotFoundError:
        return None
    split = (one.partition(",") for one in named)
    places = {label.strip().lower(): url.strip() for label, _, url in split}
    return next((places[label] for label in _SUPPORT if label in places), None)
