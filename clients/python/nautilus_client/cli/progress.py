"""A line on the terminal that is written anew; nothing where there is no terminal."""

import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO


class Line:
    """One line. On no terminal only what ends it is written."""

    def __init__(self, output: TextIO = sys.stderr, *, quiet: bool = False) -> None:
        self._output = output
        self._quiet = quiet
        self._live = output.isatty()
        self._open = False

    def show(self, text: str, *, ended: bool = False) -> None:
        if self._quiet:
            return
        if self._live:
            self._output.write(f"\r\x1b[K{text}\n" if ended else f"\r\x1b[K{text[: self._width()]}")
        elif ended:
            self._output.write(text + "\n")
        self._open = self._live and not ended
        self._output.flush()

    def _width(self) -> int:
        """What fits: a line that is wrapped cannot be written anew, and each state of it would stay."""
        try:
            return (os.get_terminal_size(self._output.fileno()).columns or 80) - 1
        except (AttributeError, ValueError, OSError):
            return 79

    def end(self) -> None:
        """Leave the line as it is."""
        if self._open:
            self._output.write("\n")
            self._open = False


def job_text(job: Mapping[str, Any]) -> str:
    """A backfill job in a line: how far it is, and what it waits for."""
    progress = job.get("progress") or {}
    parts = [str(job.get("status")), f"{progress.get('chunks_done', 0)}/{progress.get('chunks_total', 0)} requests"]
    parts.append(f"{progress.get('bars_written', 0):,} bars")
    if job.get("blocked_on"):
        parts.append(f"waits for {str(job['blocked_on']).replace('_', ' ')}")
    if job.get("next_request_at"):
        parts.append(f"next request at {str(job['next_request_at'])[11:19]}")
    if job.get("eta_seconds"):
        parts.append(f"about {span(job['eta_seconds'])} left")
    return "  ".join(parts)


def export_text(export: Mapping[str, Any]) -> str:
    """An export in a line: how far it is."""
    progress = export.get("progress") or {}
    done = f"{progress.get('files_done', 0)}/{progress.get('files_total', 0)} files"
    return f"{export.get('status')}  {done}  {progress.get('bars_done', 0):,} bars"


def span(seconds: float) -> str:
    """A length of time for people: `8 min 14 s`."""
    whole = round(seconds)
    hours, minutes = whole // 3_600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
