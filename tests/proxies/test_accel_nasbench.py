"""Tables made from released archives; the real archive where the development data is there."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.cli import _run as command
from nas.errors import InputError
from nas.proxies.accel_nasbench import MAX_MEMBER_BYTES, import_accel_nasbench
from nas.proxies.benchmark_table import read_table


def result(**change: Any) -> dict[str, Any]:
    blocks: dict[str, Any] = {}
    for i in range(7):
        blocks |= {f"block{i}_e": 6, f"block{i}_k": 5, f"block{i}_l": 2, f"block{i}_se": i == 0}
    return {
        "architecture": blocks | change.pop("architecture", {}),
        "metrics": {"val_top1": 61.092, "val_top5": 83.588, "train_time": 1779.5},
        "model_info": {"macs": 372.73264, "params": 3.44436},
        "platform_perf": {
            "throughput_a100": {"throughput_mean": 7034.5, "throughput_std": 7.5},
            "latency_zcu102": {"latency_mean": 5.0, "latency_std": None},
            "throughput_tpuv2": {"throughput_mean": None, "throughput_std": None},
        },
        **change,
    }


def make(path: Path, members: dict[str, Any]) -> str:
    """Write an archive; return its checksum."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.SYMTYPE
                info.linkname = "elsewhere"
                tar.addfile(info)
                continue
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    path.write_bytes(stream.getvalue())
    return hashlib.sha256(stream.getvalue()).hexdigest()


NAME = "./anb_dataset_jsons/result_{}.json"


def test_a_row(tmp_path: Path) -> None:
    archive, out = tmp_path / "a.tar.gz", tmp_path / "t.jsonl"
    other = result(architecture={"block6_l": 3, "block2_e": 1})
    members = {NAME.format(10): other, NAME.format(2): result(), NAME.format(3): result()}
    assert import_accel_nasbench(archive, out, make(archive, members)) == (3, 2)
    table = read_table(out)
    assert [row.more["result"] for row in table.rows] == [2, 3, 10]
    row = table.rows[0]
    assert row.accuracy == 0.61092
    assert row.choices["stage1.se_ratio"] == 0.25
    assert row.choices["stage2.se_ratio"] == 0.0
    assert {row.choices[f"stage{i}.{f}"] for i in range(1, 8) for f in ("layers",)} == {2}
    assert row.more == {
        "result": 2,
        "val_top5": 83.588,
        "train_time": 1779.5,
        "macs": 372.73264,
        "params": 3.44436,
        "throughput_a100": 7034.5,
        "throughput_a100_std": 7.5,
        "latency_zcu102": 5.0,
    }
    assert table.rows[2].choices["stage7.layers"] == 3
    assert table.rows[2].choices["stage3.expansion"] == 1


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("../outside.json", result(), "not a result"),
        ("/etc/anb_dataset_jsons/result_1.json", result(), "not a result"),
        (NAME.format("x"), result(), "not a result"),
        (NAME.format(1), None, "not a result"),  # a link
        (NAME.format(1), b" " * (MAX_MEMBER_BYTES + 1), "larger than 64 KiB"),
        (NAME.format(1), b"{", "not JSON"),
        (NAME.format(1), b"\xff", "not UTF-8 text"),
        (NAME.format(1), {"architecture": {}}, "metrics: missing key"),
        (NAME.format(1), result(architecture={"block7_e": 1}), "block7_e"),
        (NAME.format(1), result(architecture={"block1_e": 5}), "5 is not accepted"),
        (NAME.format(1), result(architecture={"block1_se": 1}), "block1_se"),
        (NAME.format(1), result(architecture={"block1_k": True}), "block1_k"),
        (
            NAME.format(1),
            result(metrics={"val_top1": 161.0, "val_top5": 1.0, "train_time": 1.0}),
            "val_top1",
        ),
    ],
)
def test_a_wrong_member_is_refused(tmp_path: Path, name: str, content: Any, named: str) -> None:
    archive, out = tmp_path / "a.tar.gz", tmp_path / "t.jsonl"
    checksum = make(archive, {NAME.format(7): result(), name: content})
    with pytest.raises(InputError, match=named) as error:
        import_accel_nasbench(archive, out, checksum)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [archive]


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    archive, out = tmp_path / "a.tar.gz", tmp_path / "t.jsonl"
    for content in (b"", b"text", gzip.compress(b"text" * 1_000), gzip.compress(b"x")[:-6]):
        archive.write_bytes(content)
        with pytest.raises(InputError, match=r"can be read|holds no"):
            import_accel_nasbench(archive, out, hashlib.sha256(content).hexdigest())
    checksum = make(archive, {})
    with pytest.raises(InputError, match="holds no"):
        import_accel_nasbench(archive, out, checksum)
    assert not out.exists()


def test_another_file_than_the_released_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, out = tmp_path / "a.tar.gz", tmp_path / "t.jsonl"
    make(archive, {NAME.format(7): result()})
    assert command(["import", "accel-nasbench", str(archive), "--out", str(out)]) == 2
    err = capsys.readouterr().err
    assert "SHA-256" in err
    assert err.count("\n") == 1
    assert not out.exists()
    assert command(["import", "imagenet", str(archive), "--out", str(out)]) == 2
    assert "accel-nasbench" in capsys.readouterr().err
    assert command(["import", "accel-nasbench", "none.tar.gz", "--out", str(out)]) == 2
    assert "none.tar.gz: no such file" in capsys.readouterr().err


def test_the_released_archive(
    shared: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = shared("data", "accel-nasbench", "anb_dataset_jsons.tar.gz")
    out = tmp_path / "anb.jsonl"
    assert command(["import", "accel-nasbench", str(archive), "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["architectures"]) == (5_138, 5_125)
    table = read_table(out)
    accuracies = [row.accuracy for row in table.rows]
    assert (min(accuracies), max(accuracies)) == (0.4285, 0.67052)
    assert sum(accuracies) / len(accuracies) == pytest.approx(0.6018, abs=5e-5)
    space = nas.load_space("efficientnet")
    assert len(table.measurements(space)) == 5_125
    assert table.rows[0].choices == table.canonical(space)[0]
    assert {"val_top5", "params", "macs", "throughput_a100", "latency_vck190"} <= set(
        table.rows[0].more
    )
