"""Architectures: what is accepted, what is the same network, and plain data in and out."""

import copy
import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import InputError
from nas.files import parse_json, to_json
from nas.networks.architecture import (
    Architecture,
    Head,
    Layer,
    Norm,
    Stage,
    Stem,
    architecture_from_dict,
    efficientnet_b0,
    stage_layers,
)

B0 = efficientnet_b0()


def stage(op: Any = "mbconv", **changes: Any) -> Stage:
    fields = {"kernel": 3, "stride": 1, "expansion": 2, "width": 8, "layers": 1, "se_ratio": 0.0}
    if op == "skip":
        fields |= {"kernel": 1, "expansion": 1}
    return Stage(op=op, **(fields | changes))


def network(*stages: Stage, width: int = 8) -> Architecture:
    return Architecture(
        name="made-up",
        resolution=32,
        in_channels=3,
        num_classes=10,
        activation="relu",
        norm=Norm(),
        stem=Stem(kernel=3, stride=2, width=width),
        stages=stages,
        head=Head(width=16, dropout=0.0),
    )


stages = st.builds(
    lambda op, kernel, stride, expansion, width, layers, se: (
        stage("skip", stride=stride, width=width)
        if op == "skip"
        else stage(
            op,
            kernel=kernel,
            stride=stride,
            expansion=expansion,
            width=width,
            layers=layers,
            se_ratio=0.0 if op == "fused_mbconv" and expansion == 1 else se,
        )
    ),
    st.sampled_from(["mbconv", "fused_mbconv", "skip"]),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from([4, 8]),
    st.integers(1, 2),
    st.sampled_from([0.0, 0.25]),
)
networks = st.lists(stages, max_size=4).map(lambda made: network(*made))


# ── Layers ───────────────────────────────────────────────────────────────────────────────────────


def test_b0_has_sixteen_blocks() -> None:
    layers = B0.layers()
    assert len(layers) == 16
    assert layers[0] == Layer("mbconv", 3, 1, 1, 32, 16, 8)
    assert layers[1] == Layer("mbconv", 3, 2, 6, 16, 24, 4)
    assert layers[2] == Layer("mbconv", 3, 1, 6, 24, 24, 6)
    assert layers[-1] == Layer("mbconv", 3, 1, 6, 192, 320, 48)


def test_only_the_first_layer_has_the_stride_and_changes_the_width() -> None:
    layers = stage_layers(stage(stride=2, width=24, layers=3), 16)
    assert [(layer.stride, layer.in_width, layer.width) for layer in layers] == [
        (2, 16, 24),
        (1, 24, 24),
        (1, 24, 24),
    ]


@pytest.mark.parametrize(
    ("in_width", "ratio", "channels"),
    [(16, 0.25, 4), (18, 0.25, 4), (3, 0.25, 1), (1, 0.01, 1), (40, 1.0, 40), (40, 0.0, 0)],
)
def test_squeeze_excite_width_is_of_the_blocks_input(
    in_width: int, ratio: float, channels: int
) -> None:
    [layer] = stage_layers(stage(se_ratio=ratio, expansion=6), in_width)
    assert layer.se_width == channels


def test_a_skip_is_an_identity_where_shapes_agree() -> None:
    assert stage_layers(stage("skip", width=8), 8) == ()
    assert stage_layers(stage("skip", width=16), 8) == (Layer("skip", 1, 1, 1, 8, 16, 0),)
    assert stage_layers(stage("skip", width=8, stride=2), 8) == (Layer("skip", 1, 2, 1, 8, 8, 0),)


# ── Which networks are the same ──────────────────────────────────────────────────────────────────


def test_identities_are_dropped() -> None:
    bare = network(stage())
    padded = network(stage("skip"), stage(), stage("skip"), stage("skip"))
    assert padded.canonical() == bare
    assert padded.key() == bare.key()
    assert bare.canonical() is bare


def test_a_skip_that_does_something_stays() -> None:
    made = network(stage("skip", width=16), stage("skip", width=16, stride=2))
    assert made.canonical() is made
    assert made.key() != network().key()


@given(networks)
def test_the_canonical_form_is_the_same_network(made: Architecture) -> None:
    canonical = made.canonical()
    assert canonical.key() == made.key()
    assert canonical.layers() == made.layers()
    assert canonical.canonical() == canonical


@given(networks, networks)
def test_keys_are_equal_exactly_where_networks_are(one: Architecture, other: Architecture) -> None:
    assert (one.key() == other.key()) == (one.layers() == other.layers())


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 240},
        {"in_channels": 1},
        {"num_classes": 10},
        {"activation": "relu"},
        {"norm": Norm(eps=1e-3)},
        {"norm": Norm(momentum=0.01)},
        {"stem": Stem(kernel=5, stride=2, width=32)},
        {"stages": B0.stages[:-1]},
        {"head": Head(width=1280, dropout=0.3)},
        {"head": Head(width=1024, dropout=0.2)},
    ],
)
def test_every_difference_counts(change: dict[str, Any]) -> None:
    assert replace(B0, **change).key() != B0.key()


def test_the_name_does_not_count() -> None:
    assert replace(B0, name="b0").key() == B0.key()


def test_the_key_is_the_same_in_every_run() -> None:
    # Studies and caches keep it: another value here means that they are lost.
    assert B0.key() == "0e4f75c1717eeeb2c553c5992c55b41939efe4b53d52ce254fd602015a29efa3"


def test_an_architecture_is_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        B0.resolution = 1  # type: ignore[misc]
    assert len({B0, efficientnet_b0()}) == 1


