"""`python -m stream`: the process that serves live data over WebSocket and server-sent events."""

import signal

from nautilus.settings.base import load
from nautilus.settings.stream import StreamSettings
from stream import app, server


def main() -> None:
    settings = load(StreamSettings)
    made = app.create(settings)
    running = server.server(made, made.state.stream)
    # The server raises again what it caught: then the process has closed its sockets already, and ends by itself.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    made.state.services.log.info("stream-starts", extra={"port": settings.stream_port})
    running.run(sockets=[server.listening(settings.api_host, settings.stream_port)])


if __name__ == "__main__":
    main()
