"""Sound of the simulated media server: silence, as long as it is said to be (WAV)."""

import io
import wave
from typing import Final

_RATE_HZ: Final = 8000
_SILENCE: Final = b"\x80"  # samples of one byte have no sign
_HEADER_BYTES: Final = 44


def silence(seconds: int) -> bytes:
    """Return a WAV file of so many seconds."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(len(_SILENCE))
        writer.setframerate(_RATE_HZ)
        writer.writeframes(_SILENCE * (seconds * _RATE_HZ))
    return file.getvalue()


def silence_size(seconds: int) -> int:
    """Return how many bytes such a file has."""
    return _HEADER_BYTES + seconds * _RATE_HZ * len(_SILENCE)
