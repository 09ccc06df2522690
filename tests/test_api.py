"""The API reference: docs/api.md is what the docstrings say, and says all that is public."""

import runpy
from typing import Any

import pytest

import nas
from tests.support.documents import GENERATED


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    return runpy.run_path(str(GENERATED.with_suffix(".py")))


def test_the_reference_is_up_to_date(maker: dict[str, Any]) -> None:
    made = maker["page"]()
    assert GENERATED.read_text(encoding="utf-8") == made, "make it anew: python docs/api.py"


def test_every_public_name_has_its_place() -> None:
    text = GENERATED.read_text(encoding="utf-8")
    for name in nas.__all__:
        assert f"\n### {name}\n" in text or name == "__version__"
    assert ":class:`" not in text
    assert "``\n" not in text.replace("```\n", "")


class Undocumented:
    def method(self) -> None: ...


class Documented:
    """Sums.

    Args:
        numbers: what is summed,
            all of it.

    Raises:
        ValueError: see :class:`InputError` and ``x``.

    That is all.
    """


def test_what_has_no_docstring_is_refused(maker: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match=r"nas\.Undocumented has no docstring"):
        maker["text"]("nas.Undocumented", Undocumented)
    [(name, member)] = maker["members"](Undocumented)
    with pytest.raises(SystemExit, match=r"x\.method has no docstring"):
        maker["text"](f"x.{name}", member)


def test_a_docstring_becomes_markdown(maker: dict[str, Any]) -> None:
    assert maker["text"]("nas.Documented", Documented).splitlines() == [
        *("Sums.", "", "Takes:", "", "- `numbers`: what is summed,", "  all of it.", ""),
        *("Raises:", "", "- `ValueError`: see `InputError` and `x`.", "", "That is all."),
    ]
