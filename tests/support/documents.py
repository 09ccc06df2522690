"""What the documents for users show: the README and docs/, their blocks and their commands."""

import re
import shlex
from dataclasses import dataclass

from tests.support.paths import ROOT

GENERATED = ROOT / "docs" / "api.md"
PAGES = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path != GENERATED),
]
TEXTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [*PAGES, ROOT / "CONTRIBUTING.md"]
}


@dataclass(frozen=True)
class Block:
    page: str
    language: str
    body: str


def blocks(language: str) -> list[Block]:
    """The fenced blocks of a language, `` for none, of all pages in their order."""
    return [
        Block(page, language, body)
        for page, text in TEXTS.items()
        for found, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if found == language
    ]


def commands(*pages: str) -> list[str]:
    """The lines that begin with nas-search, without comments, each once; of these pages."""
    lines = [
        shlex.join(shlex.split(line, comments=True))
        for block in blocks("")
        if block.page in pages
        for line in block.body.splitlines()
        if line.startswith("nas-search ")
    ]
    return list(dict.fromkeys(lines))


USERS = [path.relative_to(ROOT).as_posix() for path in PAGES]
COMMANDS = commands(*USERS)
