"""Several drivers of one study: claims, takeover, passwords; on SQLite and on PostgreSQL."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import create_engine, text

import nas.evaluation.database
import nas.evaluation.leases
from nas.cli.run_command import run_job
from nas.errors import InputError
from nas.evaluation.database import database_url, masked, printable, without_password
from nas.evaluation.leases import TAKEOVERS, Claims
from nas.evaluation.local import InProcess
from nas.evaluation.objective import make_objective
from nas.evaluation.seeded_runs import SeededRuns
from nas.evaluation.study import Study, agreed
from nas.evaluation.study_reader import count_claims
from nas.evaluation.study_row import StudyRow
from nas.networks.architecture import Architecture, efficientnet_b0
from nas.records.run_state import RunCommand
from nas.spaces.budget import parse_budget
from nas.spaces.registry import load_space
from nas.strategies.search import SearchResult, search
from nas.testing import ToyProxy
from tests.support.paths import ROOT
from tests.support.postgres import PASSWORD, Server, server
from tests.support.waiting import HANG, wait_until

TINY = load_space("tiny")
LOOSE = parse_budget("100M-flops")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    running: Server = request.getfixturevalue("postgres")
    engine = create_engine(database_url(running.url))
    with engine.begin() as connection:
        connection.execute(text("drop schema public cascade"))
        connection.execute(text("create schema public"))
    engine.dispose()
    return running.url


def claims(url: str, owner: str, run: str = "run") -> Claims:
    return Claims(database_url(url), run, owner)


def die(claims: Claims) -> None:
    """What a killed driver leaves: claims that nobody renews and nobody lets go of."""
    claims._held.clear()
    claims.close()


def expire(claims: Claims, number: int) -> None:
    """Have a claim expire, however long it was to be good for."""
    claims._change(claims._of(number), expires=1.0)  # seconds since 1970


def test_numbers_and_networks_are_claimed_once(url: str) -> None:
    one, two = claims(url, "one"), claims(url, "two")
    assert one.take(0, "a", {}) == "ours"
    assert two.take(0, "b", {}) == "number"
    assert two.take(1, "a", {}) == "network"
    assert two.take(1, "b", {}) == "ours"
    assert one.take(1, "c", {}) == "number"
    assert (one.elsewhere(), two.elsewhere()) == ({1: "b"}, {0: "a"})
    other = claims(url, "one", "another run")
    assert other.take(0, "a", {}) == "ours"
    two.finish(1)
    assert two.take(2, "a", {}) == "network"
    assert two.take(3, "d", {}) == "ours"
    assert one.elsewhere() == {3: "d"}
    assert one.take(2, "b", {}) == "network"  # finished is for good
    for each in (one, two, other):
        each.close()


def test_where_nobody_has_claimed_anything_nobody_works(url: str) -> None:
    Study(url, "run", {}).close()
    assert count_claims(url, "run") == (0, 0)


def test_what_is_let_go_of_is_not_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nas.evaluation.leases, "LEASE", 0.2)
    one = claims(f"sqlite:///{tmp_path / 'study.db'}", "one")
    update, renewing = Claims._update, threading.Event()

    def slow(self: Claims, connection: Any, where: Any, values: Any) -> bool:
        if threading.current_thread() is not threading.main_thread():
            renewing.set()
            self._stop.wait()  # in the middle of it, the driver closes
        return update(self, connection, where, values)

    monkeypatch.setattr(Claims, "_update", slow)
    one.take(0, "a", {})
    assert renewing.wait(HANG)
    one.close()
    two = claims(f"sqlite:///{tmp_path / 'study.db'}", "two")
    [left] = two.inherit(1, {})
    assert left.takeovers == 0  # it was let go of; nobody died
    two.close()


def test_what_is_let_go_of_is_inherited_at_once_and_was_nobodys_death(url: str) -> None:
    one, two = claims(url, "one"), claims(url, "two")
    for number in range(3):
        one.take(number, str(number), {"x": number, "y": "z", "w": 0.25})
    one.finish(1)
    assert two.inherit(9, {}) == []
    one.close()
    [first] = two.inherit(1, {})
    [last] = two.inherit(1, {})
    assert (first.number, first.params, first.takeovers) == (0, {"x": 0, "y": "z", "w": 0.25}, 0)
    assert (last.number, last.reason_to_give_up) == (2, "")
    assert two.inherit(9, {}) == []
    two.close()


def test_what_was_inherited_and_not_asked_for_then_can_be_claimed_later(url: str) -> None:
    """As in rounds: a claim may be of the next one, which has not begun here."""
    one, two = claims(url, "one"), claims(url, "two")
    one.take(7, "g", {})
    one.close()
    [found] = two.inherit(1, {})
    assert found.number == 7
    assert two.take(7, "another", {}) == "number"
    assert two.take(7, "g", {}) == "ours"
    two.finish(7)
    assert two.take(7, "g", {}) == "number"
    two.close()


def test_a_server_that_says_nothing_is_gone_in_time() -> None:
    url = database_url("postgresql://ann@db/nas?connect_timeout=3")
    given = nas.evaluation.database.options(url)["connect_args"]
    assert given["tcp_user_timeout"] == 30_000
    assert "connect_timeout" not in given  # the user's prevails


def test_claims_of_the_dead_expire_and_those_of_the_living_are_renewed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expires(number: int) -> float:
        [row] = two._rows(two._table.select().where(two._of(number)))
        return float(row.expires)

    one, dead, two = claims(url, "one"), claims(url, "dead"), claims(url, "two")
    monkeypatch.setattr(nas.evaluation.leases, "LEASE", 0.4)  # so it is renewed soon
    one.take(0, "a", {})
    first = expires(0)
    monkeypatch.setattr(nas.evaluation.leases, "LEASE", 36_000.0)
    dead.take(1, "b", {})
    die(dead)
    assert expires(1) > first + 30_000
    expire(two, 1)
    wait_until(lambda: expires(0) > first + 30_000, "the living one's claim is renewed")
    assert [claim.number for claim in two.inherit(9, {})] == [1]
    assert two.inherit(9, {}) == []
    assert one.confirm(0)
    assert not dead.confirm(1)  # it was asleep, and wakes
    dead._engine.dispose()
    one.close()
    two.close()


def test_a_trial_that_kills_its_drivers_is_given_up(url: str) -> None:
    first = claims(url, "0")
    first.take(7, "a", {})
    die(first)
    for death in range(1, TAKEOVERS + 1):
        driver = claims(url, str(death))
        assert driver.inherit(1, {}) == []  # nobody knows yet that the last one is dead
        expire(driver, 7)
        [claim] = driver.inherit(1, {})
        assert claim.takeovers == death
        assert bool(claim.reason_to_give_up) == (death == TAKEOVERS)
        die(driver)
    assert "3 drivers" in claim.reason_to_give_up


def test_a_driver_that_comes_again_has_its_claims_at_once(url: str) -> None:
    one = claims(url, "one")
    one.take(0, "a", {"x": 1})
    one.take(1, "b", {"x": 2})
    die(one)
    again = claims(url, "one")
    left = again.inherit(0, {1: "finished, and not yet said to be"})
    assert [(claim.number, claim.takeovers) for claim in left] == [(0, 0)]
    assert again.take(2, "b", {}) == "network"
    again.close()


def test_the_first_decides_for_all(url: str) -> None:
    assert agreed(url, "plan", {"x": [1, None, 0.5]}) == {"x": [1, None, 0.5]}
    assert agreed(url, "plan", {"x": 2}) == {"x": [1, None, 0.5]}
    assert agreed(url, "other", 3) == 3


def test_a_sleeper_does_not_write_over_who_took_over(url: str) -> None:
    row = StudyRow(0, {"x": 3}, "finished", 0.5, (), {})
    with (
        Study(url, "s", {"x": (3, 5)}, owner="one") as one,
        Study(url, "s", {"x": (3, 5)}, owner="two") as two,
    ):
        assert one.claim(0, "a", row.params) == "ours"
        assert one._claims is not None
        expire(one._claims, 0)
        one._claims._renewed -= 100
        [claim] = two.refresh(1).inherited
        assert (claim.number, claim.takeovers) == (0, 1)
        assert one.add(row) is False
        assert two.add(row) is True
        changes = one.refresh(1)
        assert (changes.rows, changes.elsewhere, changes.inherited) == ((row,), {}, ())
    with theirs(url) as storage:
        assert len(optuna.load_study(study_name="s", storage=storage).trials) == 1


@contextmanager
def theirs(url: str) -> Iterator[optuna.storages.RDBStorage]:
    storage = optuna.storages.RDBStorage(database_url(url).render_as_string(hide_password=False))
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def test_a_deleted_study_begins_anew(url: str) -> None:
    with Study(url, "s", {"x": (3, 5)}, owner="one") as study:
        assert study.claim(0, "a", {"x": 3}) == "ours"
        study.add(StudyRow(0, {"x": 3}, "finished", 0.5, (), {}))
    with theirs(url) as storage:
        optuna.delete_study(study_name="s", storage=storage)
    with Study(url, "s", {"x": (3, 5)}, owner="one") as study:
        assert study.claim(0, "a", {"x": 3}) == "ours"


# --- searches -----------------------------------------------------------------------------------


class Killed(BaseException):
    pass


def at(count: int, proxy: ToyProxy, action: Callable[[], object]) -> None:
    """Have something happen in the proxy's evaluation of that number, counted from 1."""

    def fault(arch: Architecture, seed: int) -> None:
        if len(proxy.evaluated) == count:
            action()

    proxy.fault = fault


