"""How far a command is, on standard error: a live line on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nas.progress import ALREADY

RECENT = 30
"""The rate is that of so many steps, the last ones."""

SOONEST = 1.0
"""A pipe is told of news no more often than after so many seconds …"""

LATEST = 10.0
"""… and after so many though there are none."""

WIDEST_BAR, NARROWEST_BAR = 24, 6

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@dataclass
class ShownPhase:
    """A phase of a command, how far it is and how fast it goes.

    Attributes:
        name: in a few words.
        total: how many steps it has; None: unknown.
        began: when, by the monotonic clock.
        until: when it ends at the latest; None: when its steps are done.
        done: steps that are done, by earlier sessions too.
        own: of these, the steps of this session.
        text: a few words on its state.
        best: the best found so far, in a few words.
    """

    name: str
    total: int | None
    began: float
    until: float | None = None
    done: int = 0
    own: int = 0
    text: str = ""
    best: str = ""
    _recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT + 1))

    def __post_init__(self) -> None:
        self._recent.append((self.began, self.done))

    @property
    def complete(self) -> bool:
        """Whether all steps are done."""
        return bool(self.total) and self.done >= (self.total or 0)

    def step(self, done: int, text: str, best: str, now: float) -> None:
        """Take in that more steps are done; of an unknown number of steps, how many in all."""
        if not self.total:
            done -= self.done
        self.done += done
        self.text, self.best = text, best or self.best
        if text == ALREADY:
            self._recent = deque([(now, self.done)], maxlen=RECENT + 1)
        else:
            self.own += done
            self._recent.append((now, self.done))

    @property
    def per_second(self) -> float | None:
        """Steps a second, lately; None: not known yet."""
        (first, before), (last, after) = self._recent[0], self._recent[-1]
        return (after - before) / (last - first) if after > before and last > first else None

    def left(self, now: float) -> float | None:
        """Return in how many seconds it will probably end; None: not known."""
        rate = self.per_second
        ends = [] if self.until is None else [self.until - now]
        if self.total and rate is not None:
            ends.append((self.total - self.done) / rate - (now - self._recent[-1][0]))
        return max(0.0, min(ends)) if ends else None

    def count(self) -> str:
        """Return how many of how many steps are done; of how many, else the text may say."""
        if not self.total:
            return f"{self.done:,} {self.text}".rstrip() if self.done else self.text
        return f"{self.done:,}/{self.total:,}"

    def state(self) -> str:
        """Return the best so far and the state, in words."""
        best = f"best {self.best}" if self.best else ""
        text = self.text if self.total else ""
        return ", ".join(part for part in (best, text) if part)


def pace(per_second: float | None) -> str:
    """Return a rate in words: 12.3/s, 4.1/min, 2.0/h; empty where it is not known."""
    if per_second is None or per_second <= 0:
        return ""
    for seconds, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if per_second * seconds >= 1 or unit == "h":
            rate = per_second * seconds
            return f"{rate:,.0f}/{unit}" if rate >= 100 else f"{rate:.1f}/{unit}"
    raise AssertionError


def clock(seconds: float) -> str:
    """Return a time in words: 0:07, 12:34, 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plain_line(phase: ShownPhase, now: float) -> str:
    """Return how far a phase is, as a line of a log."""
    left = phase.left(now)
    parts = [phase.name, phase.count()]
    if phase.complete:
        parts += [f"in {clock(now - phase.began)}", _mean_pace(phase, now)]
    elif phase.own:
        parts += [pace(phase.per_second), "" if left is None else f"{clock(left)} left"]
    return "  ".join(part for part in (*parts, phase.state()) if part)


def finished_line(phase: ShownPhase, now: float, width: int, *, ascii_only: bool = False) -> Text:
    """Return what stays of a phase on a terminal, at most ``width`` columns wide."""
    tick = "+" if ascii_only else "✓" if phase.complete or not phase.total else "•"
    parts = [phase.count(), f"in {clock(now - phase.began)}", _mean_pace(phase, now), phase.state()]
    line = Text().append(f"{tick} ", style="green")
    line.append(phase.name, style="bold")
    line.append("".join(f"  {part}" for part in parts if part))
    return _cut(line, width)


