"""Sign-in: /api/v1/auth/*. The only function that may read the private key and check passwords."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

import secrets
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Cookie, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from nautilus.auth.accounts.answers import caller_json, key_json, session_json, user_json
from nautilus.auth.accounts.attempts import Attempts
from nautilus.auth.accounts.keys import ApiKeys
from nautilus.auth.accounts.refresh import Issued, SignInSessions
from nautilus.auth.accounts.schemas import Login, NewKey, NewUser, PasswordChange, Refresh, UserChange
from nautilus.auth.accounts.sign_in import SignIn
from nautilus.auth.accounts.threads import SignInThreads
from nautilus.auth.accounts.users import Users, put_user, user_of
from nautilus.auth.passwords import Passwords
from nautilus.auth.principal import Principal, new_password
from nautilus.auth.scopes import ROLES, USER_SCOPES, scopes_of
from nautilus.auth.tokens.sign import Signer
from nautilus.errors import Unauthorized
from nautilus.http.dependencies import CallerDep, ClientDep, OptionalCallerDep, ServicesDep
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.settings.auth import AuthSettings

PREFIX = "/api/v1/auth"
COOKIE = "refresh_token"
_KEYS_AGE_S = 300

router = APIRouter(prefix=PREFIX, tags=["sign-in"], responses=PROBLEMS, route_class=StrictRoute)


def prepare(services: Services) -> None:
    """Fail at the start, not at the first sign-in, when the private key does not fit."""
    _signer(services)


def _signer(services: Services) -> Signer:
    settings = _settings(services)

    def make() -> Signer:
        signer = Signer(
            settings.token_key_id,
            settings.token_private_key.get_secret_value(),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
        )
        services.keys.require(signer.kid, signer.public)
        return signer

    return services.kept(Signer, make)


def _settings(services: Services) -> AuthSettings:
    settings = services.settings
    if not isinstance(settings, AuthSettings):
        raise RuntimeError("sign-in needs AuthSettings: only this function may hold the signing key")
    return settings


async def _attempts(services: ServicesDep) -> Attempts:
    return Attempts(services.db, services.log)


async def _sessions(services: ServicesDep) -> SignInSessions:
    return SignInSessions(services.db, _settings(services), _signer(services), services.log)


async def _sign_in(
    services: ServicesDep,
    attempts: Annotated[Attempts, Depends(_attempts)],
    sessions: Annotated[SignInSessions, Depends(_sessions)],
) -> SignIn:
    return SignIn(services.db, attempts, sessions, _passwords(services))


async def _keys(services: ServicesDep) -> ApiKeys:
    return ApiKeys(services.db)


async def _users(services: ServicesDep) -> Users:
    return Users(services.db, _passwords(services))


async def _threads(services: ServicesDep) -> SignInThreads:
    return services.kept(
        SignInThreads, lambda: SignInThreads(partial(_passwords, services), services.settings.database_pool)
    )


def _passwords(services: Services) -> Passwords:
    return services.kept(Passwords, Passwords)


ThreadsDep = Annotated[SignInThreads, Depends(_threads)]
AttemptsDep = Annotated[Attempts, Depends(_attempts)]
SessionsDep = Annotated[SignInSessions, Depends(_sessions)]
SignInDep = Annotated[SignIn, Depends(_sign_in)]
KeysDep = Annotated[ApiKeys, Depends(_keys)]
UsersDep = Annotated[Users, Depends(_users)]
RefreshCookie = Annotated[str | None, Cookie(alias=COOKIE, max_length=200, include_in_schema=False)]


# ---- in and out ------------------------------------------------------------------------------------------------------


@router.post("/login", summary="Sign in by name and password, or by an API key")
async def login(
    body: Login,
    request: Request,
    threads: ThreadsDep,
    attempts: AttemptsDep,
    sign_in: SignInDep,
    client: ClientDep,
) -> Response:
    if body.api_key is not None:
        key = body.api_key.get_secret_value().strip()
        attempt = await threads.run(attempts.admit, "an API key", client)
        issued = await threads.run(sign_in.login_by_key, attempt, key, client)
    else:
        name, password = body.username or "", _text(body.password)
        attempt = await threads.run(attempts.admit, name, client)
        issued = await threads.judge(attempts, attempt, sign_in.login, name, password, client)
    return _issued(request, issued)


@router.post("/refresh", summary="New tokens for a refresh token, by body or cookie")
async def refresh(
    request: Request,
    threads: ThreadsDep,
    sessions: SessionsDep,
    client: ClientDep,
    body: Refresh | None = None,
    cookie: RefreshCookie = None,
) -> Response:
    given = _text(body.refresh_token if body else None)
    token = given or cookie
    if not token:
        raise Unauthorized("there is no refresh token, neither in the body nor as a cookie; sign in")
    return _issued(request, await threads.run(sessions.refresh, token, client), in_body=bool(given))


@router.post("/logout", summary="End the session of the token that is sent")
def logout(
    request: Request,
    sessions: SessionsDep,
    client: ClientDep,
    caller: OptionalCallerDep,
    body: Refresh | None = None,
    cookie: RefreshCookie = None,
) -> Response:
    sessions.logout(caller, _text(body.refresh_token if body else None) or cookie, client)
    return _without_cookie(request, JSONResponse({"message": "signed out"}))


@router.post("/logout-all", summary="End all own sessions; API keys stay")
def logout_all(request: Request, sessions: SessionsDep, client: ClientDep, caller: CallerDep) -> Response:
    count = sessions.logout_everywhere(caller, client)
    return _without_cookie(request, JSONResponse({"message": "signed out everywhere", "sessions_ended": count}))


# ---- who am I --------------------------------------------------------------------------------------------------------


@router.get("/me", summary="Who the caller is")
def me(services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    return _caller(services, caller)


@router.get("/validate", summary="Whether the credentials are good, and whose they are")
def validate(services: ServicesDep, caller: CallerDep) -> dict[str, Any]:
    return {"valid": True, "user": _caller(services, caller), "message": "the credentials are good"}


@router.get("/jwks.json", summary="The public keys that access tokens are signed with")
def jwks(services: ServicesDep) -> Response:
    return JSONResponse(services.keys.jwks(), headers={"Cache-Control": f"public, max-age={_KEYS_AGE_S}"})


@router.post("/password", summary="Change the own password; ends all other sessions")
async def password(
    body: PasswordChange,
    request: Request,
    threads: ThreadsDep,
    attempts: AttemptsDep,
    sign_in: SignInDep,
    client: ClientDep,
    caller: CallerDep,
) -> Response:
    current, new = _text(body.current_password), _text(body.new_password)
    new_password("new_password", new, caller.name)
    attempt = await threads.run(attempts.admit, caller.name, client)
    issued = await threads.judge(attempts, attempt, sign_in.change_password, caller, client, current=current, new=new)
    return _issued(request, issued)


@router.get("/sessions", summary="Own sessions that can still be refreshed")
def sessions(sessions: SessionsDep, caller: CallerDep) -> dict[str, Any]:
    rows = [session_json(row, caller) for row in sessions.of_caller(caller)]
    return {"sessions": rows, "total": len(rows)}


@router.delete("/sessions/{session_id}", summary="End one of the own sessions")
def end_session(session_id: UUID, sessions: SessionsDep, client: ClientDep, caller: CallerDep) -> dict[str, Any]:
    sessions.end(caller, session_id, client)
    return {"message": "the session has ended"}


# ---- API keys --------------------------------------------------------------------------------------------------------


@router.post("/api-keys", status_code=201, summary="Make an API key; its text is shown this once")
def make_key(body: NewKey, keys: KeysDep, client: ClientDep, caller: CallerDep) -> dict[str, Any]:
    row, text = keys.make(
        caller, client, name=body.name, scopes=body.scopes, accounts=body.accounts, expires_at=body.expires_at
    )
    return {**key_json(row), "api_key": text, "message": "keep the key now: it is not shown again"}


@router.get("/api-keys", summary="Own API keys, also revoked and expired ones")
def keys(keys: KeysDep, caller: CallerDep) -> dict[str, Any]:
    rows = [{**key_json(row), "active": row.live} for row in keys.of_caller(caller)]
    return {"api_keys": rows, "total": len(rows)}


@router.delete(
    "/api-keys/{key_id}", summary="Revoke an API key, at once, with the sessions opened by it; a key may revoke itself"
)
def revoke_key(key_id: int, keys: KeysDep, client: ClientDep, caller: CallerDep) -> dict[str, Any]:
    keys.revoke(caller, key_id, client)
    return {"message": "the key is revoked"}


# ---- users -----------------------------------------------------------------------------------------------------------


@router.get("/users", summary="All users")
def users(users: UsersDep, caller: CallerDep) -> dict[str, Any]:
    rows = [user_json(row) for row in users.listed()]
    return {"users": rows, "total": len(rows)}


@router.post("/users", status_code=201, summary="Make a user")
async def make_user(
    body: NewUser, threads: ThreadsDep, users: UsersDep, client: ClientDep, caller: CallerDep
) -> dict[str, Any]:
    scopes = scopes_of(body.role, body.scopes)
    granted = USER_SCOPES if scopes is None else scopes
    made = await threads.run_in_turn(
        users.make,
        caller,
        client,
        username=body.username,
        email=body.email,
        password=_text(body.password),
        scopes=granted,
        accounts=body.accounts or (),
    )
    return user_json(made)


@router.patch("/users/{user_id}", summary="Change a user: disable, role or scopes, accounts, e-mail, password")
async def change_user(
    user_id: int, body: UserChange, threads: ThreadsDep, users: UsersDep, client: ClientDep, caller: CallerDep
) -> dict[str, Any]:
    password = _text(body.password) or None
    changed = await (threads.run_in_turn if password else threads.run)(
        users.change,
        caller,
        user_id,
        client,
        email=body.email,
        password=password,
        scopes=scopes_of(body.role, body.scopes),
        accounts=body.accounts,
        is_active=body.is_active,
    )
    return user_json(changed)


# ---- forms -----------------------------------------------------------------------------------------------------------


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""


def _issued(request: Request, issued: Issued, *, in_body: bool = True) -> Response:
    """The tokens, the refresh token as a cookie too; `in_body`: also in the body (not to a page that has sent the cookie,
    so that no script of that page ever sees it)."""
    body = {
        "access_token": issued.access.token,
        "token_type": "bearer",
        "expires_in": issued.access.expires_in_s,
        "scope": " ".join(issued.scopes),
    }
    if in_body:
        body |= {"refresh_token": issued.refresh_token, "refresh_expires_in": issued.refresh_expires_in_s}
    answer = JSONResponse(body)
    answer.set_cookie(COOKIE, issued.refresh_token, max_age=issued.refresh_expires_in_s, **_cookie_options(request))
    return answer


def _without_cookie(request: Request, answer: Response) -> Response:
    answer.delete_cookie(COOKIE, **_cookie_options(request))
    return answer


def _cookie_options(request: Request) -> dict[str, Any]:
    known: Services = request.app.state.services
    # Over http only a developer's own machine is served; some clients would not send a Secure cookie back there.
    secure = known.settings.deployed or request.url.scheme == "https"
    return {"path": PREFIX, "httponly": True, "secure": secure, "samesite": "strict"}


def _caller(services: Services, caller: Principal) -> dict[str, Any]:
    return caller_json(caller, user_of(services.db, caller) if caller.user_id else None)


# ---- Lambda ----------------------------------------------------------------------------------------------------------


def make_admin(services: Services, event: dict[str, Any]) -> dict[str, Any]:
    """Make an administrator, or give an existing user that role and a new password: for whoever may invoke this
    function directly, which IAM decides. `{"task": "make-admin", "username": "..."}`; the password is in the answer
    and nowhere else."""
    made = secrets.token_urlsafe(18)
    username = str(event.get("username") or "admin")
    put_user(
        services.db, _passwords(services), username=username, password=made, scopes=ROLES["admin"], reason="make-admin"
    )
    return {"username": username, "password": made, "message": "sign in with it and change it"}


handler = lambda_handler("auth", router, AuthSettings, prepare=prepare, commands={"make-admin": make_admin})
