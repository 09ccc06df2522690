"""The rules of the house, held by reading the code: who may import whom, and what no file does."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# Lowest first. A module imports from the packages below its own, or from its own package. Every
# module of nas belongs to one of these packages, or to the ground.
GROUND = (
    *("_version", "errors", "files", "progress", "accuracy", "statistics", "seeding"),
    *("environment", "plugins"),
)
PACKAGES = (
    *("networks", "spaces", "data", "training", "export", "proxies", "evaluation", "strategies"),
    *("records", "report", "runs"),
)
LAYERS: tuple[tuple[str, ...], ...] = (
    GROUND,
    *((package,) for package in PACKAGES),
    ("testing",),  # what users need for tests of their own parts
    ("",),  # nas/__init__.py: the public API, nothing else
    ("cli",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

# Who alone may import a third-party package: a package of nas, or one module.
OWNERS = {
    "optuna": {"nas.evaluation", "nas.strategies"},
    "ray": {
        f"nas.evaluation.ray_{part}" for part in ("cluster", "engine", "scheduler", "trainable")
    },
    "fvcore": {"nas.networks.cost"},
    "tensorboard": {"nas.report.tensorboard"},
    "filelock": {"nas.records.lock"},
    "optuna_dashboard": set(),  # it opens what nas.evaluation.study writes
}

# They are handed a proxy, and know of it only what every proxy can do.
WITHOUT_PROXIES = (
    "nas.strategies",
    "nas.evaluation.scheduler",
    "nas.evaluation.seeded_runs",
    "nas.evaluation.source",
)
PROTOCOL = "nas.proxies.protocol"

# The command line parses options, calls what does the work, and prints: where evaluations run, how
# a folder is kept and what files look like is known to what it calls.
NOT_IN_CLI = (
    "nas.evaluation",
    "nas.records.lock",
    "nas.records.result_folder",
    *(f"nas.files.write_{what}" for what in ("bytes", "json", "text")),
)

# What runs whatever a file or a string says.
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "os.system",
    "builtins.eval",
    "builtins.exec",
    *(
        f"{package}.{call}"
        for package in ("pickle", "cloudpickle", "dill", "joblib", "marshal")
        for call in ("load", "loads", "Unpickler")
    ),
    "shelve.open",
    "yaml.load",
    "yaml.unsafe_load",
}

# What is shown is for the command line to decide; the library logs.
SHOWING = ("print", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__")

# Slow to import, and no help text needs them.
HEAVY = (
    *("torch", "matplotlib", "optuna", "ray", "datasets", "fvcore", "numpy", "pandas", "pyarrow"),
    *("timm", "torchvision", "onnx", "onnxruntime", "plotly", "tensorboard"),
)

# A folder of somebody's machine, a POSIX or a Windows one; not a part of an address.
MACHINE_PATH = re.compile(r"(?<![\w./~*-])/(?:home|Users|root|tmp|work|mnt|opt)/|\b[A-Z]:\\\w")


def module_name(path: Path, root: Path) -> str:
    """`nas/data/images.py` → `nas.data.images`, `nas/data/__init__.py` → `nas.data`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_sources() -> dict[str, str]:
    return {
        module_name(path, ROOT): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "nas").rglob("*.py"))
    }


def place(module: str) -> str:
    """The name in LAYERS: `nas.data.images` → `data`, `nas` → ``."""
    return [*module.split("."), ""][1]


def within(module: str, places: Iterable[str]) -> bool:
    """Whether a module is one of these, or in one of these packages."""
    return any(module == place or module.startswith(place + ".") for place in places)


