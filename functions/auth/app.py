"""Sign-in: POST /api/v1/auth/login, GET /api/v1/auth/me."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from nautilus.auth import Principal, check_password, sign
from nautilus.db import sessions, users
from nautilus.errors import Unauthorized
from nautilus.settings import AuthSettings
from nautilus.web import ServicesDep, lambda_handler, needs

router = APIRouter(prefix="/api/v1/auth", tags=["sign-in"])


class Login(BaseModel):
    """A user's name (or e-mail address) and password."""

    model_config = ConfigDict(extra="forbid")

    username: str = Field(min_length=1, max_length=200)
    password: str = Field(min_length=1, max_length=200)


@router.post("/login", summary="Exchange a password for an access token")
def login(body: Login, services: ServicesDep) -> dict[str, Any]:
    settings = services.settings
    if not isinstance(settings, AuthSettings):
        raise RuntimeError("sign-in needs AuthSettings: only this function may hold the signing key")
    with services.db.transaction() as cursor:
        user = users.by_login(cursor, body.username)
    fits = check_password(body.password, user.password_hash if user and user.is_active else None)
    if user is None or not fits:
        # The same words and the same work for an unknown name, a wrong password and a disabled user.
        raise Unauthorized("the name or the password is wrong", code="invalid-credentials")
    with services.db.transaction() as cursor:
        users.signed_in(cursor, user.id)
        now = sessions.machine_now(cursor)
    token = sign(
        settings.token_private_key.get_secret_value(),
        settings.token_key_id,
        user_id=user.id,
        name=user.username,
        scopes=user.scopes,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        now_ns=now,
        minutes=settings.token_minutes,
    )
    return {
        "access_token": token,
        "token_type": "bearer",
        "expires_in": settings.token_minutes * 60,
        "scope": " ".join(user.scopes),
    }


@router.get("/me", summary="Who the caller is")
def me(services: ServicesDep, caller: Annotated[Principal, needs("")]) -> dict[str, Any]:
    if not caller.id.startswith("user:"):
        return {"id": 0, "username": caller.name, "is_active": True, "scopes": sorted(caller.scopes)}
    with services.db.transaction(snapshot=True) as cursor:
        user = users.by_id(cursor, int(caller.id.removeprefix("user:")))
    if user is None or not user.is_active:
        raise Unauthorized("this user does not exist any more", code="invalid-token")
    return {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "is_active": user.is_active,
        "scopes": sorted(user.scopes),
        "created_at": user.created_at.isoformat(),
        "last_login": user.last_login.isoformat() if user.last_login else None,
    }


handler = lambda_handler("auth", router, AuthSettings)
