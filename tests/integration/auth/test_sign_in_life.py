"""A whole life, in one piece: administrator, user, sign-in, refresh, replay, API key. `-s` prints the transcript."""

from tests.support.auth_api import ADMIN_PASSWORD, AUTH, PASSWORD, api_of, bearer, key

BARS = "/api/v1/historical/backfill/status"


def test_a_whole_life(dsn):
    with api_of(dsn) as api:
        body = Transcript()
        admin, user, thief, script = (api.client() for _ in range(4))

        # The administrator was made by a command.
        boss = body(admin, "POST", "/login", {"username": "boss", "password": ADMIN_PASSWORD}).json()
        admin.http.headers.update(bearer(boss["access_token"]))
        made = body(admin, "POST", "/users", {"username": "eve.adams", "password": "twelve or more", "role": "trader"})
        assert made.status_code == 201

        first = body(user, "POST", "/login", {"username": "eve.adams", "password": "twelve or more"}).json()
        assert body(user, "GET", "/me", headers=bearer(first["access_token"])).json()["role"] == "trader"

        second = body(user, "POST", "/refresh", {"refresh_token": first["refresh_token"]}).json()
        third = body(user, "POST", "/refresh", {"refresh_token": second["refresh_token"]}).json()
        replay = body(thief, "POST", "/refresh", {"refresh_token": first["refresh_token"]})
        assert (replay.status_code, replay.json()["code"]) == (401, "refresh-token-replayed")
        dead = body(user, "POST", "/refresh", {"refresh_token": third["refresh_token"]})
        assert dead.status_code == 401, "the family died with the replay"
        api.forget_denied()
        assert body(user, "GET", "/me", headers=bearer(third["access_token"])).json()["code"] == "session-ended"

        again = body(user, "POST", "/login", {"username": "eve.adams", "password": "twelve or more"}).json()
        signed = bearer(again["access_token"])
        new = body(user, "POST", "/api-keys", {"name": "night job", "scopes": ["bars:read"]}, headers=signed).json()
        assert body(script, "GET", BARS, headers=key(new["api_key"])).status_code == 200
        refused = body(script, "POST", "/api/v1/ib/backfill", {"symbol": "AAPL"}, headers=key(new["api_key"]))
        assert (refused.status_code, refused.json()["scope"]) == (403, "backfill:write")
        assert body(user, "DELETE", f"/api-keys/{new['id']}", headers=signed).status_code == 200
        assert body(script, "GET", BARS, headers=key(new["api_key"])).status_code == 401

        off = body(admin, "PATCH", f"/users/{made.json()['id']}", {"is_active": False})
        assert off.json()["is_active"] is False
        api.forget_denied()
        assert body(user, "GET", "/me", headers=signed).status_code == 401
        assert body(user, "POST", "/login", {"username": "eve.adams", "password": "twelve or more"}).status_code == 401

        actions = [row.action for row in api.sql("SELECT action FROM audit_log ORDER BY id")]
        assert actions == [
            "user-put",
            "user-put",
            "sign-in",
            "user-made",
            "sign-in",
            "refresh-token-replayed",
            "sign-in",
            "key-made",
            "key-used",
            "key-revoked",
            "key-used",
            "user-changed",
            "sign-in",
        ]
        print(body)


class Transcript:
    """Sends requests and writes down what was asked and answered."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, client, method, path, body=None, headers=None):
        full = path if path.startswith("/api/") else AUTH + path
        client.http.cookies.clear()
        answer = client.request(method, full, json=body, headers=headers)
        words = answer.json()
        what = words.get("detail") or ", ".join(sorted(words))
        self.lines.append(f"{method:6} {full:42} {answer.status_code}  {what}")
        return answer

    def __str__(self) -> str:
        return "\n" + "\n".join(self.lines)


def test_the_user_of_the_other_tests_exists(dsn):
    with api_of(dsn) as api:
        assert api.login("ann", PASSWORD)["expires_in"] == 900
