"""What a broker's refusal, its certificate and its CONNACK mean to a bridge; no I/O."""

import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from bridge.errors import BrokerRefused, ConfigError
from bridge.mqtt.limits import ProtocolUnknown
from bridge.mqtt.url import Endpoint
from bridge.settings import Settings
from bridge.support.doctor.brands import UNKNOWN, Brand
from bridge.support.doctor.finding import Finding, error, note, ok, warning

_SOON_DAYS = 14
_DAY_S = 86400
_SMALL_PACKET = 65536


def judge_refusal(  # noqa: PLR0911 - a case each
    settings: Settings, endpoint: Endpoint, failure: Exception, other: Endpoint | None = None
) -> Finding:
    """Return what the end of a connection before its CONNACK means.

    `other` is how the port is spoken to, if that is known to be another way.
    """
    said = f"{endpoint}: {failure}" if str(failure) else f"{endpoint}: no CONNACK in time"
    if isinstance(failure, ConfigError):
        return error("broker_tls", str(failure), "the file must be PEM, and a key without password")
    cause = failure.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return error("broker_tls", said, _trust_advice(settings, cause, endpoint))
    if other is not None:
        what = "MQTT with TLS" if other.tls else "MQTT without TLS"
        check = "broker_tls" if endpoint.tls else "broker_login"
        return error(check, f"{said}; the port speaks {what}", f"set mqtt.url to {other}")
    is_alert = re.search(r"\balert\b", str(failure), re.IGNORECASE)
    if is_alert or isinstance(cause, ssl.SSLError) or "TLS handshake" in str(failure):
        advice = "is this the broker's TLS port? Without TLS, mqtt.url begins with mqtt://"
        if is_alert:
            advice = "the broker wants another client certificate: mqtt.tls_cert and mqtt.tls_key"
        return error("broker_tls", said, advice)
    if "retained" in str(failure):
        advice = "the bridge needs retained messages: allow them at the broker"
        return error("broker_session", said, advice)
    if isinstance(failure, BrokerRefused) and not isinstance(failure, ProtocolUnknown):
        has = settings.mqtt.username or settings.mqtt.username_file or endpoint.username
        advice = "see mqtt.username and mqtt.password_file, and the user's entry at the broker"
        return error(
            "broker_login",
            said,
            advice if has else f"no user name is set: {advice}",
        )
    advice = "is this an MQTT port? A TLS port needs mqtts://, a WebSocket ws:// and its path"
    return error("broker_login", said, advice, "the broker's log says why it closed the connection")


def _trust_advice(
    settings: Settings, cause: ssl.SSLCertVerificationError, endpoint: Endpoint
) -> str:
    said = cause.verify_message.lower()
    if "expired" in said:
        return (
            "renew the broker's certificate, or its authority's; if neither is old, this machine's "
            "clock is wrong"
        )
    if "not yet valid" in said:
        return "this machine's clock is wrong, or the certificate is not valid yet"
    if "mismatch" in said or "not valid for" in said:
        return f"mqtt.url must use a name that is in the certificate; {endpoint.host} is not"
    if settings.mqtt.tls_ca is not None:
        return f"{settings.mqtt.tls_ca} (mqtt.tls_ca) is not the authority that signed it"
    return "set mqtt.tls_ca to the certificate of the authority that signed the broker's"


def judge_certificate(certificate: Mapping[str, Any], now_s: float) -> Finding:
    """Return how long a certificate lasts, and whom it names."""
    names = [name for _, name in certificate.get("subjectAltName", ())]
    names += [
        value
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    ]
    told = ", ".join(dict.fromkeys(names))
    days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - now_s) // _DAY_S)
    said = f"certificate of {told or 'nobody'}, valid for {days} more days"
    if days < _SOON_DAYS:
        return warning("broker_tls", said, "renew it: the bridge cannot connect after the last day")
    return ok("broker_tls", said)


def judge_session(
    announced: Mapping[str, Any], protocol: str, brand: Brand = UNKNOWN
) -> Iterator[Finding]:
    """Yield what a broker's CONNACK means to a bridge (MQTT 5, section 3.2.2.3)."""
    if protocol != "5":
        yield note(
            "broker_session",
            "MQTT 3.1.1: no reason where a right is missing, no response topics, no expiry",
            "the bridge works with it; a broker with MQTT 5 gives reasons",
            "Home Assistant needs MQTT 5 from its release 2027.1 on: "
            + (brand.mqtt_5 or "set mqtt.protocol to auto, and enable MQTT 5 at the broker"),
        )
        return
    packet = announced.get("MaximumPacketSize")
    qos = announced.get("MaximumQoS", 2)
    sound = True
    if not announced.get("WildcardSubscriptionAvailable", 1):
        sound = False
        yield error(
            "broker_session",
            "the broker accepts no subscriptions with wildcards",
            "the bridge needs them for commands: allow them at the broker, or use another broker",
        )
    if qos < 1:
        yield note(
            "broker_session", "the broker accepts QoS 0 only: lost messages are not sent again"
        )
    if isinstance(packet, int) and packet < _SMALL_PACKET:
        yield note(
            "broker_session",
            f"packets of at most {packet:,} bytes: longer documents are published in chunks",
            brand.packet or "see the broker's setting for the maximum packet size",
        )
    if sound:
        size = f"{packet:,} bytes" if packet else "any size"
        window = announced.get("ReceiveMaximum", 65535)
        yield ok(
            "broker_session",
            f"packets of {size}, {window:,} in flight, QoS up to {qos}, retained, wildcards",
        )