# ── Plain data ───────────────────────────────────────────────────────────────────────────────────


@given(networks)
def test_plain_data_comes_back_as_the_same_architecture(made: Architecture) -> None:
    text = to_json(made.to_dict())
    assert architecture_from_dict(parse_json(text, "b0.json"), "b0.json") == made


def test_the_order_of_the_file() -> None:
    data = B0.to_dict()
    assert list(data) == [
        "name", "resolution", "in_channels", "num_classes",
        "activation", "norm", "stem", "stages", "head",
    ]  # fmt: skip
    assert list(data["stages"][0]) == [
        "op", "kernel", "stride", "expansion", "width", "layers", "se_ratio",
    ]  # fmt: skip
    assert json.loads(json.dumps(data)) == data


@pytest.mark.parametrize(
    "path",
    [
        *(("name", "resolution", "in_channels", "num_classes", "activation", "norm", "stem")),
        *(("stages", "head", "stem.kernel", "head.dropout", "stages.1.op", "stages.6.se_ratio")),
    ],
)
def test_a_missing_key(path: str) -> None:
    data = copy.deepcopy(B0.to_dict())
    *way, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    inner: Any = data
    for part in way:
        inner = inner[part]
    del inner[last]
    named = path.replace("stages.1", "stages2").replace("stages.6", "stages7")
    with pytest.raises(InputError) as error:
        architecture_from_dict(data, "b0.json")
    assert str(error.value) == f"b0.json: {named}: missing key"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 3}, "width: unknown key"),
        ({"stem": {"kernel": 3, "stride": 2, "width": 32, "bias": True}}, "stem.bias: unknown key"),
        ({"name": ""}, "name: '' is not accepted"),
        ({"name": 3}, "name: 3 is not accepted"),
        ({"name": "\ud800"}, "name: '\\ud800' is not accepted"),
        ({"resolution": "224"}, "resolution: '224' is not accepted"),
        ({"resolution": 224.0}, "resolution: 224.0 is not accepted"),
        ({"resolution": True}, "resolution: True is not accepted"),
        ({"resolution": None}, "resolution: None is not accepted"),
        ({"resolution": 0}, "resolution: 0 is not accepted"),
        ({"resolution": 10**30}, "resolution: 1000"),
        ({"in_channels": 0}, "in_channels: 0 is not accepted"),
        ({"num_classes": -1}, "num_classes: -1 is not accepted"),
        ({"activation": "swish"}, "activation: 'swish' is not accepted"),
        ({"norm": {"eps": 0.0, "momentum": 0.1}}, "norm.eps: 0.0 is not accepted"),
        ({"norm": {"eps": float("nan")}}, "norm.eps: nan is not accepted"),
        ({"norm": 3}, "norm: 3 is not accepted"),
        ({"stem": {"kernel": 4, "stride": 2, "width": 32}}, "kernel 4 is even"),
        ({"stem": {"kernel": 3, "stride": 0, "width": 32}}, "stem.stride: 0 is not accepted"),
        ({"stages": {}}, "stages: {} is not accepted"),
        ({"stages": [B0.to_dict()["stages"][0]] * 101}, "stages: [{"),
        ({"head": {"width": 1280, "dropout": 1.0}}, "head.dropout: 1.0 is not accepted"),
        ({"head": {"width": 1280, "dropout": "0.2"}}, "head.dropout: '0.2' is not accepted"),
    ],
)
def test_a_wrong_value(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        architecture_from_dict({**B0.to_dict(), **change}, "b0.json")
    assert str(error.value).startswith("b0.json: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"op": "conv"}, "stages3.op: 'conv' is not accepted: input should be 'mbconv'"),
        ({"kernel": 2}, "kernel 2 is even; accepted: odd sizes 1 to 31"),
        ({"kernel": 33}, "stages3.kernel: 33 is not accepted"),
        ({"stride": 5}, "stages3.stride: 5 is not accepted"),
        ({"expansion": 0}, "stages3.expansion: 0 is not accepted"),
        ({"layers": 0}, "stages3.layers: 0 is not accepted"),
        ({"layers": 1.5}, "stages3.layers: 1.5 is not accepted"),
        ({"se_ratio": 1.1}, "stages3.se_ratio: 1.1 is not accepted"),
        ({"se_ratio": -0.1}, "stages3.se_ratio: -0.1 is not accepted"),
        ({"op": "skip"}, "a skip has kernel 1, expansion 1, layers 1 and se_ratio 0"),
        ({"op": "fused_mbconv", "expansion": 1}, "se_ratio must be 0"),
        ({"depth": 3}, "stages3.depth: unknown key"),
    ],
)
def test_a_wrong_stage(change: dict[str, Any], said: str) -> None:
    data = B0.to_dict()
    data["stages"][2] |= change
    with pytest.raises(InputError) as error:
        architecture_from_dict(data, "b0.json")
    assert str(error.value).startswith("b0.json: stages3")
    assert said in str(error.value)


@pytest.mark.parametrize("data", [None, [], "b0", 3, {}, {"stages": None}])
def test_not_an_architecture_at_all(data: Any) -> None:
    with pytest.raises(InputError, match=r"^b0\.json: "):
        architecture_from_dict(data, "b0.json")


def test_whole_numbers_are_ratios_too() -> None:
    data = B0.to_dict()
    for row in data["stages"]:
        row["se_ratio"] = 0
    data["head"]["dropout"] = 0
    made = architecture_from_dict(data)
    assert {type(row.se_ratio) for row in made.stages} == {float}
    assert made.layers()[0].se_width == 0
