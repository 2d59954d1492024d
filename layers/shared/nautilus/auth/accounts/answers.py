"""Users, API keys and sign-in sessions as callers see them: JSON without a hash or a secret."""

from typing import Any

from nautilus.auth.principal import Principal
from nautilus.auth.scopes import role_of, user_accounts
from nautilus.db.auth.api_keys import Key
from nautilus.db.auth.refresh_families import Family
from nautilus.db.auth.users import User


def user_json(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "is_active": user.is_active,
        "scopes": sorted(user.scopes),
        "role": role_of(user.scopes),
        "accounts": sorted(user_accounts(user.scopes, user.accounts)),
        "created_at": user.created_at.isoformat(),
        "last_login": user.last_login.isoformat() if user.last_login else None,
    }


def caller_json(caller: Principal, user: User | None) -> dict[str, Any]:
    """The caller's user; None: an anonymous caller. Scopes and accounts are those of the credentials, perhaps fewer than the
    user's."""
    rights = {"scopes": sorted(caller.scopes), "accounts": sorted(user_accounts(caller.scopes, caller.accounts))}
    if user is None:
        return {"id": 0, "username": caller.name, "is_active": True, **rights}
    return {**user_json(user), **rights, "api_key_id": caller.key_id}


def key_json(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "prefix": f"nautilus_{key.prefix}",
        "scopes": sorted(key.scopes),
        "accounts": None if key.accounts is None else sorted(key.accounts),
        "created_at": key.created_at.isoformat(),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
        "last_used_from": key.last_used_from,
        "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
    }


def session_json(family: Family, caller: Principal) -> dict[str, Any]:
    """One sign-in session; `current`: the one that the caller's access token belongs to."""
    return {
        "id": str(family.id),
        "current": str(family.id) == caller.session,
        "address": family.address,
        "user_agent": family.user_agent,
        "api_key_id": family.api_key_id,
        "created_at": family.created_at.isoformat(),
        "used_at": family.used_at.isoformat(),
        "expires_at": family.expires_at.isoformat(),
    }
