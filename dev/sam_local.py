"""The built functions behind `sam local start-api`, with the containers of infra/compose.yaml behind them (make sam-local).

Starts it, shows the demonstration against it, and ends it; with --keep it stays until Ctrl-C.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from dev.demo import show_at
from dev.environment import CLIENT_ENVIRONMENT, environment
from dev.process import Group, StartError, end_on_signals, free_port
from dev.up import say

ENVIRONMENT_FILE = Path(".aws-sam/env.local.json")
LOG = Path(".aws-sam/sam-local.log")


def in_api(compose: list[str], *command: str) -> str:
    """What a command says inside the API's container."""
    done = subprocess.run([*compose, "exec", "-T", "api", *command], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def main() -> int:
    options = _options()
    compose = shlex.split(options.compose)
    end_on_signals()
    port = options.port or free_port()
    try:
        ENVIRONMENT_FILE.write_text(in_api(compose, "python", "-m", "dev.container", "sam-env"))
        password = in_api(compose, "cat", "/data/trader.password").strip()
        os.environ["NAUTILUS_DEMO_PASSWORD"] = password
        with Group() as group:
            say("sam local start-api ...")
            group.start(
                "sam",
                [*shlex.split(options.sam), "--docker-network", options.network, "--port", str(port)],
                log=LOG,
                ready=lambda child: child.logged("Running on"),
                env=environment(CLIENT_ENVIRONMENT),  # SAM insists on credentials and uses none
                stop_signal=signal.SIGTERM,
            ).wait_ready(within_s=180)
            status = show_at(f"http://127.0.0.1:{port}")
            if options.keep:
                say(f"\nsam local listens on http://127.0.0.1:{port} until Ctrl-C; its log is {LOG}")
                while not group.ended():
                    time.sleep(0.5)
    except (StartError, subprocess.CalledProcessError) as error:
        print(f"sam local cannot run: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _options() -> argparse.Namespace:
    made = argparse.ArgumentParser("make sam-local", description=__doc__)
    made.add_argument("--compose", required=True, help="the docker compose command, with its files")
    made.add_argument("--sam", required=True, help="the sam local start-api command")
    made.add_argument("--network", required=True, help="the network of these containers")
    made.add_argument("--port", type=int, help="port of the API (default: a free one)")
    made.add_argument("--keep", action="store_true", help="stay until Ctrl-C")
    return made.parse_args()


if __name__ == "__main__":
    sys.exit(main())
