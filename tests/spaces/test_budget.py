"""Budgets: the grammar of the command line, the files, and what a limit allows."""

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nas.errors import InputError
from nas.networks.cost import Cost
from nas.spaces.budget import Budget, amount, parse_budget, read_budget
from tests.support.paths import ROOT

# ── The grammar ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("400M-flops", {"flops": 400_000_000}),
        ("400000000-flops", {"flops": 400_000_000}),
        ("0.39G-flops", {"flops": 390_000_000}),
        ("385.814752M-flops", {"flops": 385_814_752}),
        ("5.3M-params", {"params": 5_300_000}),
        ("250K-activations", {"activations": 250_000}),
        ("400M-flops+5.5M-params", {"flops": 400_000_000, "params": 5_500_000}),
        (
            "6M-activations+5.5M-params+400M-flops",
            {"flops": 400_000_000, "params": 5_500_000, "activations": 6_000_000},
        ),
        ("1-flops", {"flops": 1}),
        ("1.9-flops", {"flops": 1}),
        ("0.3M-flops", {"flops": 300_000}),  # exactly, though 0.3 * 10**6 is not
    ],
)
def test_what_is_accepted(text: str, limits: dict[str, int]) -> None:
    budget = parse_budget(text)
    assert budget.limits == limits
    assert budget.name == text


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("300M-flop", "300M-flop"),
        ("-5M-flops", "-5M-flops"),
        ("nan-flops", "nan-flops"),
        ("inf-flops", "inf-flops"),
        ("400M-flops+", ""),
        ("+400M-flops", ""),
        ("400M-flops++5M-params", ""),
        ("", ""),
        ("0-flops", "0-flops"),
        ("0.5-flops", "0.5-flops"),
        ("400m-flops", "400m-flops"),
        ("400M flops", "400M flops"),
        (" 400M-flops", " 400M-flops"),
        ("400M-flops\n", "400M-flops\\n"),
        ("1e8-flops", "1e8-flops"),
        ("400M-FLOPs", "400M-FLOPs"),
        ("4_00M-flops", "4_00M-flops"),
        (".5G-flops", ".5G-flops"),
        ("5.G-flops", "5.G-flops"),
        ("٤٠٠M-flops", "٤٠٠M-flops"),  # noqa: RUF001  digits, but not ours
        ("9" * 16 + "-flops", "9" * 16 + "-flops"),
        ("400M-flops+-5M-params", "-5M-params"),
    ],
)
def test_what_is_not_accepted(text: str, term: str) -> None:
    with pytest.raises(InputError) as error:
        parse_budget(text)
    assert f"'{term}' is not accepted" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_message_says_what_is_accepted() -> None:
    with pytest.raises(InputError, match=r"each <number><K\|M\|G>-<flops\|params\|activations>"):
        parse_budget("300M-flop")
    with pytest.raises(InputError, match="a limit is at least 1"):
        parse_budget("0-flops")


def test_a_metric_is_limited_once() -> None:
    with pytest.raises(InputError, match="flops is limited twice"):
        parse_budget("400M-flops+5M-params+300M-flops")


def test_latency_is_a_limit_like_others() -> None:
    budget = parse_budget("400M-flops+1.5ms-latency")
    assert budget.limits == {"flops": 400_000_000, "latency_ms": 1.5}
    assert str(budget) == "400M-flops+1.5ms-latency"
    assert parse_budget("20ms-latency").limits == {"latency_ms": 20.0}
    for text, said in (
        ("0ms-latency", "a limit is more than 0"),
        ("1ms-latency+2ms-latency", "latency_ms is limited twice"),
        ("1s-latency", "is not accepted: terms joined by"),
    ):
        with pytest.raises(InputError, match=said):
            parse_budget(text)


@given(st.text() | st.from_regex(r"[0-9.]{0,6}[KMGm]?s?-(flops?|params|latency)(\+.*)?"))
@example("400M-flops+400M-flops")
def test_any_text_is_a_budget_or_an_input_error(text: str) -> None:
    budget: Budget | InputError
    try:
        budget = parse_budget(text)
    except InputError as error:
        budget = error
    if isinstance(budget, InputError):
        assert "\n" not in str(budget)
    else:
        assert budget.limits
        assert all(limit > 0 for limit in budget.limits.values())


limits = st.none() | st.integers(1, 10**15)