def end() -> None:
    raise Killed


@contextmanager
def dead(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A driver that ends in here lets go of nothing, as one that is killed."""
    close = Claims.close

    def die(claims: Claims) -> None:
        claims._held.clear()
        claims._finished.clear()
        close(claims)

    with monkeypatch.context() as patch:
        patch.setattr(Claims, "close", die)
        yield


def together(*drivers: Callable[[], Any]) -> list[Any]:
    """What drivers return that run at the same time."""
    with ThreadPoolExecutor(len(drivers)) as pool:
        return [future.result() for future in [pool.submit(driver) for driver in drivers]]


def run(url: str | Path, proxy: Any, driver: str, trials: int = 12, **more: Any) -> SearchResult:
    return search(
        TINY, LOOSE, proxy, trials=trials, storage=url, sampler="evolution", driver=driver, **more
    )


def facts(result: SearchResult) -> list[Any]:
    return [
        (trial.number, trial.architecture.key(), trial.accuracy, trial.state)
        for trial in result.trials
    ]


def test_two_drivers_share_the_trials(url: str) -> None:
    proxies, both = (ToyProxy(), ToyProxy()), threading.Barrier(2, timeout=HANG)
    for proxy in proxies:
        at(1, proxy, both.wait)
    first, second = together(
        lambda: run(url, proxies[0], "one"), lambda: run(url, proxies[1], "two")
    )
    assert facts(first) == facts(second)
    assert [trial.number for trial in first.trials] == list(range(12))
    evaluated = proxies[0].keys + proxies[1].keys
    assert len(evaluated) == len(set(evaluated)) == 12
    assert min(len(proxy.keys) for proxy in proxies) > 0
    assert first.baseline == second.baseline


def test_one_driver_on_a_database_is_decided_by_the_seed_and_resumed_to_the_same(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "journal", ToyProxy(), "one")
    for after in (2, 6):
        dying = ToyProxy()
        at(after, dying, end)
        with dead(monkeypatch), pytest.raises(Killed):
            run(url, dying, "one")
    assert facts(run(url, ToyProxy(), "one")) == facts(whole)


def test_what_a_dead_driver_left_is_done_by_another(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.evaluation.leases, "LEASE", 1.0)
    dying = ToyProxy()
    at(4, dying, end)
    with dead(monkeypatch), pytest.raises(Killed):
        run(url, dying, "one")
    other = ToyProxy()
    result = run(url, other, "two")
    assert [trial.number for trial in result.trials] == list(range(12))
    assert len({trial.architecture.key() for trial in result.trials}) == 12
    # The one that was being evaluated is evaluated as it stood; the finished ones are not.
    assert result.trials[3].architecture.key() == dying.keys[3]
    assert dying.keys[3] in other.keys
    assert not set(dying.keys[:3]) & set(other.keys)


def test_rounds_are_shared_too(url: str) -> None:
    networks = [efficientnet_b0()]
    objective = make_objective("accuracy", LOOSE)

    def rounds(driver: str, proxy: ToyProxy) -> None:
        with Study(url, "rounds", {}, owner=driver) as study:
            found = SeededRuns(networks, study, InProcess(proxy), objective, seed=0, purpose="test")
            for turn in range(6):
                assert found.run(turn, [0])
            assert len(found.measured(0).scores()) == 6

    proxies = ToyProxy(pause=0.05), ToyProxy(pause=0.05)
    together(lambda: rounds("one", proxies[0]), lambda: rounds("two", proxies[1]))
    assert len(proxies[0].keys) + len(proxies[1].keys) == 6


def test_a_restart_of_the_server_is_sat_out(postgres: Server) -> None:
    proxy = ToyProxy()

    def restart() -> None:
        postgres.stop()
        threading.Timer(1.0, postgres.start).start()

    at(5, proxy, restart)
    result = run(postgres.url, proxy, "one", 12, study_name="restart")
    assert [trial.number for trial in result.trials] == list(range(12))
    assert len(proxy.keys) == 12


DRIVER = """
import sys, time
from pathlib import Path
from nas.accuracy import Accuracy
from nas.spaces.budget import parse_budget
from nas.spaces.registry import load_space
from nas.strategies.search import search

url, name, log = sys.argv[1:]

class Logs:
    def prepare(self, *_): ...
    def evaluate(self, arch, *, seed, report):
        time.sleep(0.05)
        with open(log, "a") as stream:
            stream.write(arch.key() + "\\n")
        return Accuracy(int(arch.key()[:6], 16) / 16**6, 0.0)

result = search(
    load_space("efficientnet"), parse_budget("400M-flops"), Logs(), trials=200, storage=url,
    sampler="evolution", driver=name,
)
print(len(result.trials), result.baseline.architecture.key())
"""


@pytest.mark.soak
def test_two_drivers_one_killed_and_the_server_restarted(postgres: Server, tmp_path: Path) -> None:
    def driver(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, postgres.url, name, str(tmp_path / name)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def evaluated(name: str) -> list[str]:
        path = tmp_path / name
        return path.read_text().split() if path.exists() else []

    def reached(count: int) -> None:
        def enough() -> bool:
            assert two.poll() is None, two.communicate()
            return len(evaluated("one")) + len(evaluated("two")) >= count

        wait_until(enough, f"{count} networks are evaluated")

    one, two = driver("one"), driver("two")
    try:
        reached(60)
        postgres.stop()
        time.sleep(2)
        postgres.start()
        reached(120)
        one.kill()
        one.communicate()
        assert len(evaluated("one")) > 10  # it had its share
        out, err = two.communicate(timeout=HANG)
    finally:
        for process in (one, two):
            process.kill()
            process.wait()
    assert two.returncode == 0, err
    assert out.split()[0] == "200"
    with theirs(postgres.url) as storage:
        trials = optuna.load_study(study_name="search", storage=storage).trials
    assert sorted(trial.user_attrs["number"] for trial in trials) == list(range(200))
    space = load_space("efficientnet")
    assert len({space.decode(trial.params).key() for trial in trials}) == 200
    # Only what the killed one was at may have been evaluated again.
    both = evaluated("one") + evaluated("two")
    print(
        f"\n200 trials of two drivers, {len(evaluated('one'))} by the one that was killed: "
        f"{len(set(both))} networks, {len(both)} evaluations, {len(trials)} rows"
    )
    assert len(set(both)) == 200
    assert len(both) <= 201


# --- passwords ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "shown", "kept"),
    [
        ("sqlite:///a/b.db", "sqlite:///a/b.db", "sqlite:///a/b.db"),
        (
            "postgresql://ann:s3%26cret@host:5433/base?sslmode=require",
            "postgresql://ann:***@host:5433/base",
            "postgresql://ann@host:5433/base?sslmode=require",
        ),
        (
            "postgresql+psycopg://ann@host/base?password=s3%26cret",
            "postgresql://ann@host/base",
            "postgresql+psycopg://ann@host/base",
        ),
    ],
)
def test_urls_are_shown_and_kept_without_a_password(location: str, shown: str, kept: str) -> None:
    pytest.importorskip("psycopg")
    url = database_url(location)
    assert printable(url) == shown
    assert without_password(location) == kept
    for form in ("s3&cret", "s3%26cret"):
        assert form not in masked(f"cannot connect with {form}", url) or "sqlite" in location


@pytest.mark.parametrize("location", ["mysql://ann:hunter2@host/base", "redis://:hunter2@host"])
def test_other_databases_are_refused(location: str) -> None:
    with pytest.raises(InputError, match="sqlite:///FILE") as error:
        database_url(location)
    assert "hunter2" not in str(error.value)


def test_run_json_has_no_password_and_errors_have_none(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.evaluation.database, "RETRY_SECONDS", 0.5)
    out = tmp_path / "r"
    command = RunCommand(
        budget="400M-flops", space="efficientnet", data=None, resolution=None, proxy="imagenet",
        objective="accuracy", sampler="random", trials=3, time=None, seed=0,
        jobs=1, engine="local", storage=postgres.url, device=None, start=[], scale=False,
        finalists=None, reference=None, check=True,
    )  # fmt: skip
    run_job(command, out, json=False, quiet=True)
    written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    quoted = postgres.url.partition("tester:")[2].partition("@")[0]
    assert PASSWORD.encode() not in written
    assert quoted.encode() not in written
    assert json.loads((out / "run.json").read_text())["command"]["storage"] == (
        f"postgresql://tester@127.0.0.1:{postgres.port}/postgres"
    )
    wrong = postgres.url.replace(quoted, "wrong-one")
    with pytest.raises(InputError, match="password authentication failed") as error:
        run_job(command.model_copy(update={"storage": wrong}), out, json=False, quiet=True)
    assert "wrong-one" not in str(error.value)
    assert "\n" not in str(error.value)
