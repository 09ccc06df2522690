"""What a run leaves: the front, the baseline, the coefficients and the family, as files."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from nas.accuracy import Accuracy
from nas.architecture import Architecture
from nas.cost import CONVENTION, measure_cost
from nas.files import validate, write_json
from nas.folder import FAMILY
from nas.grid import GridResult
from nas.record import Record, read_record
from nas.scaling import family
from nas.search import SearchResult
from nas.trial import Trial

_ACCURACY: TypeAdapter[Accuracy] = TypeAdapter(Accuracy)


def write_found(
    folder: Path,
    found: SearchResult,
    provenance: dict[str, Any],
    test: Accuracy | None,
    more: dict[str, Any],
) -> tuple[Record, tuple[Record, ...]]:
    """Write ``front.json`` and ``baseline.json``; return the baseline and the front.

    The baseline's provenance has ``test`` and whatever ``more`` says of it.
    """
    front = tuple(_record(trial, provenance) for trial in found.front)
    tested = {"test": None if test is None else test.to_dict()}
    baseline = _record(found.baseline, {**provenance, **tested, **more})
    write_json(folder / "front.json", {"points": [record.to_dict() for record in front]})
    write_json(folder / "baseline.json", baseline.to_dict())
    return baseline, front


def write_family(folder: Path, baseline: Record, grid: GridResult | None) -> tuple[Record, ...]:
    """Write ``coefficients.json`` and the family; return b0 … b7.

    Without a grid, what was scaled earlier, perhaps from another baseline, is removed.
    """
    if grid is None:
        for path in (*(folder / FAMILY).glob("b*.json"), folder / "coefficients.json"):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            (folder / FAMILY).rmdir()
        return ()
    coefficients = grid.chosen.point.coefficients
    b0 = replace(baseline, architecture=replace(baseline.architecture, name="b0"))

    def scaled(phi: int, network: Architecture) -> Record:
        provenance = {
            "made_by": baseline.provenance["made_by"],
            "convention": CONVENTION,
            "baseline": baseline.architecture.name,
            "coefficients": asdict(coefficients),
            "phi": phi,
        }
        return Record(network, measure_cost(network), None, provenance)

    networks = family(b0.architecture, coefficients)
    members = (b0, *(scaled(phi, network) for phi, network in enumerate(networks) if phi > 0))
    write_json(folder / "coefficients.json", grid.to_dict())
    for member in members:
        write_json(folder / FAMILY / f"{member.architecture.name}.json", member.to_dict())
    return members


def known_test(folder: Path, architecture: Architecture) -> Accuracy | None:
    """Return the test accuracy that the folder's baseline has, if it is this architecture.

    The test images are looked at once: a resumed run takes what the first one saw.
    """
    path = folder / "baseline.json"
    if not path.exists():
        return None
    before = read_record(path)
    known = before.provenance.get("test")
    if known is None or before.architecture.key() != architecture.key():
        return None
    return validate(_ACCURACY, known, f"{path}: provenance.test")


def _record(trial: Trial, provenance: dict[str, Any]) -> Record:
    return Record(
        trial.architecture,
        trial.cost,
        trial.accuracy,
        {"trial": trial.number, "choices": dict(trial.choices), **provenance},
    )
