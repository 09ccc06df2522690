"""What ``discovery.json`` means, in sentences, and where the evidence stops."""

from __future__ import annotations

from typing import Any

from nas.accuracy import percent
from nas.spaces.budget import amount


def points(difference: float) -> str:
    """Return a difference of accuracies in [0, 1] in percentage points, without its sign."""
    return f"{abs(100 * difference):.2f} points"


def conclusions(data: dict[str, Any]) -> list[str]:
    """Return what the numbers of ``discovery.json`` say, a sentence or two each."""
    return [
        _b0(data),
        _random(data),
        _by_accuracy(data),
        _by_reward(data),
        _front(data),
        _matching(data),
        _table(data),
    ]


def limits(data: dict[str, Any]) -> list[str]:
    """Return where the evidence stops."""
    b0, proxy, rows = data["b0"], data["settings"]["proxy"], data["table"]["rows"]
    best, measured = data["best"]["accuracy"], data["table"]["best_within_budget"]["accuracy"]
    beyond = best["corrected"] - measured
    return [
        f"Every accuracy is a prediction, by a model of {rows:,} networks that were really trained "
        "(Accel-NASBench): for 16 epochs, at 160 to 192 pixels. None is the ImageNet accuracy of a "
        "network trained to the end, and networks may rank differently there.",
        "Each of these networks was trained with one seed. A prediction is wrong by "
        f"{points(b0['standard_error'])} (one standard error, at B0) where one training is the "
        f"judge; on networks left out, by {points(proxy['rmse'])} (RMSE).",
        "The best of many predictions is too high: by "
        f"{points(best['accuracy'] - best['corrected'])} on average, which 'corrected' takes off. "
        "Ranks, the front and 'matched' are of predictions as they are: some of what is above B0 "
        "is so by the model's error.",
        f"B0 itself {'was' if data['table']['has_b0'] else 'was not'} among them: its own accuracy "
        "is predicted as well. The best found, corrected, is "
        f"{points(beyond)} {_side(beyond)} the best that was measured within the budget"
        + (": more than anything there has shown." if beyond > 0 else "."),
        "The space has B0's stem, head, widths and strides already: what can be discovered here is "
        "kernels, expansions, layers and squeeze-excite.",
    ]


def _b0(data: dict[str, Any]) -> str:
    b0 = data["b0"]
    return (
        f"EfficientNet-B0 has {100 * b0['accuracy']:.2f} ± {percent(b0['standard_error'])} "
        f"{data['metric']}, at {b0['cost']['flops']:,} FLOPs; its reward is {b0['reward']:.4f}."
    )


def _random(data: dict[str, Any]) -> str:
    random = data["random"]
    accuracy, reward = random["accuracy"], random["reward"]
    return (
        f"Among {random['within_budget']:,} random networks within {_budget(data)} it has rank "
        f"{accuracy['rank_of_b0']} by accuracy and {reward['rank_of_b0']} by reward; "
        f"{_are(random['as_accurate_as_b0_at_its_flops'])} as accurate at no more FLOPs. The most "
        f"accurate has {percent(accuracy['best']['accuracy'])}, the median "
        f"{percent(accuracy['quantiles']['0.5'])}."
    )


def _by_accuracy(data: dict[str, Any]) -> str:
    best = data["best"]["accuracy"]
    return (
        f"The search by accuracy ({best['trials']} trials, {data['settings']['sampler']}) finds "
        f"{percent(best['accuracy'])} at {amount(best['cost']['flops'])} FLOPs, "
        f"{_beside_b0(best)}"
    )


