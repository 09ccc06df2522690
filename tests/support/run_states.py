"""A made-up ``run.json``, whole, for tests that change one thing of it."""

from typing import Any

from nas.records.run_state import RunState


def run_state(**changes: Any) -> dict[str, Any]:
    """Return the state of a run that has just begun, as its file holds it, with some changes."""
    return {
        "schema": RunState.SCHEMA,
        "status": "running",
        "identity": {
            "space": "0" * 64,
            "budget": {"flops": 400_000_000},
            "data": None,
            "proxy": "imagenet",
            "coefficients": "prior",
            "latency": None,
            "objective": "accuracy",
            "sampler": "random",
            "seed": 0,
            "augment": None,
            "start": [],
            "plugins": {},
        },
        "command": None,
        "space": "efficientnet",
        "budget": "400M-flops",
        "storage": None,
        "plan": None,
        "data": None,
        "jobs": 1,
        "device": "cpu",
        "versions": {},
        "machine": {},
        "git_commit": None,
        "study": "mine",
        "driver": "d",
        "driver_at": "here",
        "phase": None,
        "phases": {},
        "until": None,
        "seconds": {},
        "sessions": 1,
        "latency": None,
        "trials": None,
        "check": None,
        "notes": [],
        "files": {},
        **changes,
    }
