"""Making, finding and revoking the credentials of machines (API keys) and users (tokens).

A revoked API key is refused within a second everywhere: a process remembers a key it has found for half a second, so
that a busy machine does not cost a query per request. A token is looked up every time, together with its user.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from hmac import compare_digest
from time import monotonic
from typing import TypeVar

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from rewards.access.errors import (
    ExpiredCredential,
    InactiveUser,
    InvalidCredential,
    NameTaken,
    RevokedCredential,
    UnknownCredential,
)
from rewards.access.models import AccessToken, ApiKey, Credential, IdempotentAnswer, Right
from rewards.access.secrets import API_KEY, TOKEN, hash_of, looks_right, new_secret, shown_part
from rewards.audit.services import record
from rewards.common.database import insert_if_absent
from rewards.users.models import User

TOKEN_DAYS = 30
LONGEST_LIFE = timedelta(days=3650)
MOST_REQUESTS_PER_MINUTE = 1_000_000
LAST_USE_EVERY = timedelta(minutes=1)
ANSWERS_KEPT = timedelta(days=30)

REMEMBERED_SECONDS = 0.5
MOST_REMEMBERED = 10_000

AnyCredential = TypeVar("AnyCredential", bound=Credential)

# Hash → the key, and when it was read (monotonic seconds). Only keys that were found: nobody fills it by guessing.
_remembered: dict[str, tuple[ApiKey, float]] = {}


# ------------------------------------------------------------------------------------------------------------- making


def create_api_key(
    name: str,
    rights: Sequence[str],
    *,
    by: User | None,
    expires_at: datetime | None = None,
    requests_per_minute: int | None = None,
    at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """A machine's key with these rights, and its secret, which is kept nowhere.

    `by` is the member of staff who makes it; `expires_at` None: never; `requests_per_minute` None: as many as it likes.
    Raises `InvalidCredential` with a sentence, `NameTaken`.
    """
    at = at or timezone.now()
    secret = new_secret(API_KEY)
    key = ApiKey(
        name=_checked_name(name),
        rights=_checked_rights(rights),
        requests_per_minute=_checked_limit(requests_per_minute),
        prefix=shown_part(secret),
        hash=hash_of(secret),
        created_at=at,
        expires_at=_checked_expiry(expires_at, at),
        created_by=by,
    )
    with transaction.atomic():
        if not insert_if_absent(key, ["name"]):
            raise NameTaken(f"There is an API key {key.name!r} already: choose another name.", name=key.name)
        record("api_key_created", actor=by, data=_described(key))
    return key, secret


def change_api_key(key: ApiKey, *, rights: Sequence[str], requests_per_minute: int | None, by: User | None) -> ApiKey:
    """Give a key other rights or another limit; the audit log says what it had before. Raises `InvalidCredential`."""
    with transaction.atomic():
        changed = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
        before = _described(changed)
        changed.rights = _checked_rights(rights)
        changed.requests_per_minute = _checked_limit(requests_per_minute)
        if _described(changed) != before:
            changed.save(update_fields=["rights", "requests_per_minute"])
            record("api_key_changed", actor=by, data=_described(changed) | {"before": before})
            _forget(changed)
    return changed


def create_token(
    user: User, *, days: int = TOKEN_DAYS, at: datetime | None = None, by: User | None = None
) -> tuple[AccessToken, str]:
    """A user's token for that many days, and its secret, which is kept nowhere. Raises `InvalidCredential`.

    `by` is the user himself, or who made it for him; None: whoever may run commands.
    """
    at = at or timezone.now()
    if not 1 <= days <= LONGEST_LIFE.days:
        raise InvalidCredential(f"A token lives for 1 to {LONGEST_LIFE.days} days, not {days}.")
    secret = new_secret(TOKEN)
    with transaction.atomic():
        token = AccessToken.objects.create(
            user=user,
            prefix=shown_part(secret),
            hash=hash_of(secret),
            created_at=at,
            expires_at=at + timedelta(days=days),
        )
        record("access_token_created", user=user, actor=by, data=_described(token))
    return token, secret


# ------------------------------------------------------------------------------------------------- finding by secret


def find_api_key(secret: str, at: datetime) -> ApiKey:
    """The key that has this secret and may be used at `at`; its last use is noted. Read it, do not change it.

    Raises `UnknownCredential`, `RevokedCredential`, `ExpiredCredential`.
    """
    digest = _digest(secret, API_KEY)
    key = _usable(_api_key(digest), digest, at)
    _note_use(key, at)
    return key


def find_token(secret: str, at: datetime) -> AccessToken:
    """The token that has this secret and may be used at `at`, with its user; its last use is noted.

    Raises `UnknownCredential`, `RevokedCredential`, `ExpiredCredential`, `InactiveUser`.
    """
    digest = _digest(secret, TOKEN)
    token = _usable(AccessToken.objects.select_related("user").filter(hash=digest).first(), digest, at)
    if not token.user.is_active:
        raise InactiveUser
    _note_use(token, at)
    return token


def _digest(secret: str, kind: str) -> str:
    if not looks_right(secret, kind):
        raise UnknownCredential
    return hash_of(secret)


def _api_key(digest: str) -> ApiKey | None:
    """The row, at most `REMEMBERED_SECONDS` old."""
    now = monotonic()
    key, read_at = _remembered.get(digest, (None, now))
    if key is None or now - read_at >= REMEMBERED_SECONDS:
        key = ApiKey.objects.filter(hash=digest).first()
        if key is not None:
            _remember(key, now)
    return key


def _remember(key: ApiKey, read_at: float) -> None:
    if len(_remembered) >= MOST_REMEMBERED:
        _remembered.clear()
    _remembered[key.hash] = (key, read_at)


def _usable(credential: AnyCredential | None, digest: str, at: datetime) -> AnyCredential:
    if credential is None or not compare_digest(credential.hash, digest):
        raise UnknownCredential
    if credential.revoked_at is not None:
        raise RevokedCredential
    if credential.has_expired(at):
        raise ExpiredCredential
    return credential


def _forget(key: ApiKey) -> None:
    """In this process, once the change is committed; the others find out by themselves."""
    transaction.on_commit(lambda: _remembered.pop(key.hash, None))


def _note_use(credential: Credential, at: datetime) -> None:
    """Write when it was last used, at most once a minute however many processes use it."""
    before = at - LAST_USE_EVERY
    if credential.last_used_at is not None and credential.last_used_at > before:
        return
    not_noted = Q(last_used_at=None) | Q(last_used_at__lte=before)
    type(credential)._default_manager.filter(not_noted, pk=credential.pk).update(last_used_at=at)
    credential.last_used_at = at


# ----------------------------------------------------------------------------------------------------------- revoking


def revoke(credential: ApiKey | AccessToken, *, at: datetime, by: User | None) -> bool:
    """End a credential for good; False when it had been revoked already.

    A token is refused from its commit on, an API key half a second later at the latest.
    """
    rows = type(credential)._default_manager.filter(pk=credential.pk, revoked_at=None)
    with transaction.atomic():
        if not rows.update(revoked_at=at):
            return False
        if isinstance(credential, ApiKey):
            record("api_key_revoked", actor=by, data=_described(credential))
            _forget(credential)
        else:
            record("access_token_revoked", user=credential.user, actor=by, data=_described(credential))
    credential.revoked_at = at
    return True


# -------------------------------------------------------------------------------------------------------------- checks


def _checked_name(name: str) -> str:
    name = name.strip()
    if not (name.isprintable() and 1 <= len(name) <= 80):
        raise InvalidCredential("The name of an API key is 1 to 80 printable characters.")
    return name


def _checked_rights(rights: Sequence[str]) -> list[str]:
    """Each once, in the order of `Right`."""
    unknown = [right for right in rights if right not in Right.values]
    if unknown or not rights:
        problem = f"There is no right {unknown[0]!r}" if unknown else "A key without a right opens nothing"
        raise InvalidCredential(f"{problem}: choose from {', '.join(Right.values)}.")
    return [right for right in Right.values if right in rights]


def _checked_limit(requests_per_minute: int | None) -> int | None:
    if requests_per_minute is not None and not 1 <= requests_per_minute <= MOST_REQUESTS_PER_MINUTE:
        raise InvalidCredential(
            f"A key has 1 to {MOST_REQUESTS_PER_MINUTE} requests per minute, or none said: as many as it likes."
        )
    return requests_per_minute


def _checked_expiry(expires_at: datetime | None, at: datetime) -> datetime | None:
    if expires_at is not None and expires_at <= at:
        raise InvalidCredential("The key would have expired before its first use: choose a later time.")
    return expires_at


def _described(credential: ApiKey | AccessToken) -> dict[str, object]:
    """For the audit log. Neither the secret nor its hash."""
    described: dict[str, object] = {"prefix": credential.prefix, "expires_at": credential.expires_at}
    if isinstance(credential, ApiKey):
        limit = credential.requests_per_minute
        described |= {"name": credential.name, "rights": list(credential.rights), "requests_per_minute": limit}
    return described


# ------------------------------------------------------------------------------------------------------------ clean-up


def delete_ended_tokens(at: datetime) -> int:
    """Delete tokens that were revoked or have expired; how many. API keys stay: the audit log speaks of them."""
    return AccessToken.objects.filter(Q(revoked_at__isnull=False) | Q(expires_at__lte=at)).delete()[0]


def delete_old_answers(at: datetime) -> int:
    """Delete the answers whose idempotency keys have lived their thirty days; how many."""
    return IdempotentAnswer.objects.filter(created_at__lt=at - ANSWERS_KEPT).delete()[0]
