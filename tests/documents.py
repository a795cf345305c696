"""What the documents show, for tests of whether it is true."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs"
_LINES = re.MULTILINE | re.DOTALL


def text(name: str) -> str:
    """Read a document of the folder `docs`."""
    return (FOLDER / name).read_text()


def section(document: str, title: str) -> str:
    """Give what stands under a heading of the second level."""
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", document, _LINES)
    return str(found)


def rows(part: str) -> list[list[str]]:
    """Give the rows of the first table, by their cells, without its head."""
    table = part[part.index("\n|") + 1 :].partition("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def blocks(document: str, language: str) -> list[str]:
    """Give the fenced blocks of a language; those without one are of the language ``."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", document, _LINES)
    return [block for its, block in found if its == language]


def recipe(document: str, name: str) -> str:
    """Give the block that has the comment `test: NAME` right before it."""
    (found,) = re.findall(rf"<!-- test: {name} -->\n```\w+\n(.*?)^```$", document, _LINES)
    return str(found)


def topics(document: str) -> set[str]:
    """Give every topic, or filter of topics, that begins with `upnp/`."""
    found = re.findall(r"(?<![\w./%-])upnp/[\w$<>+#%:.~/-]+", document.replace("'$R'", "$R"))
    return {topic.rstrip(".") for topic in found}
