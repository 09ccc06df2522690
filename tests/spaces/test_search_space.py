"""Search spaces: what is chosen and what it makes, both ways, and files that are not spaces."""

import itertools
import json
import random
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import InputError
from nas.networks.architecture import Architecture, Norm, Stage, efficientnet_b0
from nas.spaces.search_space import SearchSpace
from nas.spaces.toml import read_space, space_from_dict
from tests.support.paths import ROOT

FOLDER = ROOT / "search_spaces"
SPACES = {path.stem: read_space(path) for path in sorted(FOLDER.glob("*.toml"))}
TINY = SPACES["tiny"]
B0_CHOICES = {
    f"stage{index}.{name}": value
    for index, (expansion, kernel, layers) in enumerate(
        [(1, 3, 1), (6, 3, 2), (6, 5, 2), (6, 3, 3), (6, 5, 3), (6, 5, 4), (6, 3, 1)], 1
    )
    for name, value in {
        "kernel": kernel, "expansion": expansion, "layers": layers, "se_ratio": 0.25,
    }.items()
}  # fmt: skip


def made_up(*stages: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A space as its file would say it."""
    return {
        "schema": "nas-search-space/1",
        "name": "made up",
        "resolution": 32,
        "num_classes": 10,
        "activation": "relu",
        "stem": {"kernel": 5, "stride": 1, "width": 6},
        "head": {"width": 16, "dropout": 0.0},
        "stage": list(stages),
        **changes,
    }


def some(values: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[Any]:
    """A fixed value, or a list to choose from, of one value or more."""
    return values | st.lists(values, min_size=1, max_size=most, unique=True)


@st.composite
def stage_tables(draw: st.DrawFn) -> dict[str, Any]:
    """A stage in either form, skips and lists of one value among them."""
    kernels, expansions = st.sampled_from([1, 3, 5, 7]), st.integers(1, 3)
    ratios = st.sampled_from([0.0, 0.25, 0.5])
    table = {
        "stride": draw(st.integers(1, 2)),
        "width": draw(some(st.sampled_from([4, 6, 8]))),
        "layers": draw(some(st.integers(1, 3))),
    }
    if draw(st.booleans()):
        blocks = st.one_of(
            st.just({"op": "skip"}),
            st.fixed_dictionaries(
                {
                    "op": st.sampled_from(["mbconv", "fused_mbconv"]),
                    "kernel": kernels,
                    "expansion": expansions,
                },
                optional={"se_ratio": ratios},
            ),
        )
        unique = st.lists(
            blocks,
            min_size=1,
            max_size=4,
            unique_by=lambda block: json.dumps({"se_ratio": 0.0, **block}, sort_keys=True),
        )
        return {**table, "block": draw(unique)}
    op = draw(some(st.sampled_from(["mbconv", "fused_mbconv", "skip"])))
    if op in ("skip", ["skip"]):
        return {**table, "op": op}
    table |= {"op": op, "kernel": draw(some(kernels)), "expansion": draw(some(expansions))}
    if draw(st.booleans()):
        table["se_ratio"] = draw(some(ratios))
    return table


spaces = st.builds(
    lambda stages, activation, kernel, stride, width: space_from_dict(
        made_up(
            *stages,
            activation=activation,
            stem={"kernel": kernel, "stride": stride, "width": width},
        )
    ),
    st.lists(stage_tables(), min_size=1, max_size=4),
    st.sampled_from(["relu", "relu6", "silu", "hardswish"]),
    st.sampled_from([1, 3, 5, 7]),
    st.integers(1, 4),
    st.sampled_from([4, 6, 8]),
) | st.sampled_from(sorted(SPACES)).map(SPACES.__getitem__)


# ── Choices and what they make ───────────────────────────────────────────────────────────────────


@settings(max_examples=200)
@given(spaces, st.integers(0, 2**32))
def test_encode_and_decode_are_inverse_up_to_the_canonical_form(
    space: SearchSpace, seed: int
) -> None:
    choices = space.sample(random.Random(seed))
    architecture = space.decode(choices)
    assert architecture.canonical() == architecture
    encoded = space.encode(architecture)
    space.check(encoded)
    assert space.decode(encoded).key() == architecture.key()
    assert space.encode(space.decode(encoded)) == encoded


@settings(max_examples=100)
@given(spaces, st.integers(0, 2**32))
def test_encode_forgets_names_identities_and_what_the_data_decides(
    space: SearchSpace, seed: int
) -> None:
    architecture = space.decode(space.sample(random.Random(seed)))
    width = architecture.stages[-1].width if architecture.stages else architecture.stem.width
    other = replace(
        architecture,
        name="other",
        resolution=96,
        in_channels=1,
        num_classes=5,
        norm=Norm(eps=0.5),
        head=replace(architecture.head, dropout=0.9),
        stages=(*architecture.stages, Stage("skip", 1, 1, 1, width, 1, 0.0)),
    )
    assert space.encode(other) == space.encode(architecture)


def test_b0_is_a_member_of_efficientnet() -> None:
    space, b0 = SPACES["efficientnet"], efficientnet_b0()
    assert space.encode(b0) == B0_CHOICES
    decoded = space.decode(B0_CHOICES)
    assert decoded.key() == b0.key()
    assert replace(decoded, name=b0.name) == b0


def test_the_efficientnet_space_is_that_of_accel_nasbench() -> None:
    # Accel-NASBench (arXiv 2404.08005): kernels 3 and 5, expansions 1, 4 and 6, SE on or off;
    # one to three layers, in stage 6 also four.
    assert SPACES["efficientnet"].size == (2 * 3 * 3 * 2) ** 6 * (2 * 3 * 4 * 2)


@pytest.mark.parametrize("name", SPACES)
def test_shipped_spaces(name: str) -> None:
    space = SPACES[name]
    assert space.name == name
    assert space.source
    assert all(len(values) > 1 for values in space.choices.values())


def test_names_and_values_of_choices() -> None:
    space = space_from_dict(
        made_up(
            {
                "op": "mbconv", "kernel": [5, 3], "expansion": 2,
                "layers": [2], "width": 8, "stride": 1,
            },
            {
                "stride": 2,
                "layers": 1,
                "width": [8, 16],
                "block": [
                    {"op": "skip"},
                    {"op": "mbconv", "kernel": 3, "expansion": 3},
                    {"op": "mbconv", "kernel": 5, "expansion": 6, "se_ratio": 0.25},
                    {"op": "fused_mbconv", "kernel": 3, "expansion": 4},
                ],
            },
        )
    )  # fmt: skip
    assert space.choices == {
        "stage1.kernel": (5, 3),
        "stage1.layers": (2,),
        "stage2.block": ("skip", "mbconv_k3_e3", "mbconv_k5_e6_se0.25", "fused_mbconv_k3_e4"),
        "stage2.width": (8, 16),
    }
    assert space.size == 2 * 1 * 4 * 2
    choices = dict(zip(space.choices, (3, 2, "mbconv_k5_e6_se0.25", 16), strict=True))
    architecture = space.decode(choices)
    assert architecture.stages == (
        Stage("mbconv", 3, 1, 2, 8, 2, 0.0),
        Stage("mbconv", 5, 2, 6, 16, 1, 0.25),
    )
    assert architecture.name == f"made up-{architecture.key()[:8]}"
    assert (architecture.in_channels, architecture.norm) == (3, Norm())


def test_a_space_without_a_choice_has_one_network() -> None:
    fixed = {"op": "mbconv", "kernel": 3, "expansion": 2, "layers": 1, "width": 8, "stride": 1}
    space = space_from_dict(made_up(fixed))
    assert (space.choices, space.size, space.sample(random.Random(0))) == ({}, 1, {})
    assert space.encode(space.decode({})) == {}
    assert list(space.neighbours({})) == []


@settings(max_examples=50)
@given(spaces, st.integers(0, 2**32))
def test_a_sample_is_decided_by_the_generator(space: SearchSpace, seed: int) -> None:
    one, other = (space.sample(random.Random(seed)) for _ in range(2))
    assert one == other
    assert list(one) == list(space.choices)


def test_samples_are_uniform() -> None:
    rng = random.Random(0)
    drawn = [TINY.sample(rng) for _ in range(3000)]
    for name, values in TINY.choices.items():
        for value in values:
            share = sum(choices[name] == value for choices in drawn) / len(drawn)
            assert share == pytest.approx(1 / len(values), abs=0.04), (name, value)


@settings(max_examples=50)
@given(spaces, st.integers(0, 2**32))
def test_neighbours_differ_in_one_place(space: SearchSpace, seed: int) -> None:
    choices = space.sample(random.Random(seed))
    found = list(space.neighbours(choices))
    assert len(found) == sum(len(values) - 1 for values in space.choices.values())
    assert len({tuple(neighbour.items()) for neighbour in found}) == len(found)
    for neighbour in found:
        space.check(neighbour)
        assert sum(neighbour[name] != choices[name] for name in choices) == 1


def test_equal_networks_have_equal_keys_and_names() -> None:
    base = {**TINY.sample(random.Random(0)), "stage2.block": "skip", "stage2.width": 8}
    one, other = (TINY.decode({**base, "stage2.layers": layers}) for layers in (1, 2))
    assert one == other  # a skip has no layers to choose
    assert len(one.stages) == 2  # and at the same width it is nothing at all
    wider = TINY.decode({**base, "stage2.width": 16})
    assert wider.key() != one.key()
    assert wider.stages[1].op == "skip"


def test_expansion_1_fused_ignores_squeeze_excite() -> None:
    table = {
        "op": ["mbconv", "fused_mbconv"], "kernel": 3, "expansion": 1,
        "layers": 1, "width": 8, "stride": 1, "se_ratio": [0.0, 0.5],
    }  # fmt: skip
    space = space_from_dict(made_up(table))
    keys = {
        (op, ratio): space.decode({"stage1.op": op, "stage1.se_ratio": ratio}).key()
        for op in ("mbconv", "fused_mbconv")
        for ratio in (0.0, 0.5)
    }
    assert keys["fused_mbconv", 0.0] == keys["fused_mbconv", 0.5]
    assert len(set(keys.values())) == 3


def test_options_list_each_way_to_fill_a_stage_once() -> None:
    assert len(SPACES["efficientnet"].options(0, 32)) == 36
    # stage 2 of tiny: six convolutional ways a width and a skip, which two layers do not change.
    assert len(TINY.options(1, 8)) == 2 * (2 * 2 + 1)
    assert [option.stage for option in TINY.options(1, 8)].count(None) == 1
    assert [option.stage for option in TINY.options(1, 4)].count(None) == 0


def test_another_input_for_the_users_data() -> None:
    space = replace(TINY, resolution=64, in_channels=1, num_classes=3)
    architecture = space.decode(space.sample(random.Random(0)))
    assert (architecture.resolution, architecture.in_channels, architecture.num_classes) == (
        64, 1, 3,
    )  # fmt: skip
    assert space.choices == TINY.choices


# ── Choices that are none ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stage1.kernel": 7}, "stage1.kernel: 7 is not accepted: 3, 5"),
        ({"stage1.kernel": "3"}, "stage1.kernel: '3' is not accepted"),
        ({"stage1.kernel": 3.0}, "stage1.kernel: 3.0 is not accepted"),
        ({"stage1.layers": True}, "stage1.layers: True is not accepted"),
        ({"stage1.se_ratio": 0}, "stage1.se_ratio: 0 is not accepted: 0.0, 0.25"),
        ({"stage1.width": 16}, "stage1.width: unknown; space 'efficientnet' has no such choice"),
        ({"stage8.kernel": 3}, "stage8.kernel: unknown"),
    ],
)
def test_choices_that_the_space_does_not_offer(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        SPACES["efficientnet"].decode({**B0_CHOICES, **change})
    assert f"choices: {said}" in str(error.value)


def test_a_choice_that_is_missing() -> None:
    choices = dict(B0_CHOICES)
    del choices["stage3.kernel"]
    with pytest.raises(InputError, match=r"stage3\.kernel: missing; accepted: 3, 5"):
        SPACES["efficientnet"].decode(choices)


# ── Architectures that are not in the space ──────────────────────────────────────────────────────


def b0_with(index: int, **changes: Any) -> Architecture:
    """B0 with another stage ``index`` (from 1)."""
    b0 = efficientnet_b0()
    stages = list(b0.stages)
    stages[index - 1] = replace(stages[index - 1], **changes)
    return replace(b0, stages=tuple(stages))


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        (b0_with(3, kernel=7), "stage3: kernel is 7, the space has 3, 5"),
        (b0_with(3, expansion=3), "stage3: expansion is 3, the space has 1, 4, 6"),
        (b0_with(3, stride=1), "stage3: stride is 1, the space has 2"),
        (b0_with(3, width=48), "stage3: width is 48, the space has 40"),
        (b0_with(3, se_ratio=0.5), "stage3: se_width is 12, the space has 0, 6"),
        (b0_with(3, op="fused_mbconv"), "stage3: op is 'fused_mbconv', the space has 'mbconv'"),
        (b0_with(3, layers=4), "before stage4: more layers than the space has"),
        (b0_with(7, layers=4), "before stage8: more layers than the space has"),
        (
            replace(efficientnet_b0(), stages=efficientnet_b0().stages[:-1]),
            "it ends before stage7",
        ),
        (
            replace(efficientnet_b0(), stages=efficientnet_b0().stages * 2),
            "it goes on after the space's last stage",
        ),
        (
            replace(efficientnet_b0(), activation="relu"),
            "activation is 'relu', the space has 'silu'",
        ),
        (
            replace(efficientnet_b0(), stem=replace(efficientnet_b0().stem, width=40)),
            "stem is Stem(kernel=3, stride=2, width=40), the space has Stem(",
        ),
        (
            replace(efficientnet_b0(), head=replace(efficientnet_b0().head, width=1000)),
            "head.width is 1000, the space has 1280",
        ),
    ],
)  # fmt: skip
def test_encode_names_what_differs(architecture: Architecture, said: str) -> None:
    with pytest.raises(InputError) as error:
        SPACES["efficientnet"].encode(architecture)
    assert str(error.value).startswith(
        "architecture 'efficientnet-b0' is not in space 'efficientnet': "
    )
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_encode_names_too_few_layers() -> None:
    space = SPACES["proxyless"]
    architecture = space.decode(space.sample(random.Random(0)))
    second = replace(architecture.stages[1], layers=1)
    with pytest.raises(InputError, match="stage2: layers is 1, the space has 2, 3, 4"):
        space.encode(replace(architecture, stages=(architecture.stages[0], second)))


def test_encode_finds_layers_that_are_shared_out_otherwise() -> None:
    block = {"stride": 1, "layers": [1, 2], "width": 8, "op": "mbconv", "kernel": 3, "expansion": 2}
    space = space_from_dict(made_up(block, block, stem={"kernel": 3, "stride": 1, "width": 8}))
    whole = replace(
        space.decode({"stage1.layers": 1, "stage2.layers": 2}),
        stages=(Stage("mbconv", 3, 1, 2, 8, 3, 0.0),),
    )
    assert space.encode(whole) == {"stage1.layers": 1, "stage2.layers": 2}
    assert space.decode(space.encode(whole)).key() == whole.key()


@settings(max_examples=50)
@given(spaces, spaces, st.integers(0, 2**32))
def test_encode_finds_exactly_the_members(one: SearchSpace, other: SearchSpace, seed: int) -> None:
    architecture = other.decode(other.sample(random.Random(seed)))
    choices: Any
    try:
        choices = one.encode(architecture)
    except InputError as error:
        choices = error
    if isinstance(choices, InputError):
        assert "is not in space" in str(choices)
        assert "\n" not in str(choices)
    else:
        assert one.decode(choices).layers() == architecture.layers()


def test_every_network_of_tiny_can_be_encoded() -> None:
    keys = set()
    for values in itertools.product(*TINY.choices.values()):
        architecture = TINY.decode(dict(zip(TINY.choices, values, strict=True)))
        if architecture.key() not in keys:
            keys.add(architecture.key())
            assert TINY.decode(TINY.encode(architecture)).key() == architecture.key()
    assert len(keys) < TINY.size


# ── Files ────────────────────────────────────────────────────────────────────────────────────────

GOOD = """\
schema = "nas-search-space/1"
name = "mine"
resolution = 32
num_classes = 10
activation = "relu"
norm = { eps = 1e-3 }

[stem]
kernel = 3
stride = 2
width = 8

[head]
width = 16
dropout = 0

[[stage]]
op = "mbconv"
kernel = [3, 5]
expansion = 2
layers = 1
width = 8
stride = 1

[[stage]]
layers = [1, 2]
width = 16
stride = 2
block = [
  { op = "skip" },
  { op = "mbconv", kernel = 3, expansion = 3 },
]
"""


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, encoding="utf-8")
    space = read_space(path)
    assert space == space_from_dict(tomllib.loads(GOOD))
    assert space.size == 2 * 2 * 2
    assert (space.norm, space.in_channels, space.source) == (Norm(eps=1e-3), 3, "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # unknown and missing keys
        ("name =", "title =", "name: missing key"),
        ('name = "mine"', 'name = "mine"\ncolour = 3', "colour: unknown key"),
        ("kernel = 3\n", "kernel = 3\nbias = true\n", "stem.bias: unknown key"),
        ("eps", "epsilon", "norm.epsilon: unknown key"),
        ("kernel = [3, 5]", "kernels = [3, 5]", "stage1.kernels: unknown key"),
        ("expansion = 3 }", "expansion = 3, width = 8 }", "stage2.block2.width: unknown key"),
        ("width = 8\nstride = 1", "stride = 1", "stage1.width: missing key"),
        ("resolution = 32\n", "", "resolution: missing key"),
        ("dropout = 0\n", "", "head.dropout: missing key"),
        ("expansion = 2\n", "", "stage1: {"),
        ("expansion = 2\n", "", "a stage of mbconv needs expansion"),
        ('op = "mbconv"\n', "", "a stage needs op, or block"),
        ("kernel = 3, expansion = 3", "kernel = 3", "mbconv needs expansion"),
        # the schema
        ("space/1", "space/2", "schema: 'nas-search-space/2' is not accepted"),
        ('schema = "nas-search-space/1"\n', "", "schema: missing key"),
        # wrong types
        ("resolution = 32", 'resolution = "32"', "resolution: '32' is not accepted"),
        ("resolution = 32", "resolution = 32.0", "resolution: 32.0 is not accepted"),
        ("resolution = 32", "resolution = true", "resolution: True is not accepted"),
        ("resolution = 32", "resolution = []", "the list is empty"),
        ("resolution = 32", "resolution = [32, 32]", "a value stands twice"),
        ("resolution = 32", "resolution = [0]", "0 is not accepted"),
        ("resolution = 32", 'resolution = 32\npadding = "valid"', "'valid' is not accepted"),
        ("num_classes = 10", "num_classes = 0", "num_classes: 0 is not accepted"),
        ("kernel = [3, 5]", 'kernel = [3, "5"]', "stage1.kernel: '5' is not accepted"),
        ("layers = 1\n", "layers = true\n", "stage1.layers: True is not accepted"),
        ("layers = [1, 2]", "layers = [2, true]", "stage2.layers: True is not accepted"),
        ("layers = [1, 2]", "layers = [[1], 2]", "stage2.layers1: [1] is not accepted"),
        ("layers = [1, 2]", "layers = { from = 1 }", "layers1: {'from': 1} is not accepted"),
        ('"mbconv"\nk', '"conv"\nk', "stage1.op: 'conv' is not accepted"),
        ('"mbconv"\nk', "3\nk", "stage1.op: 3 is not accepted"),
        ('"relu"', '"gelu"', "activation: 'gelu' is not accepted"),
        ('"mine"', '""', "name: '' is not accepted"),
        ("[head]", "[[head]]", "head: [{"),
        ("[stem]", "[stem.a]", "stem.kernel: missing key"),
        # wrong values
        ("[3, 5]", "[]", "stage1.kernel: [] is not accepted: the list is empty"),
        ("[3, 5]", "[3, 3]", "stage1.kernel: [3, 3] is not accepted: a value stands twice"),
        ("[3, 5]", "[3, 4]", "kernel 4 is even; accepted: odd sizes 1 to 31"),
        ("[3, 5]", "[3, 33]", "stage1.kernel: 33 is not accepted"),
        ("[3, 5]", str(list(range(1, 131, 2))), "more than 64 values"),
        ("stride = 1", "stride = 0", "stage1.stride: 0 is not accepted"),
        ("stride = 1", "stride = [1, 2]", "stage1.stride: [1, 2] is not accepted"),
        ("stride = 2\nwidth", "stride = 0\nwidth", "stem.stride: 0 is not accepted"),
        ("kernel = 3\n", "kernel = 4\n", "kernel 4 is even"),
        ("expansion = 2", "expansion = 0", "stage1.expansion: 0 is not accepted"),
        ("layers = 1\n", "layers = -1\n", "stage1.layers: -1 is not accepted"),
        ("width = 16\nstride", "width = 0\nstride", "stage2.width: 0 is not accepted"),
        ("dropout = 0", "dropout = 1", "head.dropout: 1 is not accepted"),
        ("dropout = 0", "dropout = nan", "head.dropout: nan is not accepted"),
        ("dropout = 0", "dropout = inf", "head.dropout: inf is not accepted"),
        ("1e-3", "inf", "norm.eps: inf is not accepted"),
        ("stride = 1", "stride = 1\nse_ratio = nan", "stage1.se_ratio: nan is not accepted"),
        ("stride = 1", "stride = 1\nse_ratio = [nan, 0.5]", "stage1.se_ratio: nan is not accepted"),
        ("stride = 1", "stride = 1\nse_ratio = 1.5", "stage1.se_ratio: 1.5 is not accepted"),
        # what does not go together
        ('{ op = "skip" }', '{ op = "skip", kernel = 3 }', "a skip takes no kernel"),
        ('{ op = "skip" }', '{ op = "skip", se_ratio = 0.0 }', "a skip takes no se_ratio"),
        ('"mbconv"\nk', '"skip"\nk', "a skip takes no kernel"),
        ("block =", 'op = "mbconv"\nblock =', "a stage with block takes no op beside it"),
        ("block =", "kernel = 3\nblock =", "a stage with block takes no kernel beside it"),
        ('{ op = "skip" },', '{ op = "skip" }, { op = "skip" },', "a block stands twice"),
        ("block = [\n", "block = []\nlost = [\n", "stage2.block: [] is not accepted"),
        # not TOML, or not what TOML allows
        ("kernel = [3, 5]", "kernel = [3, 5]\nkernel = 3", "'kernel = 3'"),
        ("[head]", "[stem]", "'[stem]'"),
        ("kernel = [3, 5]", "kernel = [3, 5", "not TOML"),
        ("resolution = 32", "resolution = 0x" + "f" * 9999, "resolution: a value too long"),
    ],
)
def test_a_bad_file(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_space(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_space_needs_a_stage(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.split("[[stage]]")[0], encoding="utf-8")
    with pytest.raises(InputError, match="stage: missing key"):
        read_space(path)
    with pytest.raises(InputError, match=r"stage: \[\] is not accepted"):
        space_from_dict(made_up())


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(GOOD.replace("mine", "Größe").encode("latin-1"))
    with pytest.raises(InputError, match=r"mine\.toml: not UTF-8 text"):
        read_space(path)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(st.data())
def test_any_change_to_a_file_is_a_space_or_an_input_error(data: st.DataObject) -> None:
    table: Any = tomllib.loads(GOOD)
    inner = table
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inner[key], dict | list) or not inner[key] or data.draw(st.booleans()):
            inner[key] = data.draw(anything)
            break
        inner = inner[key]
    space: Any
    try:
        space = space_from_dict(table, "mine.toml")
    except InputError as error:
        space = error
    if isinstance(space, InputError):
        assert str(space).startswith("mine.toml: ")
        assert "\n" not in str(space)
    else:
        space.decode(space.sample(random.Random(0)))
