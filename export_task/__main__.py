"""`python -m export_task`: the process that writes exports to files."""

import signal
import threading

from export_task.task import Task
from nautilus.log import logger
from nautilus.settings.base import load
from nautilus.settings.exports import ExportTaskSettings


def main() -> None:
    settings = load(ExportTaskSettings)
    ends = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ends.set())
    log = logger("exports", settings.log_level)
    task = Task(settings, log, ends)
    log.info("export-task-starts", extra={"folder": settings.export_dir, "bucket": settings.export_bucket})
    try:
        task.run()
    finally:
        task.close()
    log.info("export-task-ends")


if __name__ == "__main__":
    main()
