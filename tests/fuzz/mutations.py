"""Almost valid input: what was recorded with parts cut, doubled, moved, nested or overwritten."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hypothesis import strategies as st

WORDS = Path(__file__).parent / "words.dict"
_LENGTHS = (1, 2, 5, 40, 400)


@cache
def words() -> tuple[bytes, ...]:
    """The words that the coverage-guided fuzzer is given, too."""
    lines = re.findall(r'^"(.*)"$', WORDS.read_text(), re.MULTILINE)
    return tuple(
        re.sub(rb"\\(?:x(..)|(.))", _meant, line.encode().replace(b"\\\\", b"\\x5c"))
        for line in lines
    )


def _meant(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)]) if found[1] else found[2]


@st.composite
def near(draw: st.DrawFn, recorded: Sequence[bytes]) -> bytes:
    """Bytes a few edits away from something recorded."""
    data = draw(st.sampled_from(recorded))
    new = st.sampled_from(words()) | st.binary(max_size=4)
    for _ in range(draw(st.integers(1, 8))):
        start, other = draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))
        end = start + draw(st.sampled_from(_LENGTHS))
        part = data[start:end]
        match draw(st.sampled_from(["cut", "double", "move", "nest", "insert", "overwrite"])):
            case "cut":
                data = data[:start] + data[end:]
            case "double":
                data = data[:start] + part * 2 + data[end:]
            case "move":
                data = data[:start] + data[other : other + len(part)] + data[end:]
            case "nest":
                data = data[:start] + data[other : other + 400] + data[start:]
            case "insert":
                data = data[:start] + draw(new) + data[start:]
            case _:
                data = data[:start] + draw(new) + data[end:]
    return data
