"""A progress that shows nothing, and remembers what was noted."""


class Silent:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def phase(self, name: str, total: int | None, *, seconds: float | None = None) -> None: ...

    def advance(self, done: int, text: str = "", *, best: str = "") -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)