def live_line(phase: ShownPhase, now: float, width: int, *, ascii_only: bool = False) -> Text:
    """Return how far a phase is on one line, at most ``width`` columns wide.

    What there is no room for is left out, the bar first, then the rate.
    """
    frames, cut = ("-\\|/", "~") if ascii_only else (_SPINNER, "…")
    left = phase.left(now)
    time_ = clock(now - phase.began) if left is None else f"{clock(left)} left"
    rate, state = pace(phase.per_second) if phase.own else "", phase.state()
    count = phase.count()
    longest = max(12, width - 4 - len(count) - len(time_))
    name = phase.name if len(phase.name) <= longest else f"{phase.name[: longest - 1]}{cut}"
    room = width - 2 - len(name) - _wide(count)
    shown = {}
    for key, part in (("time", time_), ("state", state), ("rate", rate)):
        if key == "state" and part and 16 <= room < _wide(part):
            part = f"{part[: room - 3]}{cut}"
        if part and _wide(part) <= room:
            shown[key] = part
            room -= _wide(part)
    line = Text().append(f"{frames[int(now * 8) % len(frames)]} ", style="cyan")
    line.append(name, style="bold")
    if phase.total and room >= NARROWEST_BAR + 2:
        cells = min(WIDEST_BAR, room - 2)
        full = int(cells * min(1.0, phase.done / phase.total))
        done, open_ = ("#", "-") if ascii_only else ("━", "─")
        line.append("  " + done * full, style="green").append(open_ * (cells - full), style="dim")
    for told in (count, *(shown.get(key, "") for key in ("rate", "time", "state"))):
        line.append(f"  {told}" if told else "")
    return _cut(line, width)


def _mean_pace(phase: ShownPhase, now: float) -> str:
    took = now - phase.began
    return pace(phase.own / took) if phase.total and phase.own and took >= 1 else ""


def _wide(part: str) -> int:
    """Return the columns of a part with the gap before it."""
    return len(part) + 2 if part else 0


def _cut(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    line.no_wrap = True
    return line


class LiveLine:
    """On a terminal: one line that is drawn again and again; finished phases stay above it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._phase: ShownPhase | None = None
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,  # what is piped on is not progress
        )

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def stop(self, phase: ShownPhase | None) -> None:
        """End drawing; say how far a phase came that was interrupted."""
        self._phase = None
        self._live.stop()
        if phase is not None:
            self.say(plain_line(phase, time.monotonic()))

    def began(self, phase: ShownPhase, again: bool) -> None:
        """Draw a phase from now on."""
        self._phase = phase

    def stepped(self, phase: ShownPhase) -> None:
        """Do nothing: the line is drawn by the clock."""

    def ended(self, phase: ShownPhase) -> None:
        """Leave what stays of a phase."""
        self._phase = None
        if phase.total and not phase.done:
            return
        self._console.print(
            finished_line(
                phase, time.monotonic(), self._width, ascii_only=self._console.options.ascii_only
            )
        )

    def say(self, text: str) -> None:
        """Say something that stays."""
        self._console.print(text, soft_wrap=True, markup=False)

    @property
    def _width(self) -> int:
        # The last column is left free: some terminals wrap as soon as it is written.
        return self._console.width - 1

    def _draw(self) -> Text:
        if self._phase is None:
            return Text("")
        return live_line(
            self._phase,
            time.monotonic(),
            self._width,
            ascii_only=self._console.options.ascii_only,
        )


class PlainLines:
    """In a pipe: a line where a phase begins and ends, and of what is new in between."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spoke = 0.0
        self._best = ""
        self._began = False

    def start(self) -> None:
        """Do nothing."""

    def stop(self, phase: ShownPhase | None) -> None:
        """Do nothing: what interrupted a phase is said elsewhere."""

    def began(self, phase: ShownPhase, again: bool) -> None:
        """Say that a phase begins, unless that was said before its steps were known."""
        self._best, self._began = "", False
        if not again:
            self._tell(phase)

    def stepped(self, phase: ShownPhase) -> None:
        """Say how far a phase is, if that is worth a line."""
        silent = time.monotonic() - self._spoke
        news = bool(phase.total) and (not self._began or phase.best != self._best)
        if phase.text == ALREADY or silent >= (SOONEST if news else LATEST):
            self._began, self._best = True, phase.best
            self._tell(phase)

    def ended(self, phase: ShownPhase) -> None:
        """Say what a phase has come to, where it has steps."""
        if phase.total and phase.done:
            self._tell(phase)

    def say(self, text: str) -> None:
        """Say something."""
        self._console.print(text.rstrip(), soft_wrap=True, markup=False)

    def _tell(self, phase: ShownPhase) -> None:
        self._spoke = time.monotonic()
        self.say(plain_line(phase, self._spoke))
