"""Benchmark tables: that their rows are the networks drawn, and what the study says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter

from nas.errors import InputError
from nas.evaluation.objective import Objective
from nas.files import digest, validate
from nas.proxies.benchmark_table import read_table
from nas.runs.benchmark_table.rows import draw_band, rows
from nas.runs.verify.json_diff import Difference, differing, text
from nas.runs.verify.result_folder import Part, Written, rounds_of
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space

ROWS = "table.jsonl"
STUDY = "table"

_Flops = Annotated[int, Field(strict=True, ge=0)]


class _Identity(BaseModel):
    space: str
    flops: tuple[_Flops, _Flops]
    networks: Annotated[int, Field(strict=True, ge=1)]
    seed: Annotated[int, Field(strict=True)]


_IDENTITY: TypeAdapter[_Identity] = TypeAdapter(_Identity)


def table_parts(written: Written) -> list[Part]:
    """Return what of a benchmark table can be computed again."""
    return [Part("rows", ROWS, lambda: _rows(written))]


def _rows(written: Written) -> Iterator[Difference]:
    identity = validate(_IDENTITY, written.document["identity"], f"{written.file}: identity")
    table = read_table(written.folder / ROWS)
    try:
        space = load_space(written.document["space"])
    except InputError:
        space = None
    if space is None or digest(asdict(space)) != identity.space:
        written.notes.append("the search space is not known here: its networks are not drawn again")
        return
    low, high = identity.flops
    listed = len({text(row.choices) for row in table.rows})
    if identity.networks > 10 * listed:  # to draw so many again would take for ever
        yield Difference(ROWS, "networks", str(listed), str(identity.networks))
        return
    feasible = Feasible(space, Budget(f"{high}-flops", flops=high))
    networks = draw_band(feasible, (low, high), identity.networks, identity.seed)
    order = {text(space.encode(network)): index for index, network in enumerate(networks)}
    found = [(order.get(text(row.choices)), row.more.get("seed")) for row in table.rows]
    for row, (place, _) in zip(table.rows, found, strict=True):
        if place is None:
            yield Difference(ROWS, f"line {row.line}: choices", text(row.choices), "none drawn")
    known = [one for one in found if None not in one]
    yield from differing(ROWS, known, sorted(set(known)), "order of networks and seeds")
    with written.study(STUDY) as study:
        if study is None:
            return
        objective = Objective("accuracy", "loss")
        rounds = rounds_of(networks, study, objective, identity.seed, STUDY)
        lines = [{"choices": r.choices, "accuracy": r.accuracy, **r.more} for r in table.rows]
        yield from differing(ROWS, lines, rows(networks, space, rounds), "line ")
