"""Architecture files: round trips, what is refused, and the published JSON Schema."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import nas
from nas.accuracy import Accuracy
from nas.errors import InputError
from nas.files import to_json
from nas.networks.architecture_file import (
    json_schema,
    read_record,
    record_from_dict,
    save_architecture,
)
from nas.spaces.registry import KNOWN_ARCHITECTURES
from tests.support.paths import ROOT

SCHEMA = ROOT / "nas" / "architecture.schema.json"
ACCURACY = Accuracy(0.75, 0.01, 2, (1, 2), 0.8, "validation accuracy", "toy", "images")


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "good.json"
    save_architecture(
        nas.load_architecture("efficientnet-b0"), path, accuracy=ACCURACY, provenance={"a": [1]}
    )
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return data


def test_round_trip(tmp_path: Path) -> None:
    b0 = nas.load_architecture("efficientnet-b0")
    path = tmp_path / "a folder" / "b0.json"
    save_architecture(b0, path, accuracy=ACCURACY, provenance={"made_by": "a test"})
    record = read_record(path)
    assert record.architecture == b0 == nas.load_architecture(path)
    assert nas.load_architecture(str(path)) == b0
    assert (record.cost.flops, record.cost.params) == (385_814_752, 5_288_548)
    assert record.accuracy == ACCURACY
    assert record.provenance == {"made_by": "a test"}
    assert to_json(record.to_dict()) == path.read_text(encoding="utf-8")
    assert type(record.architecture) is nas.Architecture


def test_same_architecture_same_bytes(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        save_architecture(nas.load_architecture("efficientnet-b3"), tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_the_keys_stand_in_the_agreed_order(content: dict[str, Any]) -> None:
    assert list(content) == [
        "schema",
        "name",
        "resolution",
        "in_channels",
        "num_classes",
        "activation",
        "norm",
        "stem",
        "stages",
        "head",
        "cost",
        "accuracy",
        "provenance",
    ]
    assert list(content["cost"]) == ["flops", "params", "activations"]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda d: d.pop("name"), "name: missing key"),
        (lambda d: d.pop("accuracy"), "accuracy: missing key"),
        (lambda d: d.pop("cost"), "cost: missing key"),
        (lambda d: d.pop("schema"), "schema: missing key"),
        (lambda d: d["cost"].pop("flops"), "cost.flops: missing key"),
        (lambda d: d["stages"][2].pop("kernel"), "stages3.kernel: missing key"),
        (lambda d: d.update(extra=1), "extra: unknown key"),
        (lambda d: d["stages"][0].update(groups=2), "stages1.groups: unknown key"),
        (lambda d: d["accuracy"].update(top5=0.9), "accuracy.top5: unknown key"),
        (lambda d: d["head"].update(dropout=1.5), "head.dropout: 1.5 is not accepted"),
        (lambda d: d["stem"].update(stride=0), "stem.stride: 0 is not accepted"),
        (lambda d: d["stages"][1].update(kernel=4), "kernel"),
        (lambda d: d.update(resolution="224"), "resolution: '224' is not accepted"),
        (lambda d: d.update(schema="nas-search-architecture/3"), "schema"),
        (lambda d: d.update(schema="nas-search-architecture/2"), "padding: 'symmetric' is not"),
        (lambda d: d.update(padding="same"), "padding: 'same' is not accepted in"),
        (lambda d: d.update(padding="valid"), "padding: 'valid' is not accepted"),
        (lambda d: d["cost"].update(flops=-1), "cost.flops: -1 is not accepted"),
        (lambda d: d["accuracy"].update(mean=1.01), "accuracy.mean: 1.01 is not accepted"),
        (lambda d: d.update(provenance=None), "provenance: None is not accepted"),
        (lambda d: d.update(stages=None), "stages: None is not accepted"),
    ],
)
def test_a_wrong_file_names_the_file_and_the_key(
    content: dict[str, Any], tmp_path: Path, change: Callable[[Any], Any], key: str
) -> None:
    change(content)
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        nas.load_architecture(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert key in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": NaN}', "null", "\x00"])
def test_what_is_no_architecture_at_all(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"wrong\.json"):
        read_record(path)


def test_the_published_schema_is_the_code() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == to_json(json_schema()), (
        "write it anew: python -c 'from nas.networks.architecture_file import *; "
        "from nas.files import *; "
        'write_json(Path("nas/architecture.schema.json"), json_schema())\''
    )


def test_the_schema_accepts_what_is_written(tmp_path: Path) -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for index, name in enumerate(KNOWN_ARCHITECTURES[:3]):
        path = tmp_path / f"{name}.json"
        save_architecture(nas.load_architecture(name), path, accuracy=ACCURACY if index else None)
        validator.validate(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("name"),
        lambda d: d.pop("schema"),
        lambda d: d.pop("accuracy"),
        lambda d: d.update(extra=1),
        lambda d: d["stages"][0].update(groups=2),
        lambda d: d["stem"].update(stride=0),
        lambda d: d.update(resolution="224"),
        lambda d: d.update(schema="other/1"),
    ],
)
def test_the_schema_refuses_what_the_code_refuses(
    content: dict[str, Any], change: Callable[[Any], Any]
) -> None:
    change(content)
    with pytest.raises(InputError):
        record_from_dict(content, "a test")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, json.loads(SCHEMA.read_text(encoding="utf-8")))
