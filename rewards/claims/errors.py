"""The broken rules of claims, one class each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewards.common.errors import RewardsError
from rewards.ledger.errors import UnknownCurrency as UnknownCurrency

if TYPE_CHECKING:
    from rewards.claims.models import Claim


class AlreadyClaimed(RewardsError):
    """This was claimed before; the answer carries the first result. Nothing is left to do."""

    code = "already_claimed"
    http_status = 409

    def __init__(self, message: str, *, claim: Claim, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.claim = claim


class UnknownClaimType(RewardsError):
    """There is no such claim type. See the claim types in the admin."""

    code = "unknown_claim_type"
    http_status = 404


class ClaimTypeInactive(RewardsError):
    """This cannot be claimed now: the claim type is switched off, not started yet, or over."""

    code = "claim_type_inactive"


class NotForUsers(RewardsError):
    """Only the product's machine key may claim this, not a user."""

    code = "not_for_users"
    http_status = 403


class KeyMissing(RewardsError):
    """Name the deed: send a claim_key that stays the same when the request is repeated."""

    code = "claim_key_missing"


class InvalidKey(RewardsError):
    """A claim key is 1 to 200 printable characters and neither starts nor ends with a space."""

    code = "invalid_claim_key"


class KeyMismatch(RewardsError):
    """The claim_key does not fit the context. Leave it out, or send the one that the context gives."""

    code = "claim_key_mismatch"


class ContextRefused(RewardsError):
    """The context is not what this claim type asks for."""

    code = "invalid_context"


class ClaimantMissing(RewardsError):
    """Say who claims: send user."""

    code = "claimant_missing"


class LimitReached(RewardsError):
    """The user has claimed this as often as he may."""

    code = "limit_reached"
    http_status = 409


class InvalidRecipe(RewardsError):
    """The recipe cannot be used as it is."""

    code = "invalid_recipe"


class RecipeFailed(RewardsError):
    """The recipe cannot be worked out for this context."""

    code = "recipe_failed"


class UnknownParty(RewardsError):
    """The context names a user who does not exist."""

    code = "unknown_user"


class NothingToClaim(RewardsError):
    """For this context the recipe gives and takes nothing."""

    code = "nothing_to_claim"


class CreditWithoutDebit(RewardsError):
    """A user can claim for himself only what costs him something, or what is limited."""

    code = "credit_without_debit"