def _by_reward(data: dict[str, Any]) -> str:
    best, b0 = data["best"]["reward"], data["b0"]
    against, exponent = best["against_b0"], data["settings"]["reward_exponent"]
    text = (
        f"The search by reward (w = {exponent:g}) finds reward {best['reward']:.4f} with "
        f"{percent(best['accuracy'])} at {amount(best['cost']['flops'])} FLOPs, {_beside_b0(best)}"
    ).replace("-", "−", 1)
    ratio = against["flops_ratio"]
    if ratio < 1 and best["reward"] > b0["reward"]:
        # As much less accurate as B0 would be with the same reward at so many FLOPs.
        allowed = b0["accuracy"] * (1 - ratio**-exponent)
        text += (
            f" For {100 * (1 - ratio):.0f} % fewer FLOPs than B0's the reward forgives "
            f"{points(allowed)} of accuracy; on this data they cost {_cost(-against['accuracy'])}: "
            "so it prefers networks cheaper than B0. Whether it would after full training, 16 "
            "epochs cannot say."
        )
    return text


def _cost(lost: float) -> str:
    return points(lost) if lost > 0 else "nothing"


def _beside_b0(best: dict[str, Any]) -> str:
    """Say how far from B0 a best network is: as predicted, and corrected, with its error."""
    against = best["against_b0"]
    low, high = (100 * value for value in against["interval_90"])
    verdict = (
        "more than the error"
        if against["told_apart"]
        else "less than the error, so not significant"
    )
    return (
        f"{points(against['accuracy'])} {_side(against['accuracy'])} B0; corrected for being the "
        f"best of many, {points(against['corrected'])} {_side(against['corrected'])} (90 % "
        f"interval {low:+.2f} to {high:+.2f}), {verdict}."
    ).replace("-", "−")


def _side(difference: float) -> str:
    return "above" if difference >= 0 else "below"


def _front(data: dict[str, Any]) -> str:
    front = data["front"]
    tried = [name for name, best in data["best"].items() if best["b0_was_tried"]]
    found = (
        f"B0 was tried in the search by {' and by '.join(tried)}" if tried else "No trial was B0"
    )
    if front["b0_is_on_it"]:
        return f"{found}. It is on the front of both searches: no trial dominates it."
    above = [point for point in front["points"] if point["dominates_b0"]]
    cheapest, best = above[0], above[-1]
    text = (
        f"{found}, and it is not on the front of both searches: of the front's "
        f"{len(front['points'])} networks {_are(front['dominating'])} as accurate at no more "
        f"FLOPs, {front['dominating_told_apart'] or 'none'} by more than the error. The most "
        f"accurate of these has {percent(best['accuracy'])} at {amount(best['flops'])}"
    )
    if cheapest is not best:
        text += f", the cheapest {percent(cheapest['accuracy'])} at {amount(cheapest['flops'])}"
    return text + "."


def _are(count: int) -> str:
    return "none is" if count == 0 else "1 is" if count == 1 else f"{count:,} are"


def _matching(data: dict[str, Any]) -> str:
    matching = data["matching"]
    each = "; ".join(
        f"{sampler} {median_text(row['median'], matching['most'])} "
        f"({row['matched']} of {row['of']} within {matching['most']})"
        for sampler, row in matching["samplers"].items()
    )
    return (
        "Evaluations until a network is as accurate as B0 at no more FLOPs, median over the seeds: "
        f"{each}."
    )


def median_text(median: float | None, most: int) -> str:
    """Return a median of evaluations, where None is more than the most that were tried."""
    return f"more than {most}" if median is None else f"{median:g}"


def _table(data: dict[str, Any]) -> str:
    table, near = data["table"], data["b0"]["nearest"][0]
    best, as_good = table["best_within_budget"], table["as_accurate_as_b0_is_predicted"]
    return (
        f"Of the {table['rows']:,} networks that were really trained, {table['within_budget']:,} "
        f"are within the budget; {as_good or 'none'} of these measured what B0 is predicted or "
        f"more. The best of them measured {percent(best['accuracy'])} at "
        f"{amount(best['flops'])} FLOPs. The nearest to B0, as the model sees it, differs in "
        f"{near['different_choices']} of {len(near['choices'])} choices and measured "
        f"{percent(near['accuracy'])} at {amount(near['flops'])}."
    )


def _budget(data: dict[str, Any]) -> str:
    return f"{amount(data['settings']['budget']['flops'])} FLOPs"
