"""Databases that several drivers share: accepted URLs, passwords, timeouts and retries."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, quote_plus

from nas.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import URL

logger = logging.getLogger(__name__)

T = TypeVar("T")

ACCEPTED = "sqlite:///FILE or postgresql://…"

RETRY_SECONDS = 60.0
"""Seconds for which operations are tried again while a database restarts or is locked."""

_LOCK = 6_947_001
"""The key of PostgreSQL's advisory lock for making tables: any number, the same for all drivers."""

_SECRETS = ("password", "passwd", "sslpassword")

_TRANSIENT = ("08", "40", "57P")
"""PostgreSQL's classes of transient errors: connections, conflicts, shutting down and starting."""


_TIMEOUTS = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Seconds (the last: milliseconds) after which a server that does not answer is lost; without
these, the operating system waits for minutes or hours."""


def database_url(location: str) -> URL:
    """Return a location as a URL with the driver that this project uses.

    Raises:
        InputError: not a URL, not a database that is accepted, or its driver is not installed. No
            message shows a password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(location)
    except (ArgumentError, ValueError):
        raise InputError(f"storage: not a URL that is accepted: {ACCEPTED}") from None
    kind = url.drivername.partition("+")[0]
    if kind not in ("sqlite", "postgresql"):
        raise InputError(f"storage {printable(url)}: cannot be opened: accepted are {ACCEPTED}")
    if url.drivername == "postgresql":
        if find_spec("psycopg") is None:
            raise InputError(
                f"storage {printable(url)}: cannot be opened: psycopg is not installed; "
                "pip install 'nas-search[postgres]'"
            )
        url = url.set(drivername="postgresql+psycopg")
    return url


def printable(url: URL) -> str:
    """Return a URL for messages, without a password and without its query, which may hold one."""
    shown = url.set(query={}, drivername=url.drivername.removesuffix("+psycopg"))
    return shown.render_as_string(hide_password=True)


def without_password(location: str) -> str:
    """Return a location without its password, as it is written to files.

    It still opens where libpq finds the password in ``PGPASSWORD`` or ``~/.pgpass``.
    """
    from sqlalchemy import URL
    from sqlalchemy.engine import make_url

    database_url(location)  # only what can be read again is written
    url = make_url(location)
    query = {key: value for key, value in url.query.items() if key not in _SECRETS}
    return URL.create(
        url.drivername, url.username, None, url.host, url.port, url.database, query
    ).render_as_string(hide_password=False)


def resolved(location: str) -> str:
    """Return a location that is valid in every working directory, with its password.

    Raises:
        InputError: not a URL that is accepted.
    """
    from sqlalchemy.engine import make_url

    database_url(location)
    url = make_url(location)
    name = url.database
    if not url.drivername.startswith("sqlite") or not name or name == ":memory:":
        return location
    if "uri" in url.query:  # SQLite parses this itself
        return location
    return url.set(database=str(Path(name).resolve())).render_as_string(hide_password=False)


def masked(text: str, url: URL | None) -> str:
    """Return a driver's message without the password, however it is written there."""
    if url is None:
        return text
    secrets = [url.password, *(url.query.get(key) for key in _SECRETS)]
    for secret in secrets:
        if isinstance(secret, str) and secret:
            for form in (secret, quote(secret, safe=""), quote_plus(secret)):
                text = text.replace(form, "***")
    return text


def options(url: URL) -> dict[str, Any]:
    """Return SQLAlchemy's engine options: wait for locks, and notice a lost server soon."""
    if url.drivername.startswith("sqlite"):
        return {"connect_args": {"timeout": 10}}
    aware = {name: value for name, value in _TIMEOUTS.items() if name not in url.query}
    return {"pool_pre_ping": True, "connect_args": aware}


def with_retries(work: Callable[[bool], T], seconds: float | None = None) -> T:
    """Return what ``work`` returns; try again while the database restarts or is locked.

    Args:
        work: called with False, and with True when it is tried again; then the attempt before may
            have succeeded, with only the answer lost.
        seconds: how long to try; None: ``RETRY_SECONDS``.

    Raises:
        Exception: what ``work`` raised, where that is not transient or lasts too long.
    """
    until = time.monotonic() + (RETRY_SECONDS if seconds is None else seconds)
    pause, again = 0.05, False
    while True:
        try:
            return work(again)
        except Exception as error:
            if not is_transient(error) or time.monotonic() > until:
                raise
            logger.warning(
                "the database is away or locked (%s); trying again", type(error).__name__
            )
        time.sleep(pause)
        pause, again = min(2 * pause, 2.0), True


def is_transient(error: BaseException) -> bool:
    """Return whether trying again is likely to help: after a restart, a lost connection, a lock."""
    from sqlalchemy.exc import DBAPIError

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, DBAPIError):
        cause = cause.__cause__
    if cause is None:
        return False
    assert isinstance(cause, DBAPIError)
    if type(cause.orig).__module__.startswith("sqlite3"):
        return "locked" in str(cause.orig)
    state = getattr(cause.orig, "sqlstate", None)
    if state is None:  # no answer at all
        return type(cause.orig).__name__ in ("OperationalError", "InterfaceError")
    return str(state).startswith(_TRANSIENT)


@contextmanager
def making_tables(url: URL) -> Iterator[None]:
    """Let one driver at a time look for its tables, and make them where they are missing."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, **options(url))
    try:
        if engine.dialect.name == "sqlite":
            # In WAL mode readers and writers do not wait for each other's locks.
            with with_retries(lambda again: engine.connect()) as connection:
                with_retries(lambda again: connection.exec_driver_sql("PRAGMA journal_mode=WAL"))
            yield  # SQLite has no such lock; see already_made
            return
        # A database that does not answer now is more likely a wrong address than a restart.
        connection = with_retries(lambda again: engine.connect(), 3.0)
        with connection:
            connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_LOCK)))
            yield
    finally:
        engine.dispose()


def already_made(error: BaseException) -> bool:
    """Return whether an error means that another driver has just made the tables."""
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    causes = (error, error.__cause__)
    return any(isinstance(cause, IntegrityError | ProgrammingError) for cause in causes) or any(
        "already exists" in str(cause) for cause in causes
    )
