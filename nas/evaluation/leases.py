"""Claims: a table beside Optuna's by which several drivers share the trials of a study.

A driver claims a trial before it evaluates it. Within a study the number and the architecture are
unique keys, so the database decides between two drivers that want the same. A claim expires unless
its owner renews it; then another driver takes the trial over, with its number and architecture. The
claim of a finished trial never expires.
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

from nas.evaluation.database import already_made, options, with_retries

if TYPE_CHECKING:
    from sqlalchemy import URL, ColumnElement, Connection, Engine, Table

logger = logging.getLogger(__name__)

LEASE = 60.0
"""Seconds after which a claim expires; it is renewed four times as often."""

TAKEOVERS = 3
"""A trial is given up when so many drivers have died during it: it may be what kills them."""

Answer = Literal["ours", "number", "network"]
"""To a claim: it is granted, or the number is taken, or else the network is."""


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
    def reason_to_give_up(self) -> str:
        """Why the trial must not be tried again; empty where it may be."""
        if self.takeovers < TAKEOVERS:
            return ""
        return f"given up: {self.takeovers} drivers died while they evaluated it"


class Claims:
    """The claims of one study.

    Args:
        url: the database.
        run: the study's name.
        owner: this driver's name; a driver that is resumed under the same name has its claims back
            at once.
        make: whether to make the table where it is missing.
    """

    def __init__(self, url: URL, run: str, owner: str, *, make: bool = True) -> None:
        import sqlalchemy

        self._engine: Engine = sqlalchemy.create_engine(url, **options(url))
        self._run = run
        self._owner = owner
        self._held: set[int] = set()
        self._finished: set[int] = set()  # in the study, but not yet in this table
        self._renewed = clock()
        self._stop = threading.Event()
        self._renewer: threading.Thread | None = None
        if not make:
            return
        try:
            with_retries(lambda again: self._table.create(self._engine, checkfirst=True))
        except sqlalchemy.exc.DBAPIError as error:
            if not already_made(error):
                raise

    def take(self, number: int, key: str, params: Mapping[str, Any]) -> Answer:
        """Claim a trial by its number and the key of its network."""
        from sqlalchemy.exc import IntegrityError

        table = self._table

        def work(again: bool) -> Answer:
            try:
                with self._engine.begin() as connection:
                    self._write_finished(connection)
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
                # It may be our own: the answer to an earlier attempt was lost, or it was inherited.
                open_ = found.expires is not None and number not in self._finished
                ours = open_ and found.owner == self._owner and found.key == key
                return "ours" if ours else "number"

        answer = with_retries(work)
        logger.debug("%s: claim of trial %d by %s: %s", self._run, number, self._owner, answer)
        if answer == "ours":
            self._hold(number)
        return answer

    def elsewhere(self) -> dict[int, str]:
        """Return what other drivers, alive or dead, have claimed: the networks' keys by number."""
        table = self._table
        query = table.select().where(
            table.c.run == self._run, table.c.owner != self._owner, table.c.expires.is_not(None)
        )
        return {row.number: row.key for row in self._rows(query)}

    def inherit(self, most: int, finished: Mapping[int, object]) -> list[Claim]:
        """Take over expired claims; return them and those that this driver left when it was killed.

        Args:
            most: how many claims of other drivers to take over at most.
            finished: the trials that are in the study; their claims are closed.
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
                # A claim that was released (0) was not left by a driver that died.
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
        """Return whether a claim is still ours; if not, it expired and another driver has it."""
        if number in self._held and clock() - self._renewed < LEASE / 2:
            return True  # it cannot have expired
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
        """Note that a trial is in the study; this is written to the table with the next claim.

        Nothing depends on when it is written: a trial in the study is finished, whatever its claim
        says.
        """
        self._held.discard(number)
        self._finished.add(number)

    def count_claims(self) -> tuple[int, int]:
        """Return how many claims drivers hold, and how many have expired or been released."""
        from sqlalchemy import func, inspect, select

        table = self._table
        if not with_retries(lambda again: inspect(self._engine).has_table(table.name)):
            return 0, 0  # no driver has claimed anything yet
        ours = select(func.count()).where(table.c.run == self._run)
        [[alive]] = self._rows(ours.where(table.c.expires >= self._now))
        [[dead]] = self._rows(ours.where(table.c.expires < self._now))
        return alive, dead

    def closed(self) -> set[int]:
        """Return the numbers of the trials that the table says are finished."""
        table = self._table
        query = table.select().where(table.c.run == self._run, table.c.expires.is_(None))
        return {row.number for row in self._rows(query)}

    def forget(self, numbers: Iterable[int]) -> None:
        """Remove the claims of finished trials that are no longer in the study."""
        for number in numbers:
            with self._engine.begin() as connection:
                connection.execute(self._table.delete().where(self._of(number)))

    def agree(self, content: Any) -> Any:
        """Return the content that the first driver gave, as JSON values."""
        table = self._table
        self.take(0, "", {"agreed": content})
        self.finish(0)
        [row] = self._rows(table.select().where(self._of(0)))
        return json.loads(row.content)["agreed"]

    def close(self) -> None:
        """Release the claims of unfinished trials; other drivers may take them over at once."""
        self._stop.set()
        if self._renewer is not None:  # first, since it would renew what is released
            self._renewer.join(5)
        table = self._table
        if self._held or self._finished:
            mine = (table.c.run == self._run) & (table.c.owner == self._owner)
            # Where the database does not answer, the claims expire by themselves.
            with suppress(Exception), self._engine.begin() as connection:
                self._write_finished(connection)
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
            # Seconds since 1970 by the database's clock; null: finished; 0: released.
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

        return with_retries(work)

    def _change(self, where: ColumnElement[bool], **values: Any) -> bool:
        def work(again: bool) -> bool:
            with self._engine.begin() as connection:
                return self._update(connection, where, values)

        return with_retries(work)

    def _write_finished(self, connection: Connection) -> None:
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
            # Where the database does not answer, the next turn renews the claims, unless another
            # driver has taken them over.
            begun = clock()
            with suppress(Exception):
                with self._engine.begin() as connection:
                    self._update(connection, mine, {"expires": self._now + LEASE})
                self._renewed = begun


def clock() -> float:
    """Return a monotonic time in seconds that includes the time the machine was suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
