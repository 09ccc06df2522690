"""Writes docs/api.md, the reference of the public API, from the docstrings: python docs/api.py"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nas

PAGE = Path(__file__).with_suffix(".md")

INTRODUCTION = """# API

What `import nas` offers, by its docstrings. Made by `python docs/api.py`; do not edit it.
Examples are in [From Python](python.md) and [Export](export.md#as-a-backbone).
"""

SECTIONS = {"Args": "Takes", "Attributes": "Has", "Returns": "Returns", "Raises": "Raises"}


def page() -> str:
    """Return the whole page."""
    names = sorted((name for name in nas.__all__ if name[0] != "_"), key=str.lower)
    found = {name: getattr(nas, name) for name in names}
    classes = {name: one for name, one in found.items() if inspect.isclass(one)}
    functions = {name: one for name, one in found.items() if inspect.isfunction(one)}
    if missing := set(found) - set(classes) - set(functions):
        raise SystemExit(f"neither a class nor a function: {', '.join(sorted(missing))}")
    parts = [INTRODUCTION, "## Functions\n"]
    for name, function in functions.items():
        parts += [f"### {name}\n", code(name, function), text(f"nas.{name}", function)]
    parts.append("## Classes\n")
    for name, one in classes.items():
        parts += [f"### {name}\n"]
        if not issubclass(one, BaseException) and not is_protocol(one):
            parts.append(code(name, one))
        parts.append(text(f"nas.{name}", one))
        for method, member in members(one):
            parts += [f"#### {name}.{method}\n"]
            if inspect.isfunction(member):
                parts.append(code(f"{name}.{method}", member))
            parts.append(text(f"nas.{name}.{method}", member))
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def is_protocol(one: type) -> bool:
    """Say whether nobody makes instances of a class: it says only what others have."""
    return getattr(one, "_is_protocol", False)


def members(one: type) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties of a class, in its own order; torch's are torch's."""
    for name, member in vars(one).items():
        if isinstance(member, classmethod | staticmethod):
            member = member.__func__
        if name[0] != "_" and (inspect.isfunction(member) or isinstance(member, property)):
            yield name, member


def code(name: str, what: Any) -> str:
    """Return how something is called, a parameter a line where it is long."""
    signature = inspect.signature(what)
    words: list[str] = []
    kind = None
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and kind is not parameter.KEYWORD_ONLY:
            words.append("*")
        kind = parameter.kind
        if parameter.name not in ("self", "cls"):
            words.append(word(parameter))
    result = signature.return_annotation
    result = "" if inspect.isclass(what) or result is signature.empty else f" -> {plain(result)}"
    line = f"{name}({', '.join(words)}){result}"
    if len(line) > 96:
        line = f"{name}(\n" + "".join(f"    {one},\n" for one in words) + f"){result}"
    return f"```py\n{line}\n```\n"


def word(parameter: inspect.Parameter) -> str:
    """Return a parameter as it is declared."""
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    said = stars.get(parameter.kind, "") + parameter.name
    annotated = parameter.annotation is not parameter.empty
    if annotated:
        said += f": {plain(parameter.annotation)}"
    if parameter.default is parameter.empty:
        return said
    default = repr(parameter.default)
    if default[0] == "<":  # an object without a literal: a factory, a function
        default = "…"
    return said + (" = " if annotated else "=") + default


def plain(annotation: Any) -> str:
    """Return a type as its author wrote it."""
    if isinstance(annotation, str):
        return annotation
    return inspect.formatannotation(annotation)


def text(name: str, what: Any) -> str:
    """Return a docstring as Markdown."""
    own = what.__doc__  # not an ancestor's
    if not own or own.startswith(f"{name.rpartition('.')[2]}("):  # made by @dataclass
        raise SystemExit(f"{name} has no docstring")
    lines: list[str] = []
    section = ""
    for line in inspect.cleandoc(own).splitlines():
        if (match := re.fullmatch(r"(\w+):", line)) and match[1] in SECTIONS:
            section = match[1]
            lines += [f"{SECTIONS[section]}:", ""]
        elif section and (match := re.match(r"    ([\w*]+): (.*)", line)):
            lines.append(f"- `{match[1]}`: {match[2]}")
        elif section and line.startswith("    "):
            lines.append("  " + line.strip())
        else:
            section = section if line.startswith(" ") or not line else ""
            lines.append(line)
    joined = "\n".join(lines)
    joined = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", joined)
    return joined.replace("``", "`") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written: {PAGE}")
