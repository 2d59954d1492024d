"""Data folders of local stacks: one user each, made for nobody else's eyes, removed only when nobody uses them."""

import json
import stat
import sys
from pathlib import Path

import jwt
import pytest

from dev import folders
from dev.credentials import password_of, token_settings
from dev.folders import in_use
from dev.process import StartError


def clean(monkeypatch: pytest.MonkeyPatch, data: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["make clean", "--data", str(data)])
    return folders.main()


def test_a_folder_is_used_by_one_stack_at_a_time(tmp_path: Path) -> None:
    with in_use(tmp_path / "sim"):
        with pytest.raises(StartError, match=r"another stack uses .*sim"), in_use(tmp_path / "sim"):
            pass
        with in_use(tmp_path / "ib"):
            pass
    with in_use(tmp_path / "sim"):
        pass
    assert stat.S_IMODE((tmp_path / "sim").stat().st_mode) == 0o700


def test_clean_removes_what_stacks_made_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_use(tmp_path / "sim"), in_use(tmp_path / "replay-x"):
        pass
    (tmp_path / "mine").mkdir()
    assert clean(monkeypatch, tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_clean_leaves_a_folder_in_use_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with in_use(tmp_path / "sim"):
        assert clean(monkeypatch, tmp_path) == 1
        assert (tmp_path / "sim").exists()
    assert "another stack uses" in capsys.readouterr().err


def test_secrets_are_random_kept_and_private(tmp_path: Path) -> None:
    password = password_of(tmp_path / "user.password")
    assert len(password) == 32
    assert password_of(tmp_path / "user.password") == password
    assert password_of(tmp_path / "other.password") != password
    token_settings(tmp_path)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_the_public_key_checks_what_the_private_key_signs(tmp_path: Path) -> None:
    settings = token_settings(tmp_path)
    assert token_settings(tmp_path) == settings
    token = jwt.encode({"sub": "me"}, settings["NAUTILUS_TOKEN_PRIVATE_KEY"], algorithm="EdDSA")
    public = json.loads(settings["NAUTILUS_TOKEN_PUBLIC_KEYS"])[settings["NAUTILUS_TOKEN_KEY_ID"]]
    assert jwt.decode(token, public, algorithms=["EdDSA"]) == {"sub": "me"}
