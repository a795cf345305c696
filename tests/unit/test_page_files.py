"""The page's files: what is vendored, what the first view loads, and what no file may do."""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "bridge/web/page"
FIRST_LOAD = 150_000
OWN = sorted(path for path in PAGE.rglob("*.js") if "vendor" not in path.parts)


def imports(path: Path) -> set[Path]:
    """Return the files that a module imports before it runs."""
    text = path.read_text()
    return {
        (path.parent / name).resolve()
        for name in re.findall(r'^(?:import|export)\b[^;()]*?"(\.[^"]+)"', text, re.MULTILINE)
        + re.findall(r'\bfrom"(\./[^"]+)"', text)
    }


def needed(*first: Path) -> set[Path]:
    """Return the modules that must be there before these run, with them."""
    found: set[Path] = set()
    waiting = list(first)
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imports(path)
    return found


def test_vendored_files_are_those_recorded():
    recorded = json.loads((PAGE / "vendor/versions.json").read_text())
    hashes = {name: of for each in recorded.values() for name, of in each["sha256"].items()}
    there = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (PAGE / "vendor").iterdir()
        if path.name != "versions.json"
    }
    assert there == hashes


def test_vendored_versions_are_those_of_the_lock_file():
    recorded = json.loads((PAGE / "vendor/versions.json").read_text())
    lock = json.loads((ROOT / "scripts/vendored/package-lock.json").read_text())
    locked = {
        name.removeprefix("node_modules/"): each for name, each in lock["packages"].items() if name
    }
    assert {name: each["version"] for name, each in recorded.items()} == {
        name: each["version"] for name, each in locked.items()
    }
    for each in locked.values():
        assert each["integrity"].startswith("sha512-")
        assert "resolved" not in each


def test_every_vendored_package_has_its_licence():
    recorded = json.loads((PAGE / "vendor/versions.json").read_text())
    for each in recorded.values():
        assert any(name.endswith(".LICENSE") for name in each["sha256"])
        assert each["license"] in {"MIT", "Apache-2.0"}


def test_every_import_is_a_file_of_the_page():
    missing = {path for path in needed(*OWN) if not path.is_file() or PAGE not in path.parents}
    assert not missing


def test_the_first_view_loads_little():
    """Markup, styles, symbol, the frame and the list of devices, each compressed by itself."""
    first = needed(PAGE / "main.js", PAGE / "pages/devices.js")
    first |= {PAGE / "index.html", PAGE / "style.css", PAGE / "icon.svg"}
    assert sum(len(gzip.compress(path.read_bytes(), 6)) for path in first) <= FIRST_LOAD


def test_the_markup_names_what_the_first_view_needs():
    html = (PAGE / "index.html").read_text()
    named = {PAGE / name for name in re.findall(r'"modulepreload" href="{{page}}/([^"]+)"', html)}
    first = needed(PAGE / "main.js", PAGE / "pages/devices.js") - {PAGE / "main.js"}
    assert named == first


def test_nothing_is_loaded_from_elsewhere():
    for path in [*OWN, PAGE / "style.css", PAGE / "index.html"]:
        text = path.read_text()
        assert not re.search(r"""(?:src|href|url|import|fetch)\W{1,3}(?:https?:)?//""", text), path


def test_no_file_makes_markup_or_code_from_text():
    ways = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySet"
        r"|\beval\(|new Function|setTimeout\(['\"`]"
    )
    for path in OWN:
        found = re.search(ways, path.read_text())
        assert not found, f"{path}: {found and found[0]}"


def test_the_markup_has_no_inline_style_or_script():
    html = (PAGE / "index.html").read_text()
    assert not re.search(r"\sstyle=|<style|\son\w+=|<script[^>]*>[^<]", html)
    for path in OWN:
        assert not re.search(r"\sstyle=", path.read_text()), path


IMPORT = re.compile(r'^(?:import|export) \{([^}]*)\} from "(\.[^"]+)";$', re.MULTILINE)


def test_every_imported_name_is_exported_and_used():
    wrong = set()
    for path in OWN:
        text = path.read_text()
        for names, source in IMPORT.findall(text):
            there = (path.parent / source).resolve().read_text()
            for name in (each.strip() for each in names.split(",") if each.strip()):
                is_exported = re.search(
                    rf"export (?:default )?(?:async )?(?:function|const|class) {name}\b"
                    rf"|export ?{{[^}}]*\b{name}\b[^}}]*}}",
                    there,
                )
                used = path.name == "ui.js" or len(re.findall(rf"\b{name}\b", text)) > 1
                if not is_exported or not used:
                    wrong.add((path.relative_to(PAGE).as_posix(), name))
    assert not wrong


def said() -> set[str]:
    """Return the paths of all words, such as `devices.none.title`, with those above them."""
    found: set[str] = set()
    above: list[str] = []
    for line in (PAGE / "words.js").read_text().splitlines():
        if match := re.match(r"( +)(\w+): ", line):
            above = [*above[: len(match[1]) // 2 - 1], match[2]]
            found.add(".".join(above))
    return found


def test_every_word_that_is_said_is_in_the_words_file():
    there = said()
    ends = there - {path.rpartition(".")[0] for path in there}
    wrong = set()
    for path in OWN:
        for name in re.findall(r"\bwords\.([a-z]\w*(?:\.\w+)*)", path.read_text()):
            parts = name.split(".")
            begun = [".".join(parts[: n + 1]) for n in range(len(parts))]
            if name != "js" and name not in there and not ends & set(begun):
                wrong.add((path.relative_to(PAGE).as_posix(), name))
    assert not wrong


def test_every_word_in_the_words_file_is_said():
    texts = " ".join(path.read_text() for path in OWN if path.name != "words.js")
    used = set(re.findall(r"\bwords\.(\w+(?:\.\w+)*)", texts))
    there = said()
    ends = there - {path.rpartition(".")[0] for path in there}
    unsaid = {
        end
        for end in ends
        if not any(
            end == name or end.startswith(f"{name}.") or name.startswith(f"{end}.") for name in used
        )
    }
    assert not unsaid


def test_the_wheel_holds_the_page(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "bridge/web", tmp_path / "bridge/web")
    (tmp_path / "bridge/__init__.py").touch()
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    subprocess.run(
        [sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True, timeout=120
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        held = {name for name in file.namelist() if name.startswith("bridge/web/page/")}
    assert held == {path.relative_to(ROOT).as_posix() for path in PAGE.rglob("*") if path.is_file()}
