"""The script and the transcript of docs/simulator.md are what happens; every command and option is documented."""

import re
import subprocess
import sys

from ib_gateway_sim.__main__ import parser
from ib_gateway_sim.control.table import COMMANDS
from tests.support.sim_process import ROOT, simulator

PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")


def test_the_transcript_is_what_the_script_prints():
    script = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    transcript = re.findall(r"```\n(360 bars.*?)```", PAGE, re.DOTALL)[0]
    commands = re.findall(r"^ {20,}(\w[^{]*)$", transcript, re.MULTILINE)
    printed = [line for line in transcript.splitlines() if re.match(r"\d+ bars|IB says", line)]
    assert len(commands) == 3
    assert len(printed) == 5
    options = re.findall(r"--(start) (\S+)", PAGE)[0]
    with simulator(f"--{options[0]}", options[1]) as sim:
        running = subprocess.Popen(
            [sys.executable, "-u", "-c", script.replace("4002", str(sim.port))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert running.stdin is not None
        assert running.stdout is not None
        seen = ""
        while "bars" not in seen:
            seen += running.stdout.readline()
        for command in commands:
            sim.command(command)
        out, _ = running.communicate("\n\n", timeout=30)
    assert running.returncode == 0
    lines = re.sub(r"\(type commands in the other terminal, then Enter here\) ", "\n", seen + out).splitlines()
    known = [line.strip() for line in lines if line.strip() in printed]
    assert known[known.index(printed[0]) :] == printed  # before it come the notices of the start


def test_the_transcript_of_an_order_is_what_its_script_prints():
    section = PAGE.partition("## An order that is hard to know")[2].partition("\n## ")[0]
    script, transcript = re.findall(r"```(?:python)?\n(.*?)```", section, re.DOTALL)
    with simulator("--start", "2026-03-02T17:00:00Z") as sim:
        script = script.replace("4002", str(sim.port)).replace("4003", str(sim.ready["control_port"]))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == transcript, done.stderr


def test_every_option_is_documented():
    options = {name for action in parser()._actions for name in action.option_strings if name.startswith("--")}
    assert {name for name in options - {"--help"} if f"{name} " not in PAGE and f"{name}`" not in PAGE} == set()


def test_every_command_is_documented_with_its_arguments_and_explains_itself():
    table = PAGE.partition("| command | effect |")[2].partition("\n\n")[0]
    documented = {usage for row in table.splitlines()[2:] for usage in re.findall(r"`([^`]+)`", row.split(" | ")[0])}
    assert documented == {command.usage for command in COMMANDS.values()} - {"help"}
    assert all(command.documentation for command in COMMANDS.values())
