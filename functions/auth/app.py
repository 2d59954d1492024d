"""Sign-in: /api/v1/auth/*. The only function that may read the private key and check passwords."""

import nautilus.http.cold_start  # noqa: F401, I001  first: it says why

import asyncio
import secrets
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar
from uuid import UUID

from fastapi import APIRouter, Cookie, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from nautilus.auth.accounts.attempts import Attempt, Attempts
from nautilus.auth.accounts.keys import ApiKeys
from nautilus.auth.accounts.refresh import Issued, SignInSessions
from nautilus.auth.accounts.schemas import Login, NewKey, NewUser, PasswordChange, Refresh, UserChange
from nautilus.auth.accounts.sign_in import SignIn
from nautilus.auth.accounts.users import Users, put_user, user_of
from nautilus.auth.passwords import AT_ONCE, BUSY, Passwords
from nautilus.auth.principal import Principal, new_password
from nautilus.auth.scopes import ROLES, USER_SCOPES, role_of
from nautilus.auth.tokens.sign import Signer
from nautilus.db.auth.api_keys import Key
from nautilus.db.auth.users import User
from nautilus.errors import InvalidInput, Unauthorized, Unavailable
from nautilus.http.dependencies import CallerDep, ClientDep, OptionalCallerDep, ServicesDep
from nautilus.http.lambda_entry import lambda_handler
from nautilus.http.problems import PROBLEMS
from nautilus.http.routes import StrictRoute
from nautilus.http.services import Services
from nautilus.infra.executors import Executor
from nautilus.settings.auth import AuthSettings

PREFIX = "/api/v1/auth"
COOKIE = "refresh_token"
_KEYS_AGE_S = 300
P = ParamSpec("P")
T = TypeVar("T")

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


def _passwords(services: Services) -> Passwords:
    return services.kept(Passwords, Passwords)


class _Threads(Executor):
    """The threads of sign-in: a crowd at the door takes no others, and at most half of the database's connections."""


