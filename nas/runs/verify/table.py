"""Benchmark tables: that their rows are the networks drawn, and what the study says of them."""

from __future__ import annotations

from collections.abc import Iterator

from nas.errors import InputError
from nas.proxies.benchmark_table import read_table
from nas.records.table_document import TableDocument
from nas.runs.benchmark_table.make import OBJECTIVE, ROWS, STUDY
from nas.runs.benchmark_table.rows import draw_band, rows
from nas.runs.verify.json_diff import JsonDifference, differing, text
from nas.runs.verify.verified_folder import VerifiedFolder, VerifyStep, runs_of
from nas.spaces.budget import Budget
from nas.spaces.feasible import Feasible
from nas.spaces.registry import load_space


def table_parts(folder: VerifiedFolder) -> list[VerifyStep]:
    """Return what of a benchmark table can be computed again."""
    source = str(folder.path / TableDocument.FILE)
    document = TableDocument.from_dict(folder.document, source)
    return [VerifyStep("rows", ROWS, lambda: _rows(folder, document))]


def _rows(folder: VerifiedFolder, document: TableDocument) -> Iterator[JsonDifference]:
    identity = document.identity
    table = read_table(folder.path / ROWS)
    try:
        space = load_space(document.space)
    except InputError:
        space = None
    if space is None or space.fingerprint() != identity["space"]:
        folder.notes.append("the search space is not available: its networks are not drawn again")
        return
    low, high = identity["flops"]
    count, seed = identity["networks"], identity["seed"]
    listed = len({text(row.choices) for row in table.rows})
    if count > 10 * listed:  # to draw so many again would take for ever
        yield JsonDifference(ROWS, "networks", str(listed), str(count))
        return
    feasible = Feasible(space, Budget(f"{high}-flops", flops=high))
    networks = draw_band(feasible, (low, high), count, seed)
    order = {text(space.encode(network)): index for index, network in enumerate(networks)}
    found = [(order.get(text(row.choices)), row.more.get("seed")) for row in table.rows]
    for row, (place, _) in zip(table.rows, found, strict=True):
        if place is None:
            yield JsonDifference(ROWS, f"line {row.line}: choices", text(row.choices), "none drawn")
    known = [one for one in found if None not in one]
    yield from differing(ROWS, known, sorted(set(known)), "order of networks and seeds")
    with folder.study(STUDY) as study:
        if study is None:
            return
        measured = runs_of(networks, study, OBJECTIVE, seed, STUDY).all_measured()
        lines = [{"choices": r.choices, "accuracy": r.accuracy, **r.more} for r in table.rows]
        yield from differing(ROWS, lines, rows(networks, space, measured), "line ")
