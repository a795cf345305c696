"""Every error that the bridge raises on purpose. Adapters translate theirs into these."""

import errno
import os
from enum import StrEnum


class BridgeError(Exception):
    """Something that the bridge knows how to speak of."""


class ConfigError(BridgeError):
    """A setting is wrong; the message names it."""


def cannot_listen(group: str, host: str | None, port: int, error: OSError) -> ConfigError:
    """Return what a TCP port that cannot be had means for two settings, such as `http.port`.

    They are named `host` and `port` behind `group`, which holds their dot or underscore.
    """
    at, where = f"{group}port", f"{group}host"
    match error.errno:
        case errno.EADDRINUSE:
            return ConfigError(
                f"{at}: TCP port {port} is taken by another program, or another bridge: end that, "
                "or choose another port"
            )
        case errno.EACCES:
            return ConfigError(f"{at}: TCP port {port} is for root alone: choose one from 1024")
        case errno.EADDRNOTAVAIL:
            return ConfigError(f"{where}: {host} is not an address of this machine")
        case number:
            said = os.strerror(number) if number and number > 0 else error.strerror or str(error)
            return ConfigError(f"{where}: cannot listen on {host or '*'}, port {port}: {said}")


class Code(StrEnum):
    """Why a command failed, as its answer says it (`code`)."""

    BAD_REQUEST = "bad_request"
    UNKNOWN_DEVICE = "unknown_device"
    UNKNOWN_SERVICE = "unknown_service"
    UNKNOWN_ACTION = "unknown_action"
    UNKNOWN_VARIABLE = "unknown_variable"
    UNKNOWN_VERB = "unknown_verb"
    AMBIGUOUS_ACTION = "ambiguous_action"
    INVALID_ARGUMENT = "invalid_argument"
    DENIED = "denied"
    RETAINED_COMMAND = "retained_command"
    BUSY = "busy"
    DEVICE_OFFLINE = "device_offline"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    HTTP_ERROR = "http_error"
    BAD_RESPONSE = "bad_response"
    UPNP_FAULT = "upnp_fault"
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"


class Outcome(StrEnum):
    """What became of the action behind a failed command."""

    NOT_SENT = "not_sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class CommandError(BridgeError):
    """A command that was not carried out, or whose end is not known.

    `argument` names the in-argument at fault, `upnp_code` is the device's own error code
    (UPnP Device Architecture 2.0, section 3.2.2).
    """

    def __init__(
        self,
        code: Code,
        reason: str,
        *,
        outcome: Outcome = Outcome.NOT_SENT,
        argument: str | None = None,
        upnp_code: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.outcome = outcome
        self.argument = argument
        self.upnp_code = upnp_code


class DeviceError(BridgeError):
    """A device did not do what the UPnP Device Architecture asks of it."""


class DeviceUnreachable(DeviceError):
    """No connection could be made: nothing was sent."""


class DeviceTimeout(DeviceError):
    """The request was sent, and no whole answer came in time."""


class BadResponse(DeviceError):
    """The request was sent, and the answer is not to be read (or exceeds a bound)."""


class DescriptionError(DeviceError):
    """A description is not to be read, even tolerantly."""


class BrokerError(BridgeError):
    """The broker is not there or does not want us."""


class BrokerUnreachable(BrokerError):
    """No connection to the broker, or it was lost."""


class BrokerRefused(BrokerError):
    """The broker answered and said no; `reason` is its own word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
