"""The line that an interrupted command ends with."""


def resumable(said: str) -> bool:
    """Whether an interrupted command says, in its last line, that it can be resumed."""
    last = said.rstrip("\n").splitlines()[-1]
    assert last.startswith("nas-search: interrupted"), said
    assert "Traceback" not in said
    return "resume" in last
