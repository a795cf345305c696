"""Documents against the code: generated files, links, scripts, commands, settings, tables."""

import re
import runpy
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from bridge import cli, settings
from bridge.errors import Code
from bridge.model.device import Key
from bridge.polling.plan import MATTERS
from bridge.tree import media

ROOT = Path(__file__).resolve().parents[2]
MADE = runpy.run_path(str(ROOT / "scripts/docs"))["documents"]()
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS = {name for name, _ in settings.fields()}
GROUPS = "|".join(sorted({name.partition(".")[0] for name in SETTINGS if "." in name}))

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code_spans(page: Path) -> Iterator[str]:
    yield from re.findall(r"`([^`\n]+)`", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page may be linked by, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", MADE)
def test_a_generated_file_is_what_scripts_docs_makes_of_the_settings(path):
    assert (ROOT / path).read_text() == MADE[path], "run scripts/docs"


def test_every_setting_stands_in_the_configuration_and_in_the_example():
    table = re.findall(
        r"^\| `--([\w.]+)` \| `(\w+)` \|", MADE["docs/configuration.md"], re.MULTILINE
    )
    example = re.findall(r"^#(BRIDGE_\w+)=", MADE[".env.example"], re.MULTILINE)
    assert [name for name, _ in table] == [name for name, _ in settings.fields()]
    assert [variable for _, variable in table] == example
    assert example == [settings.variable(name) for name, _ in settings.fields()]


def test_the_example_with_every_line_in_use_gives_the_defaults(tmp_path, monkeypatch):
    for name, _ in settings.fields():
        monkeypatch.delenv(settings.variable(name), raising=False)
    monkeypatch.chdir(tmp_path)
    defaults = settings.load({})
    in_use = re.sub(r"^#(?=BRIDGE_)", "", MADE[".env.example"], flags=re.MULTILINE)
    (tmp_path / ".env").write_text(in_use)
    assert settings.load({}) == defaults


def test_the_index_names_every_page_and_every_decision():
    links = set(re.findall(r"\]\(([^)\s]+)\)", (ROOT / "docs/README.md").read_text()))
    pages = {page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")}
    assert {str(page) for page in pages} - {"README.md"} <= links


@pages
def test_every_relative_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pages
def test_every_script_and_path_that_is_named_exists(page):
    text = page.read_text()
    for script in re.findall(r"(?<![\w/])scripts/[\w.-]*\w", text):
        assert (ROOT / script).is_file(), script
    for span in code_spans(page):
        if re.fullmatch(r"(?:bridge|core|upnp|mqtt|tests|docs)/[\w./-]+", span):
            places = [ROOT / span, ROOT / "bridge" / span, ROOT / "bridge" / f"{span}.py"]
            is_topic = span.startswith("upnp/bridge/") or span == "upnp/reply/"
            assert is_topic or any(place.exists() for place in places), span


@pages
def test_every_command_that_is_shown_exists(page):
    for command in re.findall(r"scripts/run ([a-z]+)\b", page.read_text()):
        assert command in cli._COMMANDS, command


@pages
def test_every_setting_that_is_named_exists(page):
    text = page.read_text()
    variables = {settings.variable(name) for name in SETTINGS}
    for variable in re.findall(r"\bBRIDGE_[A-Z_]*[A-Z]\b", text):
        assert variable in variables, variable
    for flag in re.findall(r"(?<![\w-])--([a-z]+\.[a-z_]+)", text):
        assert flag in SETTINGS, flag
    modules = {file.stem for file in (ROOT / "bridge").rglob("*.py")}
    for span in code_spans(page):
        named = re.fullmatch(rf"(?:{GROUPS})\.([a-z_]+)", span)
        if named and named[1] not in modules | {"py"}:
            assert span in SETTINGS, span


def test_every_code_in_the_table_of_answers_exists():
    text = (ROOT / "docs/topics.md").read_text()
    table = text.partition("| code | meaning | outcome |")[2].partition("\n\n")[0]
    codes = [
        code for row in table.splitlines()[2:] for code in re.findall(r"`(\w+)`", row.split("|")[1])
    ]
    assert len(codes) == len(set(codes))
    # The verbs' own code is told of with them.
    assert set(codes) == set(Code) - {Code.UNKNOWN_VERB}
    assert f"`{Code.UNKNOWN_VERB}`" in text


def rows(section: str) -> list[list[str]]:
    """Give the cells of every row in the tables of a section of docs/topics.md, heads left out."""
    _, _, rest = (ROOT / "docs/topics.md").read_text().partition(f"\n## {section}\n")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {at - 1 for at, row in enumerate(cells) if set("".join(row)) == {"-"}}
    return [row for at, row in enumerate(cells) if at not in heads and at - 1 not in heads]


def test_every_variable_that_is_polled_stands_in_the_table_of_polling():
    told = {
        kind: set(re.findall(r"`(\w+)`", names))
        for kinds, names in rows("Polling")
        if re.fullmatch(r"[\w, ]+", kinds) and names.startswith("`")
        for kind in kinds.split(", ")
    }
    position = {name for name in MATTERS["AVTransport"] if name.endswith("Position")}
    assert len(position) == 4
    assert told == {kind: names - position for kind, names in MATTERS.items()}


def test_every_field_of_a_player_stands_in_the_table_of_media():
    told = [name for names, _, _ in rows("Media") for name in re.findall(r"`(\w+)`", names)]
    metadata = (
        "<DIDL-Lite><item><title>T</title><artist>A</artist><album>B</album><class>object.item</class>"
        "<albumArtURI>/a</albumArtURI></item></DIDL-Lite>"
    )
    transport = {
        "TransportState": "STOPPED",
        "CurrentTrackMetaData": metadata,
        "CurrentTrackURI": "http://192.0.2.1/",
        "CurrentTrackDuration": "0:00:01",
        "CurrentTrack": "1",
        "NumberOfTracks": "1",
        "CurrentPlayMode": "NORMAL",
    }
    rendering = {Key("Volume", "0"): 1, Key("Mute", "0"): True}
    said = media.summary(
        {Key(name, "0"): text for name, text in transport.items()},
        rendering,
        None,
        "http://192.0.2.1/",
    )
    assert told == list(said)
    _, _, states = rows("Media")[0][1].partition("`playing`")
    assert {"playing", *re.findall(r"`(\w+)`", states)} == set(media.STATES.values())


def test_every_warning_and_error_of_the_log_is_explained():
    called = r"""(?:_log\.(?:warning|error|exception)|\blog)\(\s*"([a-z_]+)\""""
    told = {
        event
        for file in (ROOT / "bridge").rglob("*.py")
        if "demo" not in file.relative_to(ROOT).parts
        for event in re.findall(called, file.read_text())
    }
    assert len(told) > 20
    text = (ROOT / "docs/troubleshooting.md").read_text()
    explained = set(re.findall(r"`([a-z_]+)`", text.partition("## Log events")[2]))
    assert told <= explained


def test_the_picture_of_the_rooms_has_every_package_and_module():
    text = (ROOT / "docs/architecture.md").read_text()
    picture = text.partition("\nbridge/\n")[2].partition("\n```")[0]
    named = set(re.findall(r"\w+", picture))
    modules = [path.with_suffix("") for path in (ROOT / "bridge").rglob("*.py")]
    at = [path.relative_to(ROOT / "bridge").parts for path in modules]
    rooms = [place for place in at if not {"demo", "doctor", "redaction"} & set(place)]
    missing = {name for place in rooms for name in place} - {"__init__"} - named
    assert not missing, f"put into the picture in docs/architecture.md: {missing}"


def test_pictures_are_shown_and_small():
    pictures = set((ROOT / "docs/images").iterdir())
    shown = set(re.findall(r"!\[[^]]+\]\((\S+)\)", (ROOT / "README.md").read_text()))
    assert pictures == {ROOT / path for path in shown}
    assert sum(path.stat().st_size for path in pictures) < 400_000


def test_every_module_in_a_diagram_exists():
    text = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"participant \w+ as ([\w.]+\.[\w.]+)$", text, re.MULTILINE)
    assert len(named) > 10
    for module in named:
        import_module(f"bridge.{module}")


UNITS = {"": 1, "s": 1, "KiB": 1024, "MiB": 1024 * 1024}


def limits() -> Iterator[tuple[str, float]]:
    """Yield constants and settings in the table of docs/security.md, with their values there."""
    _, _, table = (ROOT / "docs/security.md").read_text().partition("\n## Limits\n")
    for value, unit, name in re.findall(
        r"^\|[^|]+\| ([\d,]+) ?(s|KiB|MiB|) \| `([\w.]+)` \|", table, re.MULTILINE
    ):
        yield name, int(value.replace(",", "")) * UNITS[unit]


@pytest.mark.parametrize(("name", "value"), list(limits()))
def test_every_limit_is_what_the_page_on_security_says(name, value):
    if name in SETTINGS:
        group, _, field = name.partition(".")
        assert getattr(getattr(settings.load({}), group), field) == value
    else:
        module, _, constant = name.rpartition(".")
        assert getattr(import_module(f"bridge.{module}"), constant) == value


def test_the_table_of_limits_is_read_whole():
    assert len(list(limits())) > 30
