"""The doctor for the page: a program of its own, so that what it tries holds up no device."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress

from bridge.errors import Code, CommandError
from bridge.formats import jsontext

_LIMIT_S = 120.0


async def examined(*more: str) -> Sequence[object]:
    """Return what `doctor` finds with the settings that this program was started with.

    `more` are further flags. Raises CommandError where it finds nothing in two minutes.
    """
    given = sys.argv[1:]
    flags = given[1:] if given and not given[0].startswith("-") else given
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "doctor", *flags, *more, "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_LIMIT_S):
            out, _ = await process.communicate()
    except TimeoutError as error:
        raise CommandError(Code.TIMEOUT, "the doctor did not end in time") from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    document = jsontext.read(out)
    findings = document.get("findings") if isinstance(document, dict) else None
    if not isinstance(findings, list):
        raise CommandError(Code.INTERNAL, "the doctor could not be run")
    return findings
