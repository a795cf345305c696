"""Certificates for tests, made with openssl."""

import subprocess
from pathlib import Path


def certificate(
    directory: Path,
    name: str,
    *,
    issuer: str = "ca",
    extension: str = "subjectAltName=DNS:localhost",
    expired: bool = False,
) -> None:
    """Make name.key and name.pem, signed by the issuer (itself: a CA), valid for two days."""
    files = directory / f"{name}.ext"
    files.write_text(f"{extension}\n")
    signed = (
        f"-signkey {name}.key"
        if issuer == name
        else f"-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial"
    )
    days = 0 if expired else 2  # newer releases of openssl refuse an end before the start
    for command in (
        f"openssl req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}",
        f"openssl x509 -req -in {name}.csr -out {name}.pem -days {days} -extfile {files} {signed}",
    ):
        subprocess.run(command.split(), cwd=directory, check=True, capture_output=True)
