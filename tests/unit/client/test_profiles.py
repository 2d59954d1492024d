"""Which API the client calls and with which key: arguments, environment, profiles; and who may read the key."""

import os

import pytest

from nautilus_client import profiles
from nautilus_client.errors import ConfigError

KEY = "nautilus_1a2b3c4d_secret"


@pytest.fixture
def home(tmp_path):
    return {"NAUTILUS_CONFIG_DIR": str(tmp_path / "nautilus")}


def saved(home, name="local", key=KEY, **values):
    profiles.save(profiles.folder(home), name, {"url": "http://127.0.0.1:8001", **values}, key=key)


def test_an_argument_wins_over_the_environment_and_that_over_the_profile(home):
    saved(home)
    found = profiles.settings(environment=home)
    assert (found.url, found.key, found.profile) == ("http://127.0.0.1:8001", KEY, "local")
    outside = {**home, "NAUTILUS_URL": "https://b.example", "NAUTILUS_API_KEY": "of-the-environment"}
    found = profiles.settings(environment=outside)
    assert (found.url, found.key) == ("https://b.example", "of-the-environment")
    found = profiles.settings(url="https://c.example", key="given", environment=outside)
    assert (found.url, found.key) == ("https://c.example", "given")


def test_a_key_of_a_profile_goes_to_no_other_api(home):
    saved(home)
    assert profiles.settings(url="https://other.example", environment=home).key == ""
    assert profiles.settings(environment={**home, "NAUTILUS_URL": "https://other.example"}).key == ""


def test_profiles_are_chosen_by_name(home):
    saved(home)
    saved(home, "paper", key="another", tries=2)
    assert profiles.settings(profile="paper", environment=home).tries == 2
    assert profiles.settings(environment={**home, "NAUTILUS_PROFILE": "paper"}).key == "another"
    with pytest.raises(ConfigError, match="there is local, paper"):
        profiles.settings(profile="live", environment=home)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(home, mode):
    saved(home)
    path = profiles.folder(home) / profiles.SECRETS
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        profiles.settings(environment=home)
    with pytest.raises(ConfigError, match="chmod 600"):
        saved(home, "another")
    path.chmod(0o600)
    assert profiles.settings(environment=home).key == KEY


def test_a_key_is_never_shown(home):
    saved(home)
    found = profiles.settings(environment=home)
    assert "secret" not in repr(found)
    assert profiles.shortened(KEY) == "nautilus_1a2b3c4d"
    assert profiles.shortened("something else") == "***"


def test_what_is_no_setting_is_named(home):
    folder = profiles.folder(home)
    folder.mkdir(parents=True)
    for text, words in (
        ("[local]\nurll = 'x'\n", "urll"),
        ("[local]\ntries = 'two'\n", "tries must be int"),
        ("local = 3\n", "no profile"),
        ("[local\n", "cannot be read"),
    ):
        (folder / profiles.CONFIG).write_text(text)
        with pytest.raises(ConfigError, match=words):
            profiles.settings(environment=home)


def test_without_anything_the_error_says_what_to_do(home):
    with pytest.raises(ConfigError, match="nautilus login"):
        profiles.settings(environment=home)


def test_a_key_that_stands_for_one_is_recognised(home):
    with pytest.raises(ConfigError, match="stands for a key"):
        profiles.settings(url="http://127.0.0.1:1", key="YOUR_API_KEY", environment=home)


def test_a_key_can_be_forgotten(home):
    saved(home)
    saved(home, "paper", key="another")
    profiles.forget_key(profiles.folder(home), "local")
    assert profiles.settings(environment=home).key == ""
    assert profiles.settings(profile="paper", environment=home).key == "another"


def test_a_profile_that_names_the_keyring_says_what_is_needed_without_it(home):
    saved(home, key=None, keyring=True)
    with pytest.raises(ConfigError, match="nautilus-client\\[keyring\\]"):
        profiles.settings(environment=home)


def test_texts_of_all_kinds_come_back(home):
    saved(home, 'a "strange" [name]', url="https://x.example/é", timeout=2.5, cache=True)
    found = profiles.profiles(profiles.folder(home))['a "strange" [name]']
    assert found == {"url": "https://x.example/é", "timeout": 2.5, "cache": True}
    assert not list(profiles.folder(home).glob("*.new"))
    assert os.stat(profiles.folder(home)).st_mode & 0o077 == 0
