"""What the documentation says is so: its commands and options exist, its code compiles, its tables are filled."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from grid.cli.exit_codes import EXIT_CODES
from grid.cli.main import app
from sitecfg import errors

HOUSE = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(HOUSE).as_posix() for path in (*HOUSE.glob("*.md"), *HOUSE.glob("docs/**/*.md"))
)
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
WORD = re.compile(r"`(grid(?: [^`]+)?)`")


def commands(page: str) -> list[str]:
    """Every `grid ...` of a page: in code spans, and at the head of a line in shell blocks."""
    text = (HOUSE / page).read_text("utf-8")
    lines = [
        line for kind, body in BLOCK.findall(text) if kind in {"sh", "console"} for line in body.splitlines()
    ]
    shell = [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("grid ")]
    return [*shell, *WORD.findall(BLOCK.sub("", text))]


def misses(command: str) -> str:
    """What of a documented command does not exist; empty when all of it does."""
    here: click.Command = app
    options = {"--help", "-h"} | {option for it in here.params for option in it.opts}
    for word in shlex.split(command, comments=True)[1:]:
        if isinstance(here, click.Group) and word in here.commands:
            here = here.commands[word]
            options |= {option for it in here.params for option in it.opts}
            continue
        unknown_option = word.startswith("-") and word.split("=")[0] not in options
        unknown_verb = isinstance(here, click.Group) and word.isidentifier() and word.islower()
        if unknown_option or unknown_verb:
            return word
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_a_page_names_exist(page: str) -> None:
    wrong = {command: missing for command in commands(page) if (missing := misses(command))}
    assert not wrong


@pytest.mark.parametrize("page", PAGES)
def test_code_of_a_page_compiles(page: str) -> None:
    for kind, body in BLOCK.findall((HOUSE / page).read_text("utf-8")):
        if kind == "python":
            compile(body, page, "exec")


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page: str) -> None:
    text = BLOCK.sub("", (HOUSE / page).read_text("utf-8"))
    rooms = "benchmarks|catalog|docs|examples|grid|kernels|sitecfg|tests"
    named = re.findall(rf"`((?:{rooms})/[^` ]*)`", text)
    assert [name for name in named if not (HOUSE / name).exists()] == []


def test_no_invented_command_gets_through() -> None:
    assert misses("grid frobnicate") == "frobnicate"
    assert misses("grid verify --frobnicate FILE") == "--frobnicate"
    assert misses("grid verify FILE --json") == ""


def test_every_error_leaves_with_a_documented_exit_code() -> None:
    kinds = [it for it in vars(errors).values() if isinstance(it, type) and issubclass(it, errors.GridError)]
    assert {kind.exit_code for kind in kinds} <= set(EXIT_CODES)


def test_site_builds_without_warnings_and_its_tables_are_filled(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "--quiet", "build", "--strict", "--site-dir", tmp_path],
        cwd=HOUSE,
        check=True,
    )
    pages = {
        path.relative_to(tmp_path).as_posix(): path.read_text("utf-8") for path in tmp_path.rglob("*.html")
    }
    assert not [name for name, text in pages.items() if "<!-- table:" in text]
    assert all(f"<code>{code}</code>" in pages["reference/commands.html"] for code in EXIT_CODES)
    assert all(name in pages["reference/errors.html"] for name in errors.__all__)
    assert "workers.slots" in pages["reference/settings.html"]
    assert "stalled" in pages["design.html"]
    fetched = [
        name
        for name, text in pages.items()
        if re.search(r"<(?:script|img|link)[^>]+(?:src|href)=.https?://", text)
    ]
    assert not fetched, "a page that fetches from another host can't be read without it"