def imports(module: str, tree: ast.Module, modules: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Line and full name of every module imported, anywhere in the file, also for types only."""
    is_package = any(name.startswith(module + ".") for name in modules)
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node.lineno, alias.name
            case ast.ImportFrom(module=base, names=names, level=level):
                if level:
                    parts = package[: len(package) - level + 1] + ([base] if base else [])
                    base = ".".join(parts)
                for alias in names:
                    inner = f"{base}.{alias.name}"
                    yield node.lineno, inner if inner in modules else str(base)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name


def import_violations(modules: Mapping[str, str]) -> list[str]:
    """Every import that breaks a rule, of the modules given as name → source."""
    found = []
    for module, source in modules.items():
        own = place(module)
        if own not in RANK:
            found.append(f"{module}: has no place in LAYERS; give it one (tests/test_house.py)")
            continue
        for line, target in imports(module, ast.parse(source), modules):
            where = f"{module}:{line} imports {target}"
            top = target.split(".")[0]
            if top in OWNERS and not within(module, OWNERS[top]):
                found.append(f"{where}: only {', '.join(sorted(OWNERS[top]))} may")
            if top != "nas":
                continue
            other = place(target)
            if within(module, WITHOUT_PROXIES) and other == "proxies" and target != PROTOCOL:
                found.append(f"{where}: it is handed a proxy and imports only {PROTOCOL}")
            elif other not in RANK:
                found.append(f"{where}: which has no place in LAYERS")
            elif other != own and RANK[other] >= RANK[own] and not {own, other} <= set(GROUND):
                found.append(f"{where}: which is not below it")
    return found


def cli_violations(module: str, source: str, modules: Mapping[str, str]) -> list[str]:
    """Every import by which the command line would do the work itself."""
    tree = ast.parse(source)
    found = set(imports(module, tree, modules))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level:
            found |= {(node.lineno, f"{node.module}.{alias.name}") for alias in node.names}
    return [
        f"{module}:{line} imports {target}: the command line calls what does that"
        for line, target in sorted(found)
        if within(module, ["nas.cli"]) and within(target, NOT_IN_CLI)
    ]


def full_name(node: ast.expr, names: Mapping[str, str]) -> str:
    """`p.load` → `pickle.load` where `p` was imported as pickle; `` for anything but names."""
    match node:
        case ast.Name(id=name):
            return names.get(name, name)
        case ast.Attribute(value=value, attr=attr):
            base = full_name(value, names)
            return f"{base}.{attr}" if base else ""
    return ""


def call_violations(module: str, source: str) -> list[str]:
    """Every call that runs code from data."""
    tree = ast.parse(source)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = full_name(node.func, names)
        given = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        where = f"{module}:{node.lineno} calls {name}"
        if name in FORBIDDEN_CALLS:
            found.append(where)
        elif name == "torch.load" and given.get("weights_only") is not True:
            found.append(f"{where} without weights_only=True")
        elif name == "numpy.load" and given.get("allow_pickle"):
            found.append(f"{where} with allow_pickle=True")
    return found


def output_violations(module: str, source: str) -> list[str]:
    """Every use of what prints, outside the command line."""
    if within(module, ("nas.cli",)):
        return []
    return [
        f"{module}:{node.lineno} uses {full_name(node, {})}: only nas.cli prints"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name | ast.Attribute) and full_name(node, {}) in SHOWING
    ]


def path_violations(name: str, text: str) -> list[str]:
    return [
        f"{name}:{number} names a folder of a machine: {line.strip()}"
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]


# ── The project keeps the rules ──────────────────────────────────────────────────────────────────


def test_imports_go_one_way() -> None:
    assert import_violations(read_sources()) == []


def test_the_command_line_parses_calls_and_prints() -> None:
    modules = read_sources()
    assert [v for name, text in modules.items() for v in cli_violations(name, text, modules)] == []


def shared_class_names(modules: Mapping[str, str]) -> list[str]:
    """Every name that classes of two modules have."""
    places: dict[str, list[str]] = {}
    for module, source in modules.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)
    return [f"{name}: {', '.join(of)}" for name, of in sorted(places.items()) if len(of) > 1]


def test_no_two_classes_share_a_name() -> None:
    assert shared_class_names(read_sources()) == []


def test_every_file_has_its_place() -> None:
    """Whatever lies in nas/ belongs to a package, or to the ground."""
    ground = {f"{name}.py" for name in GROUND}
    ground |= {"__init__.py", "__main__.py", "py.typed", "architecture.schema.json", "_models"}
    known = ground | set(PACKAGES) | {"testing", "cli"}
    found = {path.name for path in (ROOT / "nas").iterdir() if path.name != "__pycache__"}
    assert found <= known
    for package in (*PACKAGES, "testing", "cli"):
        docstring = ast.get_docstring(
            ast.parse((ROOT / "nas" / package / "__init__.py").read_text())
        )
        assert docstring, f"nas/{package}/__init__.py: what lives there?"


def test_nothing_runs_code_from_data() -> None:
    assert [v for name, text in read_sources().items() for v in call_violations(name, text)] == []


def test_only_the_command_line_prints() -> None:
    assert [v for name, text in read_sources().items() for v in output_violations(name, text)] == []


def test_no_machine_path() -> None:
    files = [
        path
        for pattern in (
            "nas/**/*.py",
            "search_spaces/*.toml",
            "budgets/*.toml",
            "benchmarks/**/*.py",
            "*.md",
            "docs/*.md",
            "docs/*.py",
            "pyproject.toml",
            "constraints.txt",
            ".ci/run",
        )
        for path in sorted(ROOT.glob(pattern))
    ]
    assert [
        v
        for path in files
        for v in path_violations(
            path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
        )
    ] == []


HELP = """
import sys
import nas.cli
sys.argv[1:] = ["--help"]
try:
    nas.cli.main()
except SystemExit as end:
    assert not end.code, end.code
loaded = set(sys.modules) & set({heavy!r})
assert not loaded, f"--help loads {{sorted(loaded)}}"
"""


def test_help_imports_nothing_heavy() -> None:
    if not any((ROOT / "nas" / name).exists() for name in ("cli.py", "cli/__init__.py")):
        pytest.skip("there is no nas.cli yet")
    done = subprocess.run(
        [sys.executable, "-c", HELP.format(heavy=HEAVY)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "--budget" in done.stdout


def test_the_readme_names_the_commands_that_are_tested() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README yet")
    text = readme.read_text(encoding="utf-8")
    environment = "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e"
    assert f"{environment} . && .venv/bin/nas-search --budget 400M-flops" in text
    assert f"{environment} '.[test]' && .venv/bin/python -m pytest" in text
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert "-c constraints.txt -e '.[test]'" in script


def test_every_dependency_is_constrained_and_says_who_needs_it() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    pinned = {
        canonical(line.split("==")[0])
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    extras = project["optional-dependencies"].values()
    for requirement in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        assert canonical(name[0]) in pinned, f"constraints.txt has no version of {requirement}"
        assert re.search(rf'"{re.escape(requirement)}", +# \w', text), f"{requirement}: for whom?"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# ── The checker itself ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nas.networks.cost", "from nas.spaces.budget import Budget"),
        ("nas.networks.cost", "from nas import spaces"),
        ("nas.networks.cost", "from .. import spaces"),
        ("nas.networks.cost", "from ..spaces.budget import Budget"),
        ("nas.files", "import nas.networks.cost"),
        ("nas.networks.modules", "def late():\n    from nas.training.trainer import Trainer"),
        ("nas.networks.modules", "from nas import build"),  # through the public API
        ("nas.networks.cost", "if TYPE_CHECKING:\n    from nas.strategies.search import search"),
        ("nas.proxies.x", "import importlib\nimportlib.import_module('nas.strategies.search')"),
        ("nas.strategies.search", "from nas.proxies import short_training"),
        ("nas.strategies.search", "from nas.proxies import Proxy"),  # loads them all
        ("nas.strategies.grid", "def late():\n    import nas.proxies.short_training"),
        ("nas.evaluation.scheduler", "from nas.proxies.registry import make_proxy"),
        ("nas.runs.pipeline", "import optuna"),
        ("nas", "from nas.cli import main"),
        ("nas.networks.modules", "import optuna"),
        ("nas.cli.run", "from optuna.study import Study"),
        ("nas.strategies.search", "import ray"),
        ("nas.evaluation.local", "from ray import tune"),
        ("nas.runs.training", "from tensorboard import program"),
        ("nas.networks.modules", "def late():\n    from fvcore.nn import FlopCountAnalysis"),
        ("nas.utils", "import math"),  # no place
    ],
)
def test_a_broken_import_rule_is_found(module: str, source: str) -> None:
    others = {"nas", "nas.spaces", "nas.strategies.search", "nas.proxies"}
    others |= {"nas.proxies.short_training"}
    assert import_violations({**dict.fromkeys(others, ""), module: source}) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "nas.spaces.budget",
            "from nas.networks.cost import Cost\nfrom nas.errors import InputError",
        ),
        ("nas.proxies.x", "from nas.proxies.schedule import x\nfrom . import schedule"),
        ("nas.strategies.search", "import optuna\nfrom nas.evaluation import study"),
        ("nas.strategies.grid", "from nas.proxies.protocol import Proxy"),
        ("nas.evaluation.ray_engine", "import ray\nfrom nas.evaluation import local"),
        ("nas.networks.cost", "from fvcore.nn import FlopCountAnalysis"),
        ("nas.cli", "from nas import search\nfrom nas.proxies import schedule"),
        ("nas", "from nas.strategies.search import search"),
        ("nas.networks.modules", "import raylib, optunahub"),
        ("nas.accuracy", "from nas.files import validate"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    others = {"nas", "nas.evaluation", "nas.evaluation.study", "nas.strategies.search"}
    others |= {"nas.proxies", "nas.proxies.schedule", "nas.proxies.protocol"}
    assert import_violations({**dict.fromkeys(others, ""), module: source}) == []


@pytest.mark.parametrize(
    ("module", "source", "allowed"),
    [
        ("nas.cli.run_command", "from nas.evaluation.study import Study", False),
        ("nas.cli.run_command", "def late():\n    from nas.evaluation import local", False),
        ("nas.cli.run_command", "from ..evaluation import local", False),
        ("nas.cli.run_command", "from nas.records.result_folder import ResultFolder", False),
        ("nas.cli.commands.main_job", "from nas.files import read_text, write_json", False),
        (
            "nas.cli.run_command",
            "from nas.files import to_json\nfrom nas.runs.pipeline import run",
            True,
        ),
        ("nas.cli.run_command", "from nas.records.run_state import RunState", True),
        ("nas.runs.pipeline", "from nas.records.result_folder import ResultFolder", True),
    ],
)
def test_work_done_by_the_command_line_is_found(module: str, source: str, allowed: bool) -> None:
    modules = dict.fromkeys(("nas", "nas.evaluation", "nas.evaluation.local"), "")
    assert (cli_violations(module, source, modules) == []) is allowed


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec(open(path).read())",
        "import pickle\npickle.load(file)",
        "import pickle as p\np.loads(data)",
        "from pickle import load as read\nread(file)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "from torch import load\nload(path)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
    ],
)
def test_a_dangerous_call_is_found(source: str) -> None:
    assert call_violations("nas.made_up", source) != []


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "import torch\ntorch.load(path, weights_only=True)",
        "import json\njson.load(file)",
        "import numpy as np\nnp.load(path)",
        "functions[0](1)",
    ],
)
def test_a_harmless_call_passes(source: str) -> None:
    assert call_violations("nas.made_up", source) == []


@pytest.mark.parametrize(
    "source",
    ["print('a')", "def f(say=print):\n    say(1)", "import sys\nsys.stderr.write('a')"],
)
def test_output_is_found(source: str) -> None:
    assert output_violations("nas.runs.pipeline", source) != []
    assert output_violations("nas.cli.console", source) == []


def test_logging_is_no_output() -> None:
    source = "import logging\nlogger = logging.getLogger(__name__)\nlogger.info('a')\nx.print()"
    assert output_violations("nas.runs.pipeline", source) == []


def test_a_class_name_of_two_modules_is_found() -> None:
    modules = {"nas.a": "class Record: ...", "nas.b": "class Record: ...", "nas.c": "class C: ..."}
    assert shared_class_names(modules) == ["Record: nas.a, nas.b"]


def test_a_machine_path_is_found() -> None:
    for folder in ("home/ann", "tmp/x", "work/main"):
        assert path_violations("a.py", f'path = "/{folder}/data"') != []
    assert path_violations("a.py", 'path = "C:' + '\\data"') != []
    for harmless in ("https://example.org/home/ann", "a/tmp/b", "./tmp/x", "~/data", "1/opt/2"):
        assert path_violations("a.py", f'text = "{harmless}"') == []
