"""A PostgreSQL server of the tests' own: in a temporary folder, on a free loopback port."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest

PASSWORD = "hunter2 & co"


def programs() -> Path | None:
    """The folder of the newest server's programs; Debian keeps them out of the path."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found and (path := shutil.which("initdb")):
        found = [Path(path).parent]
    return max(found, default=None, key=lambda path: path.parent.name)


class Server:
    """A server that can be stopped and started again."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # Root may not run it: then somebody else does.
        self._as: list[str] = []
        if os.getuid() == 0:
            shutil.chown(folder, "nobody")
            self._as = ["setpriv", "--reuid=nobody", "--clear-groups"]
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._call(
            "initdb", "-D", str(folder / "data"), "-U", "tester", "-A", "scram-sha-256",
            f"--pwfile={secret}", "--no-sync", "--no-locale", "-E", "UTF8",
        )  # fmt: skip

    @property
    def url(self) -> str:
        return f"postgresql://tester:{quote(PASSWORD)}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -F"
        self._call(
            "pg_ctl", "-D", str(self.folder / "data"), "-w", "-t", "60",
            "-l", str(self.folder / "log"), "-o", options, "start",
        )  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        self._call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", mode, "stop")

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self.programs / program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
            env={"PATH": os.environ.get("PATH", ""), "USER": getpass.getuser()},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


@contextmanager
def server() -> Iterator[Server]:
    """A started server; skips the test where there is none to start."""
    where = programs()
    if where is None:
        pytest.skip("needs the programs of a PostgreSQL server (Debian: postgresql)")
    if find_spec("psycopg") is None:
        pytest.skip("needs psycopg (the extra postgres)")
    folder = Path(tempfile.mkdtemp(prefix="nas-pg-"))  # a short path: it holds a socket
    try:
        running = Server(folder, where)
        running.start()
        try:
            yield running
        finally:
            running.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
