"""Fuzz decoders, guided by coverage: `python -m tests.fuzz TARGET|all [libFuzzer options]`.

Needs `atheris` (the extra `fuzz`). What breaks a target is written to tests/fuzz/findings/TARGET/;
what reaches new code is kept in build/fuzz/TARGET/ and taken up again the next time.
"""

import logging
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import atheris
import structlog

with atheris.instrument_imports(include=["bridge", "didl_lite"]):
    from tests.fuzz import seeds, targets

_CORPUS = Path("build/fuzz")
_COST_S, _COST_S_PER_BYTE = 0.5, 50e-6
"""What an input may cost, of CPU, instrumented."""


def main() -> None:
    """Fuzz what the command line names."""
    name, *options = sys.argv[1:] or ["all"]
    if name != "all":
        _fuzz(name, options)
        return
    ends = {
        one: subprocess.run([sys.executable, "-m", "tests.fuzz", one, *options], check=False)
        for one in targets.TARGETS
    }
    sys.exit(any(end.returncode for end in ends.values()))


def _fuzz(name: str, options: list[str]) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    target = targets.TARGETS[name]
    corpus, findings = _CORPUS / name, seeds.FINDINGS / name
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    for seed in seeds.seeds(name):
        (corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)

    def bounded(data: bytes) -> None:
        began_s = time.process_time()
        target(data)
        took_s = time.process_time() - began_s
        assert took_s <= _COST_S + _COST_S_PER_BYTE * len(data), f"{took_s:.1f} s"

    dictionary = Path(__file__).parent / "words.dict"
    own = [
        f"-artifact_prefix={findings}/",
        f"-dict={dictionary}",
        "-rss_limit_mb=1024",
        "-timeout=20",
    ]
    atheris.Setup([sys.argv[0], *own, *options, str(corpus)], bounded)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
