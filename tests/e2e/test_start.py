"""Starting on any machine: what the shell says to others, what lies in the way, and Ctrl-C at any moment."""

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from dev import live_show, strategies_show
from dev.environment import REPOSITORY
from dev.postgres import start_postgres
from dev.process import Group, held_back_signals
from tests.e2e.test_stack import running

OTHERS = {
    "AWS_PROFILE": "nobody",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "PGOPTIONS": "-c no_such_setting=1",
    "PGSERVICE": "nowhere",
    "PGSSLMODE": "verify-full",
    "PGCHANNELBINDING": "require",
    "PYTHONWARNINGS": "default",
    "PYTHONHASHSEED": "5",
    "MOTO_ACCOUNT_ID": "not a number",
    "WERKZEUG_RUN_MAIN": "true",
    "WERKZEUG_SERVER_FD": "77",
    "WEB_CONCURRENCY": "8",
    "FORWARDED_ALLOW_IPS": "*",
}


def command(module: str, *words: str, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    path = {"PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'layers' / 'shared'}"}
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=REPOSITORY,
        env={**os.environ, **path, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def assert_one_line(done: "subprocess.CompletedProcess[str]", words: str) -> None:
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.strip().count("\n") == 0, done.stderr


# ---- what the shell says to others -----------------------------------------------------------------------------------


def test_variables_for_other_servers_and_accounts_reach_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    data = tmp_path / "data"
    with running("dev.up", data, env=OTHERS) as up:
        up.wait_for("session with IB: connected")
        for child, pid in up.children().items():
            there = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            found = {f"{name}={value}" for name, value in OTHERS.items()} & set(there)
            assert not found or child == "guard.py", child
        made = command("dev.admin", "--data", str(data))
        assert made.returncode == 0, made.stderr
        assert "admin is an administrator" in made.stdout
        proven = command("dev.store", "verify", "--data", str(data))
        assert "nothing is wrong" in proven.stdout, proven.stderr


def test_make_starts_python_without_what_is_meant_for_another() -> None:
    others = {"PYTHONHOME": "/nowhere", "PYTHONINSPECT": "1", "PYTHONWARNINGS": "error", "PYTHONSTARTUP": "/nowhere"}
    done = subprocess.run(
        ["make", "-s", "--eval=probe: ; @env", "probe"],
        cwd=REPOSITORY,
        env={**os.environ, **others},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.findall(r"^PYTHON[A-Z]*", done.stdout, re.MULTILINE) == ["PYTHONPATH"]


@pytest.mark.parametrize("terminal", [True, False])
def test_who_waits_for_the_environment_reads_for_how_long_and_sees_how_far_it_is(terminal: bool) -> None:
    leader, follower = pty.openpty()
    words = ["make", "-n", "-W", "requirements/dev.txt", "-W", "requirements/run.txt", "setup"]
    done = subprocess.run(
        words,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=follower if terminal else subprocess.DEVNULL,
        text=True,
        check=True,
    )
    os.close(leader)
    os.close(follower)
    assert "1 to 5 minutes" in done.stdout
    assert ("uv pip sync --quiet" in done.stdout) is not terminal
    assert "one to five minutes" in (REPOSITORY / "README.md").read_text()


# ---- what lies in the way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["dev.up", "dev.demo"])
def test_data_that_are_no_folder_are_refused_in_one_line(module: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_one_line(command(module, "--data", str(tmp_path / "file")), "is no folder: take another one (DATA=...)")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sim").touch()
    assert_one_line(command(module, "--data", str(tmp_path / "data")), "sim is no folder")
    if Path("/proc/self").exists():  # where nobody may make a folder, root neither
        assert_one_line(command(module, "--data", "/proc/nautilus"), "/proc/nautilus/sim cannot be used: ")


@pytest.mark.parametrize(
    ("module", "words"),
    [("dev.admin", []), ("dev.store", ["verify"]), ("dev.store", ["backup"]), ("dev.store", ["forget"])],
)
def test_commands_say_that_nothing_runs_or_that_it_just_starts(
    module: str, words: Sequence[str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    run = [*words, "--data", str(data)]
    assert_one_line(command(module, *run), f"nothing runs in {data}: start it (make up)")
    with Group() as group:
        postgres = start_postgres(group, data / "sim", durable=False)
        group.wait_ready()
        if module == "dev.admin":
            assert_one_line(
                command(module, *run), "the database has not this version's schema: make up is just starting"
            )
        pid_file = data / "sim" / "postgres" / "postmaster.pid"
        whole = pid_file.read_text()
        for lines in (0, 1, 3, 7):
            pid_file.write_text("".join(line + "\n" for line in whole.splitlines()[:lines]))
            assert_one_line(command(module, *run), "is just starting or ending: try again in a moment")
        pid_file.write_text(whole)
        group.kill_child(postgres.child)
    assert_one_line(command(module, *run), "nothing runs in")


@pytest.mark.parametrize("what", ["migrate", "verify", "retention"])
def test_commands_on_a_database_say_in_one_line_that_it_is_away(what: str) -> None:
    url = {"NAUTILUS_DATABASE_URL": "postgresql://nautilus:secret-word@127.0.0.1:9/nautilus"}
    done = command(f"nautilus.db.{what}", env=url)
    assert_one_line(done, "the database cannot be reached (")
    assert "secret-word" not in done.stderr


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["dev.demo"], ["dev.up"], ["dev.admin"], ["dev.store", "verify"]])
def test_ctrl_c_while_modules_are_imported_ends_with_a_sentence(words: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", *words, "--data", str(tmp_path / "data")],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever started the tests in the background made them, and all their children, deaf to SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    with process.stderr as lines:
        for line in lines:
            if line.rstrip().endswith("| argparse"):
                break
        process.send_signal(signal.SIGINT)
        text = [line for line in lines if not line.startswith("import time:")]
    assert process.wait(30) == 130
    assert "".join(text).strip() == "Stopped before anything was started."


@pytest.mark.parametrize("delay_s", [0, 0.05, 0.1, 0.2, 0.4, 0.6, 1])
def test_ctrl_c_of_make_never_shows_a_traceback(delay_s: float, tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["make", "-s", "--old-file=.venv/.ready", "up", f"DATA={tmp_path / 'data'}"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(delay_s)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: make, its shell and what they run
    words, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in words
    assert "KeyboardInterrupt" not in words


@pytest.mark.parametrize("module", ["dev.demo", "dev.up"])
def test_ctrl_c_while_it_starts_ends_all_that_has_begun(module: str, tmp_path: Path) -> None:
    with running(module, tmp_path / "data", deaf=False) as program:
        while not (tmp_path / "data" / "sim" / "sqs.log").exists():
            time.sleep(0.005)
        children = program.children()
        program.process.send_signal(signal.SIGINT)
        assert program.process.wait(60) == 130
    assert "Traceback" not in program.text()
    assert "nothing runs any more" in program.text()
    assert not [pid for pid in children.values() if Path(f"/proc/{pid}/exe").exists()]


def test_signals_are_held_back_while_a_child_is_made() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    block: list[str] = []

    def interrupted_block() -> None:
        with held_back_signals():
            signal.raise_signal(signal.SIGINT)
            block.append("went on")

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted_block()
        assert block == ["went on"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_demo_of_a_gateway_is_refused_with_the_command_that_takes_one() -> None:
    done = subprocess.run(
        ["make", "-s", "--old-file=.venv/.ready", "demo", "IB=127.0.0.1:4002"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "make up IB=127.0.0.1:4002" in done.stdout


@pytest.mark.parametrize(
    ("show", "module", "minutes", "speed"),
    [("live-show", live_show, 10, 1.0), ("strategies-show", strategies_show, 60, 20.0)],
)
def test_a_show_without_more_words_plays_as_long_as_its_line_says(
    monkeypatch: pytest.MonkeyPatch, show: str, module: ModuleType, minutes: int, speed: float
) -> None:
    done = subprocess.run(["make", "-n", show], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    (line,) = [one for one in done.stdout.splitlines() if f"-m {module.__name__}" in one]
    words = shlex.split(line)
    monkeypatch.setattr(sys, "argv", words[words.index(module.__name__) :])
    options = module.options()
    assert (options.minutes, options.speed) == (minutes, speed)
