"""The command on a terminal, or in a pipe, as a process of its own."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

pyte = pytest.importorskip("pyte")

# The command with evaluations that take long enough to be seen.
SCRIPT = """
import time
from nas.cli import main
from nas.proxies.imagenet_predictor import ImagenetProxy
evaluate = ImagenetProxy.evaluate
def slowly(*args, **more):
    time.sleep(0.04)
    return evaluate(*args, **more)
ImagenetProxy.evaluate = slowly
main()
"""
SEARCH = ["--budget", "400M-flops", "--sampler", "random", "--no-scale", "--out", "r"]
COLUMNS = 80


@dataclass
class Seen:
    """What a terminal was sent, and showed on the way."""

    status: int = 0
    sent: bytes = b""
    lines: set[str] = field(default_factory=set)
    end: list[str] = field(default_factory=list)


def on_a_terminal(
    arguments: list[str],
    columns: int = COLUMNS,
    when: Callable[[str], bool] = lambda line: False,
    then: bytes = b"",
    **environment: str,
) -> Seen:
    """Run the command on a terminal of so many columns; ``then`` is typed at the first such line.

    What is shown is kept on a wider one, so that a line that would wrap is seen to be too long.
    """
    owner, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", **environment},
        preexec_fn=own_terminal,
    )
    os.close(terminal)
    screen = pyte.HistoryScreen(300, 50, history=1_000)
    stream = pyte.ByteStream(screen)
    seen = Seen()
    typed = not then
    until = time.monotonic() + 300
    while time.monotonic() < until:
        if not select.select([owner], [], [], 1)[0]:
            continue
        try:
            chunk = os.read(owner, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not chunk:
            break
        seen.sent += chunk
        stream.feed(chunk)
        seen.lines |= {line.rstrip() for line in screen.display}
        if not typed and any(map(when, seen.lines)):
            os.write(owner, then)
            typed = True
    if time.monotonic() > until:
        process.kill()
    seen.status = process.wait(timeout=60)
    os.close(owner)
    above = ["".join(row[x].data for x in range(300)) for row in screen.history.top]
    seen.end = [line.rstrip() for line in (*above, *screen.display)]
    while seen.end and not seen.end[-1]:
        seen.end.pop()
    return seen


def in_a_pipe(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )
