"""The versions that results depend on."""

from __future__ import annotations

import platform
from importlib.metadata import version

from nas._version import __version__

PACKAGES = ("torch", "optuna", "ray", "fvcore", "numpy", "datasets")


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the packages below it, by name.

    They are read from what is installed; nothing is imported.
    """
    return {
        "nas-search": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }
