"""What a run leaves: the front, the baseline, the coefficients and the family, as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nas.accuracy import Accuracy
from nas.evaluation.journal import JOURNAL
from nas.evaluation.trial import Trial
from nas.files import write_json
from nas.networks.architecture_file import ArchitectureRecord, write_record
from nas.networks.compound_scaling import Coefficients
from nas.networks.cost import CONVENTION, measure_cost
from nas.networks.scaled_family import ScaledMember, scaled_family
from nas.networks.scaling_direction import Direction
from nas.records.run_state import FAMILY, RunState
from nas.spaces.latency_table import LatencyTable
from nas.strategies.comparison import SeededComparison
from nas.strategies.finalists import FinalistsResult
from nas.strategies.search import SearchResult

BASELINE_WEIGHTS = "baseline.safetensors"
"""The trained weights of a run's baseline, in its folder."""

EXPORTED = "exported"
"""The folder in a run's that its trained baseline is exported to."""


def run_files(folder: Path) -> list[str]:
    """Return the results of a run and its study, by path in its folder.

    Its own document is not among them, nor what a proxy keeps there to be resumed.
    """
    found = sorted((*folder.glob("*.json"), *(folder / FAMILY).glob("*.json")))
    names = [path.relative_to(folder).as_posix() for path in found]
    more = sorted((*folder.glob(BASELINE_WEIGHTS), *(folder / EXPORTED).glob("*.*")))
    others = [path.relative_to(folder).as_posix() for path in more]
    return [*(name for name in names if name != RunState.FILE), *others, JOURNAL]


def write_found(
    folder: Path,
    found: SearchResult,
    provenance: Mapping[str, Any],
    test: Accuracy | None,
    more: Mapping[str, Any],
    latencies: LatencyTable | None = None,
) -> tuple[ArchitectureRecord, tuple[ArchitectureRecord, ...]]:
    """Write ``front.json`` and ``baseline.json``; return the baseline and the front.

    The baseline's provenance has ``test`` and whatever ``more`` says of it. With ``latencies`` all
    say what theirs is.
    """
    front = front_records(found.front, provenance, latencies)
    baseline = baseline_record(found.baseline, provenance, test, more, latencies)
    write_json(folder / "front.json", {"points": [record.to_dict() for record in front]})
    write_record(baseline, folder / "baseline.json")
    return baseline, front


def front_records(
    front: Sequence[Trial], provenance: Mapping[str, Any], latencies: LatencyTable | None
) -> tuple[ArchitectureRecord, ...]:
    """Return the points of the front as ``front.json`` holds them."""
    return tuple(record_of(trial, provenance, latencies) for trial in front)


def baseline_record(
    baseline: Trial,
    provenance: Mapping[str, Any],
    test: Accuracy | None,
    more: Mapping[str, Any],
    latencies: LatencyTable | None,
) -> ArchitectureRecord:
    """Return the baseline as ``baseline.json`` holds it; see :func:`write_found`."""
    own = {**provenance, "test": None if test is None else test.to_dict(), **more}
    return record_of(baseline, own, latencies)


def write_family(
    folder: Path,
    baseline: ArchitectureRecord,
    coefficients: Coefficients | None,
    content: Mapping[str, Any],
) -> tuple[ArchitectureRecord, ...]:
    """Write ``coefficients.json``, whose content is given, and the family; return b0 … b7.

    Without coefficients, what was scaled earlier, perhaps from another baseline, is removed.
    """
    if coefficients is None:
        for path in (*(folder / FAMILY).glob("b*.json"), folder / "coefficients.json"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            (folder / FAMILY).rmdir()
        return ()
    members = family_of(baseline, coefficients)
    write_json(folder / "coefficients.json", dict(content))
    for member in members:
        write_record(member, folder / FAMILY / f"{member.architecture.name}.json")
    return members


def family_of(
    baseline: ArchitectureRecord, coefficients: Coefficients
) -> tuple[ArchitectureRecord, ...]:
    """Return b0 … b7 as their files hold them."""
    b0 = replace(baseline, architecture=replace(baseline.architecture, name="b0"))

    def scaled(member: ScaledMember) -> ArchitectureRecord:
        provenance = {
            "made_by": baseline.provenance["made_by"],
            "convention": CONVENTION,
            "baseline": baseline.architecture.name,
            "coefficients": asdict(coefficients),
            **member.to_dict(),
        }
        return ArchitectureRecord(
            member.architecture, measure_cost(member.architecture), None, provenance
        )

    members = scaled_family(b0.architecture, Direction.of(coefficients))
    return (b0, *(scaled(member) for member in members[1:]))


def write_finals(
    folder: Path, finals: FinalistsResult | None, test: SeededComparison | None
) -> None:
    """Write ``finalists.json``; without finals, what earlier ones left is removed.

    ``test``: the baseline, then the references that are others, on images that chose nothing.
    """
    path = folder / "finalists.json"
    if finals is None:
        path.unlink(missing_ok=True)
        return
    write_json(path, {**finals.to_dict(), "test": tested(test)})


def tested(test: SeededComparison | None) -> dict[str, Any] | None:
    """Return the test as ``finalists.json`` holds it; differences are to the first reference."""
    return None if test is None else test.to_dict(against=min(1, len(test.networks) - 1))


def record_of(
    trial: Trial, provenance: Mapping[str, Any], latencies: LatencyTable | None = None
) -> ArchitectureRecord:
    """Return a trial as an architecture file holds it."""
    origin = {"trial": trial.number, "choices": dict(trial.choices), **provenance}
    if latencies is not None:
        origin["latency"] = {
            "nanoseconds": latencies.of(trial.architecture),
            "setting": asdict(latencies.setting),
            "table": latencies.fingerprint(),
        }
    return ArchitectureRecord(trial.architecture, trial.cost, trial.accuracy, origin)
