"""The form of findings: scripts that can be run, say what they are about and are listed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

FINDINGS = Path(__file__).resolve().parents[2] / "findings"
SCRIPTS = sorted(FINDINGS.glob("*.sh"))
HEAD = ("Name", "Versions", "Expected", "Seen", "Source")

_VERSION = re.compile(r"\d+\.\d+")
_STRICT = re.compile(r"^set -e\S*( |$)", re.MULTILINE)
_ROW = re.compile(r"^\| \[([^]|]+)\]\(([^)|]+)\) \|", re.MULTILINE)


def listed(page: str) -> set[str]:
    """The scripts in the table of ``page``."""
    return {target for text, target in _ROW.findall(page) if text == target}


def head(script: str) -> dict[str, str]:
    """The fields of the comment that ``script`` begins with, by their names."""
    fields: dict[str, str] = {}
    last = ""
    for line in script.splitlines()[1:]:
        if not line.startswith("#"):
            break
        if found := re.fullmatch(r"# (\w+): +(\S.*)", line):
            last = found[1]
            fields[last] = found[2]
        elif last and (more := line.removeprefix("#").strip()):
            fields[last] += f" {more}"
    return fields


def problems(name: str, script: str, *, executable: bool, page: str) -> list[str]:
    """What is wrong with the form of the finding ``name`` (a file's name)."""
    fields = head(script)
    wrong = {
        "is not executable": not executable,
        "is not made for bash": not script.startswith("#!/bin/bash\n"),
        "lacks in its head: " + ", ".join(missing := [field for field in HEAD if field not in fields]): bool(missing),
        "has another name in its head": fields.get("Name", name) not in (name, Path(name).stem),
        "names no version": not _VERSION.search(fields.get("Versions", "")),
        "goes on after an error": not _STRICT.search(script),
        "is not in the table": name not in listed(page),
    }
    return [what for what, so in wrong.items() if so]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_finding_has_the_form(script: Path) -> None:
    page = (FINDINGS / "README.md").read_text("utf-8")
    executable = os.access(script, os.X_OK)
    assert not problems(script.name, script.read_text("utf-8"), executable=executable, page=page)


def test_the_table_lists_what_is_there() -> None:
    assert listed((FINDINGS / "README.md").read_text("utf-8")) == {script.name for script in SCRIPTS}


def test_links_of_the_page_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", (FINDINGS / "README.md").read_text("utf-8"))
    assert targets
    assert not [target for target in targets if not (FINDINGS / target).exists()]


GOOD = """#!/bin/bash
# Name:     tool-1.2-counts-twice
# Versions: tool 1.2.3
# Expected: one
# Seen:     two,
#           on two lines
# Source:   none known
set -euo pipefail
"""
PAGE = "| script | what |\n|---|---|\n| [tool-1.2-counts-twice.sh](tool-1.2-counts-twice.sh) | counts |\n"


def test_a_good_one_passes() -> None:
    assert not problems("tool-1.2-counts-twice.sh", GOOD, executable=True, page=PAGE)
    assert head(GOOD)["Seen"] == "two, on two lines"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("#!/bin/bash\n", "#!/bin/sh\n", "is not made for bash"),
        ("# Versions: tool 1.2.3\n", "", "lacks in its head: Versions"),
        ("tool 1.2.3", "the newest tool", "names no version"),
        ("# Seen:     two,\n#           on two lines\n", "# Seen:\n", "lacks in its head: Seen"),
        ("# Name: ", "\n# Name: ", "lacks in its head: Name, Versions, Expected, Seen, Source"),
        ("# Name:     tool-1.2", "# Name:     tool-1.3", "has another name in its head"),
        ("set -euo pipefail", "set -u", "goes on after an error"),
        ("set -euo pipefail", "# set -e", "goes on after an error"),
    ],
)
def test_a_bad_one_is_found(old: str, new: str, found: str) -> None:
    assert old in GOOD
    assert found in problems("tool-1.2-counts-twice.sh", GOOD.replace(old, new), executable=True, page=PAGE)


def test_one_that_cannot_be_run_or_is_not_listed_is_found() -> None:
    assert problems("tool-1.2-counts-twice.sh", GOOD, executable=False, page=PAGE) == ["is not executable"]
    mentioned = "counts twice: [tool-1.2-counts-twice.sh](tool-1.2-counts-twice.sh)\n"
    assert problems("tool-1.2-counts-twice.sh", GOOD, executable=True, page=mentioned) == ["is not in the table"]
