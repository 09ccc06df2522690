"""Who evaluates what: one table beside Optuna's, by which several drivers share a study.

A driver claims a trial before it evaluates it. Number and architecture are unique keys of a run, so
the database itself decides between two that want the same. A claim expires unless its owner, alive,
renews it: then another driver takes the trial over as it stands. What is finished never expires.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from nas.evaluation.database import made_meanwhile, options, patiently

if TYPE_CHECKING:
    from sqlalchemy import URL, ColumnElement, Connection, Engine, Table

logger = logging.getLogger(__name__)

LEASE = 60.0
"""Seconds that a claim is good for; it is renewed four times as often."""

TAKEOVERS = 3
"""A trial during which so many drivers have died is given up: it may be what kills them."""

Answer = Literal["ours", "number", "network"]
"""Of a claim: it is ours, or the number, or else the network, is taken."""


@dataclass(frozen=True)
class Claim:
    """A trial that this driver is to evaluate.

    Attributes:
        number: the trial's.
        params: what was chosen.
        takeovers: how many drivers have died before they finished it.
    """

    number: int
    params: Mapping[str, Any]
    takeovers: int = 0

    @property
    def hopeless(self) -> str:
        """Why it is not to be tried again; empty if it is."""
        if self.takeovers < TAKEOVERS:
            return ""
        return f"given up: {self.takeovers} drivers died while they evaluated it"


class Claims:
    """The claims of one study.

    Args:
        url: the database.
        run: the study's name.
        owner: this driver; one that is resumed under the same name has its claims back at once.
        make: the table, where there is none.
    """

    def __init__(self, url: URL, run: str, owner: str, *, make: bool = True) -> None:
        import sqlalchemy

        self._engine: Engine = sqlalchemy.create_engine(url, **options(url))
        self._run = run
        self._owner = owner
        self._held: set[int] = set()
        self._finished: set[int] = set()  # and not yet said to be
        self._renewed = clock()
        self._stop = threading.Event()
        self._renewer: threading.Thread | None = None
        if not make:
            return
        try:
            patiently(lambda again: self._table.create(self._engine, checkfirst=True))
        except sqlalchemy.exc.DBAPIError as error:
            if not made_meanwhile(error):
                raise

    def take(self, number: int, key: str, params: Mapping[str, Any]) -> Answer:
        """Claim a trial, by its number and its network."""
        from sqlalchemy.exc import IntegrityError

        table = self._table

        def work(again: bool) -> Answer:
            try:
                with self._engine.begin() as connection:
                    self._say_finished(connection)
                    connection.execute(
                        table.insert().values(
                            run=self._run,
                            number=number,
                            key=key,
                            owner=self._owner,
                            expires=self._now + LEASE,
                            takeovers=0,
                            content=json.dumps(dict(params)),
                        )
                    )
                self._finished.clear()
                return "ours"
            except IntegrityError:
                with self._engine.connect() as connection:
                    found = connection.execute(table.select().where(self._of(number))).one_or_none()
                if found is None:
                    return "network"
                # Written before its answer was lost, or inherited, and then not asked for any more.
                open_ = found.expires is not None and number not in self._finished
                ours = open_ and found.owner == self._owner and found.key == key
                return "ours" if ours else "number"

        answer = patiently(work)
        logger.debug("%s: claim of trial %d by %s: %s", self._run, number, self._owner, answer)
        if answer == "ours":
            self._hold(number)
        return answer

    def elsewhere(self) -> dict[int, str]:
        """Return the networks' keys by number of what other drivers have claimed, dead or alive."""
        table = self._table
        query = table.select().where(
            table.c.run == self._run, table.c.owner != self._owner, table.c.expires.is_not(None)
        )
        return {row.number: row.key for row in self._rows(query)}

    def inherit(self, most: int, finished: Mapping[int, object]) -> list[Claim]:
        """Return what this driver left when it was killed, and make dead drivers' claims its own.

        Args:
            most: so many of others', at most.
            finished: numbers of what is in the study already; their claims are closed.
        """
        table = self._table
        query = (
            table.select()
            .where(
                table.c.run == self._run,
                table.c.expires.is_not(None),
                (table.c.owner == self._owner) | (table.c.expires < self._now),
            )
            .order_by(table.c.number)
        )
        mine: list[Claim] = []
        taken = 0
        for row in self._rows(query):
            if row.number in self._held:
                continue
            if row.number in finished:
                self.finish(row.number)
            elif row.owner == self._owner:
                if self._change(
                    self._of(row.number) & (table.c.owner == self._owner),
                    expires=self._now + LEASE,
                ):
                    mine.append(Claim(row.number, json.loads(row.content), row.takeovers))
            elif taken < most:
                # One that was let go of (0) was nobody's death.
                takeovers = row.takeovers + (row.expires > 0)
                if self._change(
                    self._of(row.number)
                    & (table.c.owner == row.owner)
                    & (table.c.expires == row.expires),
                    owner=self._owner,
                    expires=self._now + LEASE,
                    takeovers=takeovers,
                ):
                    taken += 1
                    mine.append(Claim(row.number, json.loads(row.content), takeovers))
        for claim in mine:
            logger.info(
                "%s: claim of trial %d inherited by %s, %d drivers died with it",
                self._run,
                claim.number,
                self._owner,
                claim.takeovers,
            )
            self._hold(claim.number)
        return mine

    def confirm(self, number: int) -> bool:
        """Say whether a claim is still ours; if not, it expired and another driver has it."""
        if number in self._held and clock() - self._renewed < LEASE / 2:
            return True  # nobody can have it
        kept = self._change(
            self._of(number)
            & (self._table.c.owner == self._owner)
            & self._table.c.expires.is_not(None),
            expires=self._now + LEASE,
        )
        if not kept:
            logger.warning(
                "%s: claim of trial %d expired; another driver has it", self._run, number
            )
            self._held.discard(number)
        return kept

    def finish(self, number: int) -> None:
        """Note that a trial is in the study, for good; it is written with the next claim.

        Nothing depends on when: what is in the study is finished, whatever its claim says.
        """
        self._held.discard(number)
        self._finished.add(number)

    def census(self) -> tuple[int, int]:
        """Return how many trials are being evaluated, and how many dead drivers have left."""
        from sqlalchemy import func, inspect, select

        table = self._table
        if not patiently(lambda again: inspect(self._engine).has_table(table.name)):
            return 0, 0  # nobody has claimed anything yet
        ours = select(func.count()).where(table.c.run == self._run)
        [[alive]] = self._rows(ours.where(table.c.expires >= self._now))
        [[dead]] = self._rows(ours.where(table.c.expires < self._now))
        return alive, dead

    def closed(self) -> set[int]:
        """Return the numbers of what is finished."""
        table = self._table
        query = table.select().where(table.c.run == self._run, table.c.expires.is_(None))
        return {row.number for row in self._rows(query)}

    def forget(self, numbers: Iterable[int]) -> None:
        """Remove claims of what is finished and no longer there."""
        for number in numbers:
            with self._engine.begin() as connection:
                connection.execute(self._table.delete().where(self._of(number)))

    def agree(self, content: Any) -> Any:
        """Return what the first driver that asked has given, in JSON; all others get the same."""
        table = self._table
        self.take(0, "", {"agreed": content})
        self.finish(0)
        [row] = self._rows(table.select().where(self._of(0)))
        return json.loads(row.content)["agreed"]

    def close(self) -> None:
        """Let go of what is not finished: others may go on with it at once."""
        self._stop.set()
        if self._renewer is not None:  # first: it would renew what is let go of
            self._renewer.join(5)
        table = self._table
        if self._held or self._finished:
            mine = (table.c.run == self._run) & (table.c.owner == self._owner)
            # Where the database is away the claims expire by themselves.
            with suppress(Exception), self._engine.begin() as connection:
                self._say_finished(connection)
                held = mine & table.c.number.in_(self._held)
                self._update(connection, held & table.c.expires.is_not(None), {"expires": 0.0})
        self._engine.dispose()

    # -- the table --------------------------------------------------------------------------------

    @cached_property
    def _table(self) -> Table:
        import sqlalchemy as sa

        return sa.Table(
            "nas_search_claims",
            sa.MetaData(),
            sa.Column("run", sa.String(250), primary_key=True),
            sa.Column("number", sa.Integer, primary_key=True),
            sa.Column("key", sa.String(64), nullable=False),
            sa.Column("owner", sa.String(64), nullable=False),
            # Seconds since 1970 by the database's clock; none: finished; 0: let go of.
            sa.Column("expires", sa.Double, nullable=True),
            sa.Column("takeovers", sa.Integer, nullable=False),
            sa.Column("content", sa.Text, nullable=False),
            sa.UniqueConstraint("run", "key"),
        )

    @cached_property
    def _now(self) -> ColumnElement[float]:
        """The time by the database's clock, which all drivers share."""
        import sqlalchemy as sa

        if self._engine.dialect.name == "sqlite":
            return (sa.func.julianday("now") - 2440587.5) * 86400.0
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)

    def _of(self, number: int) -> ColumnElement[bool]:
        return (self._table.c.run == self._run) & (self._table.c.number == number)

    def _rows(self, query: Any) -> list[Any]:
        def work(again: bool) -> list[Any]:
            with self._engine.connect() as connection:
                return list(connection.execute(query))

        return patiently(work)

    def _change(self, where: ColumnElement[bool], **values: Any) -> bool:
        def work(again: bool) -> bool:
            with self._engine.begin() as connection:
                return self._update(connection, where, values)

        return patiently(work)

    def _say_finished(self, connection: Connection) -> None:
        table = self._table
        if self._finished:
            these = (table.c.run == self._run) & table.c.number.in_(self._finished)
            self._update(connection, these, {"expires": None})

    def _update(
        self, connection: Connection, where: ColumnElement[bool], values: Mapping[str, Any]
    ) -> bool:
        done = connection.execute(self._table.update().where(where).values(**values))
        return done.rowcount > 0

    # -- alive ------------------------------------------------------------------------------------

    def _hold(self, number: int) -> None:
        self._held.add(number)
        if self._renewer is None:
            self._renewer = threading.Thread(target=self._renew, daemon=True)
            self._renewer.start()

    def _renew(self) -> None:
        table = self._table
        mine = (
            (table.c.run == self._run)
            & (table.c.owner == self._owner)
            & table.c.expires.is_not(None)
        )
        while not self._stop.wait(LEASE / 4):
            # A database that is away is asked again in time; then the claims are renewed, unless
            # somebody has taken them over.
            begun = clock()
            with suppress(Exception):
                with self._engine.begin() as connection:
                    self._update(connection, mine, {"expires": self._now + LEASE})
                self._renewed = begun


def clock() -> float:
    """Return seconds that go on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
