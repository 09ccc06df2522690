"""``nas-search reproduce b0``: gathers the evidence and writes a folder of it, all at the end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from nas.environment import environment
from nas.errors import EvaluationFailed, check_range
from nas.evaluation.local import default_jobs
from nas.evaluation.process_pool import WorkerDied, compute_in_parallel
from nas.files import to_json, write_bytes
from nas.progress import Progress, SilentProgress
from nas.records.reproduction_document import ReproductionDocument
from nas.records.result_folder import ResultFolder
from nas.report.reproduction_plot import draw
from nas.runs.reproduction.document import Documents, identity
from nas.runs.reproduction.evidence import (
    OBJECTIVES,
    Evidence,
    Question,
    ReproductionSettings,
    gather,
)

FILES = (
    "discovery.json",
    "b0.json",
    *(f"best-{objective}.json" for objective in OBJECTIVES),
    "discovery.png",
    "discovery.svg",
)


def reproduce(
    settings: ReproductionSettings,
    out: Path,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Search the space of EfficientNet-B0 for it, write the folder, return ``discovery.json``.

    Nothing is written before everything is known. The same settings write the same bytes, whatever
    the jobs; ``run.json`` alone has times and the machine.

    Args:
        settings: what is asked.
        out: folder of the reproduction.
        jobs: parallel processes; None: one a core.
        progress: shows how far it is; None: nothing is shown.

    Raises:
        InputError: the folder is in use, holds something else or cannot be written.
        EvaluationFailed: a worker process was killed.
    """
    check_range("jobs", jobs, 1)
    start = time.monotonic()
    jobs = jobs or default_jobs("cpu")
    progress = progress or SilentProgress()
    progress.phase("reproduce b0", settings.steps)
    question = Question()
    own = identity(question, settings)
    with ResultFolder.open(out, ReproductionDocument, progress.note) as results:
        results.check_identity(own)
        try:
            evidence = gather(settings, jobs, progress.advance)
            [documents] = compute_in_parallel([Documents(evidence)], 1, progress.advance)
        except WorkerDied as error:
            raise EvaluationFailed(str(error)) from None
        gathered = time.monotonic()
        files = {name: to_json(content).encode() for name, content in documents.items()}
        data = documents["discovery.json"]
        files |= {f"discovery.{kind}": part for kind, part in _picture(evidence, data).items()}
        document = ReproductionDocument(
            identity=own,
            jobs=jobs,
            **environment(),
            seconds={
                "evidence": round(gathered - start, 1),
                "writing": round(time.monotonic() - gathered, 1),
            },
        )
        results.save(document)
        for name in FILES:
            write_bytes(results.path / name, files[name])
        results.finish(document, FILES)
    return data


def _picture(evidence: Evidence, data: dict[str, Any]) -> dict[str, bytes]:
    draws = evidence.draws
    trials = {
        objective: [(t.cost.flops, t.accuracy.mean) for t in found.trials if t.accuracy is not None]
        for objective, found in evidence.searches.items()
    }
    return draw((draws.flops.astype(float), draws.accuracy), trials, data)