async def _on_thread(services: Services, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    size = max(AT_ONCE + 1, services.settings.database_pool // 2)
    return await services.kept(_Threads, lambda: _Threads("sign-in", size)).run(work, *args, **more)


async def _in_turn(services: Services, work: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """The result of work that checks or makes a hash of a password. It gets a thread when its turn has come."""
    async with _passwords(services).turn():
        return await _on_thread(services, work, *args, **more)


async def _judged(
    services: Services, attempts: Attempts, attempt: Attempt, work: Callable[..., Issued], *args: Any
) -> Issued:
    """The outcome of an attempt with a password. One whose turn never came is not counted."""
    await asyncio.sleep(attempt.pause_s)
    try:
        return await _in_turn(services, work, attempt, *args)
    except Unavailable as busy:
        if busy.code == BUSY:
            await _on_thread(services, attempts.give_back, attempt)
        raise


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
    services: ServicesDep,
    attempts: AttemptsDep,
    sign_in: SignInDep,
    client: ClientDep,
) -> Response:
    if body.api_key is not None:
        key = body.api_key.get_secret_value().strip()
        attempt = await _on_thread(services, attempts.admit, "an API key", client)
        issued = await _on_thread(services, sign_in.login_by_key, attempt, key, client)
    else:
        name, password = body.username or "", _text(body.password)
        attempt = await _on_thread(services, attempts.admit, name, client)
        issued = await _judged(services, attempts, attempt, sign_in.login, name, password, client)
    return _issued(request, issued)


@router.post("/refresh", summary="New tokens for a refresh token, by body or cookie")
async def refresh(
    request: Request,
    services: ServicesDep,
    sessions: SessionsDep,
    client: ClientDep,
    body: Refresh | None = None,
    cookie: RefreshCookie = None,
) -> Response:
    given = _text(body.refresh_token if body else None)
    token = given or cookie
    if not token:
        raise Unauthorized("there is no refresh token, neither in the body nor as a cookie; sign in")
    return _issued(request, await _on_thread(services, sessions.refresh, token, client), tell=bool(given))


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
    services: ServicesDep,
    attempts: AttemptsDep,
    sign_in: SignInDep,
    client: ClientDep,
    caller: CallerDep,
) -> Response:
    current, new = _text(body.current_password), _text(body.new_password)
    new_password("new_password", new, caller.name)
    attempt = await _on_thread(services, attempts.admit, caller.name, client)
    issued = await _judged(services, attempts, attempt, sign_in.change_password, caller, current, new, client)
    return _issued(request, issued)


@router.get("/sessions", summary="Own sessions that can still be refreshed")
def sessions(sessions: SessionsDep, caller: CallerDep) -> dict[str, Any]:
    rows = [
        {
            "id": str(row.id),
            "current": str(row.id) == caller.session,
            "address": row.address,
            "user_agent": row.user_agent,
            "api_key_id": row.api_key_id,
            "created_at": row.created_at.isoformat(),
            "used_at": row.used_at.isoformat(),
            "expires_at": row.expires_at.isoformat(),
        }
        for row in sessions.of_caller(caller)
    ]
    return {"sessions": rows, "total": len(rows)}


@router.delete("/sessions/{session_id}", summary="End one of the own sessions")
def end_session(session_id: UUID, sessions: SessionsDep, client: ClientDep, caller: CallerDep) -> dict[str, Any]:
    sessions.end(caller, session_id, client)
    return {"message": "the session has ended"}


# ---- API keys --------------------------------------------------------------------------------------------------------


@router.post("/api-keys", status_code=201, summary="Make an API key; its text is shown this once")
def make_key(body: NewKey, keys: KeysDep, client: ClientDep, caller: CallerDep) -> dict[str, Any]:
    row, text = keys.make(caller, body.name, body.scopes, body.expires_at, client)
    return {**_key(row), "api_key": text, "message": "keep the key now: it is not shown again"}


@router.get("/api-keys", summary="Own API keys, also revoked and expired ones")
def keys(keys: KeysDep, caller: CallerDep) -> dict[str, Any]:
    rows = [{**_key(row), "active": row.live} for row in keys.of_caller(caller)]
    return {"api_keys": rows, "total": len(rows)}


@router.delete("/api-keys/{key_id}", summary="Revoke an API key, at once, with the sessions opened by it")
def revoke_key(key_id: int, keys: KeysDep, client: ClientDep, caller: CallerDep) -> dict[str, Any]:
    keys.revoke(caller, key_id, client)
    return {"message": "the key is revoked"}


# ---- users -----------------------------------------------------------------------------------------------------------


@router.get("/users", summary="All users")
def users(users: UsersDep, caller: CallerDep) -> dict[str, Any]:
    rows = [_user(row) for row in users.listed()]
    return {"users": rows, "total": len(rows)}


@router.post("/users", status_code=201, summary="Make a user")
async def make_user(
    body: NewUser, services: ServicesDep, users: UsersDep, client: ClientDep, caller: CallerDep
) -> dict[str, Any]:
    scopes = _scopes(body.role, body.scopes)
    granted = USER_SCOPES if scopes is None else scopes
    made = await _in_turn(
        services,
        users.make,
        caller,
        client,
        username=body.username,
        email=body.email,
        password=_text(body.password),
        scopes=granted,
    )
    return _user(made)


@router.patch("/users/{user_id}", summary="Change a user: disable, role or scopes, e-mail, password")
async def change_user(
    user_id: int, body: UserChange, services: ServicesDep, users: UsersDep, client: ClientDep, caller: CallerDep
) -> dict[str, Any]:
    password = _text(body.password) or None
    changed = await (_in_turn if password else _on_thread)(
        services,
        users.change,
        caller,
        user_id,
        client,
        email=body.email,
        password=password,
        scopes=_scopes(body.role, body.scopes),
        is_active=body.is_active,
    )
    return _user(changed)


# ---- forms -----------------------------------------------------------------------------------------------------------


def _text(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""


def _scopes(role: str | None, scopes: list[str] | None) -> list[str] | None:
    if role is None:
        return scopes
    if scopes is not None:
        raise InvalidInput.field("role", "a role stands for scopes; send one of both")
    if role not in ROLES:
        raise InvalidInput.field("role", f"{role!r} is not a role", list(ROLES))
    return list(ROLES[role])


def _issued(request: Request, issued: Issued, *, tell: bool = True) -> Response:
    """The tokens, the refresh token as a cookie too; `tell`: also in the body (not to a page that has sent the cookie,
    so that no script of that page ever sees it)."""
    body = {
        "access_token": issued.access.token,
        "token_type": "bearer",
        "expires_in": issued.access.expires_in_s,
        "scope": " ".join(issued.scopes),
    }
    if tell:
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
    """The caller's user. The scopes are those of the credentials, which may be fewer than the user's."""
    if not caller.user_id:
        return {"id": 0, "username": caller.name, "is_active": True, "scopes": sorted(caller.scopes)}
    return {**_user(user_of(services.db, caller)), "scopes": sorted(caller.scopes), "api_key_id": caller.key_id}


def _user(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "is_active": user.is_active,
        "scopes": sorted(user.scopes),
        "role": role_of(user.scopes),
        "created_at": user.created_at.isoformat(),
        "last_login": user.last_login.isoformat() if user.last_login else None,
    }


def _key(row: Key) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "prefix": f"nautilus_{row.prefix}",
        "scopes": sorted(row.scopes),
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
        "last_used_at": row.last_used_at.isoformat() if row.last_used_at else None,
        "last_used_from": row.last_used_from,
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
    }


# ---- Lambda ----------------------------------------------------------------------------------------------------------


def make_admin(services: Services, event: dict[str, Any]) -> dict[str, Any]:
    """Make an administrator, or give an existing user that role and a new password: for whoever may invoke this
    function directly, which IAM decides. `{"task": "make-admin", "username": "..."}`; the password is in the answer
    and nowhere else."""
    made = secrets.token_urlsafe(18)
    username = str(event.get("username") or "admin")
    put_user(services.db, _passwords(services), username, made, ROLES["admin"], reason="make-admin")
    return {"username": username, "password": made, "message": "sign in with it and change it"}


handler = lambda_handler("auth", router, AuthSettings, prepare=prepare, commands={"make-admin": make_admin})
