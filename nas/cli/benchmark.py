"""The command ``table``: networks of a space, each trained alone, as a benchmark table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nas.cli.console import Show, print_json, print_lines, print_written
from nas.cli.options import check_device, kept, positive
from nas.errors import InputError
from nas.files import digest, write_text
from nas.spaces.budget import Budget, parse_range
from nas.spaces.registry import load_space

ROWS = "table.jsonl"
STUDY = "table"


def make_table(
    space_name: str,
    data_name: str | None,
    *,
    flops: str,
    networks: int,
    seeds: int,
    images: int | None,
    seconds: float | None,
    seed: int,
    jobs: int | None,
    device: str,
    out: Path,
    json: bool,
    quiet: bool,
) -> None:
    """Train random networks within a band of FLOPs, and write a line for each training."""
    from nas.data.dataset import channels_for, load_data
    from nas.environment import environment
    from nas.errors import EvaluationFailed
    from nas.evaluation.journal import JOURNAL
    from nas.evaluation.local import default_jobs, jobs_that_fit, local_engine
    from nas.evaluation.objective import Objective
    from nas.evaluation.seeded_runs import SeededRuns
    from nas.evaluation.study import Study
    from nas.progress import ALREADY
    from nas.proxies.presets import default_settings, final_settings
    from nas.proxies.short_training import TrainingProxy
    from nas.records.documents import TableDocument
    from nas.records.result_folder import ResultFolder
    from nas.runs.benchmark_table.rows import draw_band, rows, to_lines
    from nas.spaces.feasible import Feasible

    for what, value, highest in (("networks", networks, 10_000), ("seeds", seeds, 100)):
        if not 1 <= value <= highest:
            raise InputError(f"{what}: {value} is not accepted: 1 to {highest:,}")
    positive("jobs", jobs)
    if images is not None and not 256 <= images <= 10**9:
        raise InputError(f"images: {images} is not accepted: 256 to {10**9:,}")
    check_device(device)
    band = parse_range(flops)
    space = load_space(space_name)
    feasible = Feasible(space, Budget(f"{band[1]}-flops", flops=band[1]))
    feasible.check()
    drawn = draw_band(feasible, band, networks, seed)
    start = time.monotonic()
    with Show(quiet=quiet) as show, kept(out), ResultFolder.open(out, TableDocument) as results:
        data = load_data(data_name, channels_for(space, data_name), show, show.note)
        jobs = jobs_that_fit(jobs or default_jobs(device), {"the images": data.nbytes}, show.note)
        settings = final_settings(default_settings(data, space))
        settings = replace(settings, images_seen=images or settings.images_seen)
        seen = [
            replace(network, in_channels=data.channels, num_classes=data.num_classes)
            for network in drawn
        ]
        proxy = TrainingProxy(data, settings, device)
        proxy.prepare(space, Budget("none"), out)
        identity = {
            "space": digest(asdict(space)),
            "data": data.fingerprint,
            "flops": list(band),
            "networks": networks,
            "training": proxy.describe(),
            "seed": seed,
        }
        results.check_identity(identity)
        document = TableDocument(
            identity=identity, space=space.name, data=data.name, **environment()
        )
        results.save(document)
        objective = Objective("accuracy", "loss")
        study = Study(out, STUDY, {}, metric=objective.name)
        show.phase("train", seeds * networks)
        if study.rows():
            show.advance(len(study.rows()), ALREADY)
        with closing(local_engine(proxy, jobs)) as engine:
            rounds = SeededRuns(
                seen,
                study,
                engine,
                objective,
                seed=seed,
                purpose=STUDY,
                deadline=None if seconds is None else start + seconds,
                on_evaluation=lambda done, total: show.advance(1),
            )
            for turn in range(seeds):
                if not rounds.run(turn, range(networks)):
                    show.note("the time limit was reached: rerun the command to resume")
                    break
        found = list(rows(drawn, space, rounds))
        if not found:
            reasons = filter(None, map(rounds.reason, range(networks)))
            raise EvaluationFailed(
                f"nothing was measured: {next(reasons, 'the time ended before')}"
            )
        write_text(out / ROWS, to_lines(found))
        results.finish(document, [ROWS, JOURNAL])
    failed = len(study.rows()) - len(found)
    result = {"out": str(out / ROWS), "networks": networks, "rows": len(found), "failed": failed}
    if json:
        print_json(result)
    elif not quiet:
        _print(result, found)


def _print(result: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> None:
    accuracies = [row["accuracy"] for row in found]
    print_lines(
        f"{result['rows']} rows of {result['networks']} networks, validation accuracy "
        f"{min(accuracies):.3f} to {max(accuracies):.3f}"
        + (f"; {result['failed']} trainings failed" if result["failed"] else "")
    )
    print_written(Path(result["out"]).parent)
