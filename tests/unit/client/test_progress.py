"""A line that is written anew stays one line, however long it is and however narrow the terminal."""

import io
import os
import pty
import termios

from nautilus_client.cli.progress import Line


def test_a_line_is_no_longer_than_the_terminal_until_it_ends():
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 40))
    with open(follower, "w", encoding="utf-8") as output:
        line = Line(output)
        line.show("12 of 99 bytes  " + "path/" * 20)
        shown = os.read(leader, 1_000).decode()
        assert shown == "\r\x1b[K" + ("12 of 99 bytes  " + "path/" * 20)[:39]
        line.show("99 of 99 bytes  " + "path/" * 20, ended=True)
        assert os.read(leader, 1_000).decode() == "\r\x1b[K99 of 99 bytes  " + "path/" * 20 + "\r\n"
        line.end()
    os.close(leader)


def test_without_a_terminal_only_the_end_is_written():
    output = io.StringIO()
    line = Line(output)
    line.show("1 of 2")
    line.show("2 of 2", ended=True)
    line.end()
    assert output.getvalue() == "2 of 2\n"