@given(limits, limits, limits)
@example(385_814_752, 5_288_548, 6_747_036)
@example(1_000, 999, 1_000_000_001)
def test_a_budget_can_be_written_in_its_own_grammar(
    flops: int | None, params: int | None, activations: int | None
) -> None:
    budget = Budget("b", flops, params, activations)
    if budget.limits:
        assert parse_budget(str(budget)).limits == budget.limits


def test_a_budget_is_written_short() -> None:
    assert str(parse_budget("400000K-flops+5500000-params")) == "400M-flops+5.5M-params"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (400_000_000, "400M"),
        (385_814_752, "386M"),
        (1_230_000_000, "1.23G"),
        (37_745_884_192, "37.7G"),
        (999_999_999, "1G"),
        (999_499_999, "999M"),
        (5_288_548, "5.29M"),
        (10_000, "10K"),
        (999, "999"),
        (0, "0"),
        (12_345 * 10**9, "12300G"),
    ],
)
def test_amount(value: int, text: str) -> None:
    assert amount(value) == text


# ── What a budget allows ─────────────────────────────────────────────────────────────────────────


@given(limits, limits, limits, st.integers(0, 10**15), st.integers(0, 10**15), st.integers(0, 9))
def test_every_limit_is_hard(
    flops: int | None, params: int | None, activations: int | None, a: int, b: int, c: int
) -> None:
    allowed = Budget("b", flops, params, activations).allows(Cost(a, b, c))
    pairs = ((a, flops), (b, params), (c, activations))
    assert allowed == all(limit is None or value <= limit for value, limit in pairs)


def test_a_limit_itself_is_allowed() -> None:
    budget = parse_budget("100-flops+10-params")
    assert budget.allows(Cost(100, 10, 10**9))
    assert not budget.allows(Cost(101, 10, 0))
    assert not budget.allows(Cost(100, 11, 0))


# ── Files ────────────────────────────────────────────────────────────────────────────────────────

GOOD = 'schema = "nas-search-budget/1"\ndescription = "a phone"\n[limits]\nflops = 400_000_000\n'


@pytest.mark.parametrize("path", sorted((ROOT / "budgets").glob("*.toml")), ids=lambda p: p.stem)
def test_presets_say_what_their_names_say(path: Path) -> None:
    budget = read_budget(path)
    assert budget.name == path.stem
    assert budget.limits == parse_budget(path.stem).limits
    assert budget.description


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "phone.toml"
    path.write_text(GOOD + "params = 5_000_000\nactivations = 6_000_000\n", encoding="utf-8")
    expected = Budget("phone", 400_000_000, 5_000_000, 6_000_000, "a phone")
    assert read_budget(path) == expected


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("budget/1", "budget/2", "schema: 'nas-search-budget/2' is not accepted"),
        ('schema = "nas-search-budget/1"\n', "", "schema: missing key"),
        ("[limits]\nflops = 400_000_000\n", "", "limits: missing key"),
        ("flops = 400_000_000", "", "no limit is set; accepted: flops, params, activations"),
        ("flops = 400", "flop = 400", "limits.flop: unknown key"),
        ("description", "descriptoin", "descriptoin: unknown key"),
        ("400_000_000", "0", "limits.flops: 0 is not accepted"),
        ("400_000_000", "-5", "limits.flops: -5 is not accepted"),
        ("400_000_000", "4e8", "limits.flops: 400000000.0 is not accepted"),
        ("400_000_000", "nan", "limits.flops: nan is not accepted"),
        ("400_000_000", "inf", "limits.flops: inf is not accepted"),
        ("400_000_000", "true", "limits.flops: True is not accepted"),
        ("400_000_000", '"400M"', "limits.flops: '400M' is not accepted"),
        ("400_000_000", "[400_000_000]", "limits.flops: [400000000] is not accepted"),
        ("400_000_000", "0x" + "f" * 10_000, "limits.flops: a value too long to show"),
        ("flops = 400_000_000", "latency_ms = 0", "limits.latency_ms: 0 is not accepted"),
        ("flops = 400_000_000", "latency_ms = nan", "limits.latency_ms: nan is not accepted"),
        ('"a phone"', "5", "description: 5 is not accepted"),
        ("[limits]", "[[limits]]", "limits: [{"),
        ("flops = 400_000_000", "flops = 1\nflops = 2", "'flops = 2'"),
        ("flops = 400_000_000", "flops = ", "not TOML"),
    ],
)
def test_a_bad_file(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    path = tmp_path / "phone.toml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_budget(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
