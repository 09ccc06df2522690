"""Machines that are containers: CPU quotas, no home."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas import environment
from nas.environment import available_cores, cache_folder


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 8 processors whose control groups are in a folder."""
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setattr(environment, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(environment, "_MEMBERSHIP", tmp_path / "membership")
    (tmp_path / "cgroup").mkdir()
    (tmp_path / "membership").write_text("0::/\n")
    return tmp_path / "cgroup"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1)],
)
def test_a_quota_of_the_second_version(groups: Path, quota: str, cores: int) -> None:
    write(groups / "cpu.max", f"{quota}\n")
    assert available_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [(-1, 8), (300000, 3), (1000, 1), (1600000, 8)])
@pytest.mark.parametrize("base", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_the_first_version(groups: Path, base: str, quota: int, cores: int) -> None:
    write(groups / base / "cpu.cfs_quota_us", f"{quota}\n")
    write(groups / base / "cpu.cfs_period_us", "100000\n")
    assert available_cores() == cores


def test_the_tightest_of_the_groups_around_counts(groups: Path, tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("0::/kubepods/pod1/box\n")
    write(groups / "kubepods" / "pod1" / "box" / "cpu.max", "max 100000\n")
    write(groups / "kubepods" / "pod1" / "cpu.max", "400000 100000\n")
    write(groups / "kubepods" / "cpu.max", "600000 100000\n")
    assert available_cores() == 4


def test_a_group_of_the_first_version_by_its_membership(groups: Path, tmp_path: Path) -> None:
    (tmp_path / "membership").write_text("5:memory:/m\n4:cpu,cpuacct:/docker/box\n")
    write(groups / "cpu,cpuacct" / "docker" / "box" / "cpu.cfs_quota_us", "200000\n")
    write(groups / "cpu,cpuacct" / "docker" / "box" / "cpu.cfs_period_us", "100000\n")
    assert available_cores() == 2


@pytest.mark.parametrize("text", ["", "max", "x y", "0 0", "-5 100000"])
def test_odd_files_are_no_quota(groups: Path, text: str) -> None:
    write(groups / "cpu.max", text)
    assert available_cores() == 8


def test_no_control_groups(groups: Path, tmp_path: Path) -> None:
    (tmp_path / "membership").unlink()
    assert available_cores() == 8


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAS_SEARCH_CACHE", raising=False)
    monkeypatch.setattr(environment, "user_cache_path", lambda name: Path("~/.cache") / name)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.usefixtures("homeless")
def test_without_a_home_caches_are_among_the_temporary_files(tmp_path: Path) -> None:
    found = cache_folder()
    assert found.parent == tmp_path
    assert found.stat().st_mode & 0o077 == 0
    assert cache_folder() == found


@pytest.mark.usefixtures("homeless")
def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    own = cache_folder()
    own.rmdir()
    (tmp_path / "trap").mkdir()
    own.symlink_to(tmp_path / "trap")
    assert cache_folder() != own
