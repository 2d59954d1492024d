"""What keeps a process from working at all."""


class CannotStart(RuntimeError):
    """Something a person must put right first; the sentence says what."""
