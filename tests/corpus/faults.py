"""What may be wrong with any file, whatever it should hold: its place, bytes, JSON, TOML."""

from __future__ import annotations

import gzip
import os
import random
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

DEEP = 100_000

CONTROLS = "\x1b[2J\x1b]0;title\x07\nsecond line\r\x9b31m\u202e\u2028end"
"""What a terminal would obey: clearing, a title, lines, colours, and writing backwards."""

Place = Callable[[Path], object]
Bytes = Callable[[bytes], bytes]
Text = Callable[[str], str]

PLACES: Mapping[str, Place] = {
    "nothing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a socket": lambda path: _bind(path),
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a folder": lambda path: path.symlink_to(path.parent),
    "empty": lambda path: path.touch(),
    "of ten gigabytes": lambda path: _sparse(path, 10 << 30),
}


def _bind(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def _sparse(path: Path, size: int) -> None:
    with path.open("wb") as stream:
        stream.truncate(size)


BYTES: Mapping[str, Bytes] = {
    "half of it": lambda content: content[: len(content) // 2],
    "UTF-16": lambda content: content.decode().encode("utf-16"),
    "UTF-32": lambda content: content.decode().encode("utf-32"),
    "Latin-1": lambda content: content.replace(b'"', b'"\xe9', 1),
    "a surrogate's bytes": lambda content: content.replace(b'"', b'"\xed\xa0\x80', 1),
    "an overlong slash": lambda content: content.replace(b'"', b'"\xc0\xaf', 1),
    "a zero byte": lambda content: content.replace(b'"', b'"\0', 1),
    "zeros": lambda content: bytes(len(content)),
    "noise": lambda content: random.Random(0).randbytes(4096),
    "compressed": lambda content: gzip.compress(content, mtime=0),
    "backwards": lambda content: content[::-1],
}

HARMLESS: Mapping[str, Bytes] = {
    "a byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "lines of Windows": lambda content: content.replace(b"\n", b"\r\n"),
}


def instead(value: str) -> Text:
    """Return what puts ``value`` where a document has its first number."""
    number = re.compile(r"([:=]\s*)-?\d[\d._eE+-]*")
    return lambda text: number.sub(lambda match: match[1] + value, text, count=1)


def _first(entry: str) -> Text:
    """Return what puts an entry in front of a document's others."""
    return lambda text: text.replace("{", "{" + entry + ",", 1)


def _key(text: str) -> str:
    found = re.search(r'"\w+"', text)
    assert found is not None
    return found[0]


JSON: Mapping[str, Text] = {
    "a key twice": lambda text: _first(f"{_key(text)}: null")(text),
    "a key twice within": lambda text: _first('"x": {"y": 1, "y": 1}')(text),
    "NaN": instead("NaN"),
    "Infinity": instead("Infinity"),
    "minus Infinity": instead("-Infinity"),
    "1e400": instead("1e400"),
    "an integer of 5,000 digits": instead("7" * 5_000),
    "a leading zero": instead("007"),
    "hexadecimal": instead("0x1F"),
    "a word": instead("undefined"),
    "lists 100,000 deep": lambda text: "[" * DEEP,
    "objects 100,000 deep": lambda text: '{"a":' * DEEP + "1" + "}" * DEEP,
    "deep within": _first('"x": ' + "[" * 3_000 + "]" * 3_000),
    # Brackets in strings are no brackets: whoever counts them is led to believe it is flat.
    "deep behind brackets in strings": _first(
        f'"x": "{"]" * 2 * DEEP}", "y": {"[" * DEEP}{"]" * DEEP}'
    ),
    "half a pair of surrogates": lambda text: re.sub(
        r'(:\s*)"[^"]*"', lambda match: match[1] + '"\\ud83d"', text, count=1
    ),
    "half a pair in a key": _first('"\\udc00": 1'),
    "half a pair in what is free": _first('"x": [{"y": "\\udfff"}]'),
    "a comma too many": lambda text: re.sub(r"\}\s*$", ",}", text),
    "a comment": lambda text: "// a comment\n" + text,
    "single quotes": lambda text: text.replace('"', "'"),
    "two documents": lambda text: text + text,
    "a control character in a string": lambda text: text.replace('": "', '": "\x1b', 1),
    "a list": lambda text: f"[{text}]",
    "null": lambda text: "null",
    "a number": lambda text: "17",
    "a string": lambda text: '"../../escape"',
    "an empty object": lambda text: "{}",
}

UNKNOWN: Mapping[str, Text] = {
    "a key of control characters": _first(
        '"' + "".join(f"\\u{ord(c):04x}" for c in CONTROLS) + '": 1'
    ),
    "a million lists": _first('"x": [' + "[]," * 1_000_000 + "[]]"),
    "a key of a megabyte": _first(f'"{"k" * (1 << 20)}": 1'),
    "__proto__": _first('"__proto__": {"admin": true}'),
    "__class__": _first('"__class__": "os.system", "py/object": "os.system"'),
}
"""What is JSON, and wrong wherever a key that is not known is an error."""

WRONG: Mapping[str, Text] = {
    "an integer of 4,000 digits": instead("7" * 4_000),
    "a negative number": instead("-1"),
    "a text for a number": instead('"3"'),
    "true for a number": instead("true"),
    "null for a number": instead("null"),
    "an object for a number": instead("{}"),
    "a fraction": instead("2.5"),
}
"""What is JSON, and wrong where a number of a kind is needed."""

TOML: Mapping[str, Text] = {
    "a key twice": lambda text: text.replace(
        "\n[", f"\n{text.strip().splitlines()[-1]}\n" * 2 + "[", 1
    ),
    "a table twice": lambda text: text + "\n[head]\n[head]\n[limits]\n[limits]\n",
    "a date": instead("1979-05-27"),
    "a moment": instead("1979-05-27T07:32:00Z"),
    "a time": instead("07:32:00"),
    "inf": instead("inf"),
    "nan": instead("nan"),
    "minus inf": instead("-inf"),
    "1e400": instead("1e400"),
    "an integer of 5,000 digits": instead("7" * 5_000),
    "an integer of 4,000 digits": instead("7" * 4_000),
    "an integer of 8,000 hexadecimal digits": instead("0x" + "f" * 8_000),
    "a negative number": instead("-1"),
    "zero": instead("0"),
    "a fraction": instead("2.5"),
    "a text for a number": instead('"3"'),
    "true for a number": instead("true"),
    "a list for a number": instead("[[3]]"),
    "a table for a number": instead("{ a = 1 }"),
    "an empty list": instead("[]"),
    "lists 100,000 deep": lambda text: "x = " + "[" * DEEP + "]" * DEEP,
    "tables 100,000 deep": lambda text: "x = " + "{ a = " * DEEP + "1" + "}" * DEEP,
    "dotted keys 100,000 deep": lambda text: "a." * DEEP + "a = 1",
    "dotted headers 100,000 deep": lambda text: "[" + "a." * DEEP + "a]",
    "dotted keys within": lambda text: "x = { " + "a." * DEEP + "a = 1 }",
    "deep behind brackets in strings": lambda text: (
        f"x = '{']' * 2 * DEEP}'\ny = {'[' * DEEP}{']' * DEEP}\n{text}"
    ),
    "a string that does not end": lambda text: text + '\nx = "' + "a" * 1_000,
    "a long string that does not end": lambda text: text + '\nx = """' + "a\\\n" * 10_000,
    "a key of control characters": lambda text: (
        '"' + "".join(f"\\u{ord(c):04x}" for c in CONTROLS) + '" = 1\n' + text
    ),
    "a control character": lambda text: "\x1b[2J" + text,
    "half a pair of surrogates": lambda text: text.replace('= "', '= "\\ud83d', 1),
    "an unknown key": lambda text: "surprise = 1\n" + text,
    "a hundred thousand tables": lambda text: "[[stage]]\nop = 'skip'\n" * DEEP,
    "a list of 400,000": lambda text: instead("[" + "1," * 400_000 + "]")(text),
    "ten megabytes": lambda text: text + "# a comment\n" * 900_000,
    "JSON": lambda text: '{"schema": 1}',
    "include": lambda text: '!include "/etc/passwd"\n' + text,
}
