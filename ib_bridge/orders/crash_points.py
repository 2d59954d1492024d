"""Where the order process ends itself by SIGKILL, for tests of what a crash leaves behind. Refused when deployed."""

import os
import signal

from nautilus.settings.orders import CrashPoint


class CrashPoints:
    """At most one point is armed."""

    def __init__(self, armed: CrashPoint) -> None:
        self._armed = armed

    def reached(self, point: CrashPoint) -> None:
        """Die here, if this is the point."""
        if point == self._armed != "none":
            os.kill(os.getpid(), signal.SIGKILL)
