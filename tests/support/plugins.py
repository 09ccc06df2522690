"""A made-up distribution, installed into a folder: metadata with entry points, and a module."""

import sys
from pathlib import Path

import pytest


def install(
    patch: pytest.MonkeyPatch,
    folder: Path,
    entry_points: dict[str, dict[str, str]],
    *,
    name: str = "made-up",
    version: str = "1.2.3",
    modules: dict[str, str] | None = None,
) -> Path:
    """Install a distribution into a folder that becomes part of ``sys.path``.

    Args:
        patch: undoes it after the test.
        folder: for this distribution alone.
        entry_points: group, then name, then ``module:attribute``.
        name: of the distribution.
        version: of the distribution.
        modules: their names and sources.
    """
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{key} = {target}\n" for key, target in names.items())
            for group, names in entry_points.items()
        )
    )
    for module, source in (modules or {}).items():
        (folder / f"{module}.py").write_text(source)
        patch.delitem(sys.modules, module, raising=False)
    patch.syspath_prepend(folder)
    return folder
