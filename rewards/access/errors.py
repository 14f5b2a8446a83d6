"""The broken rules of credentials, one class each."""

from rewards.common.errors import RewardsError


class CredentialRefused(RewardsError):
    """This key or token does not open anything. Use another one."""

    code = "credential_refused"
    http_status = 401


class UnknownCredential(CredentialRefused):
    """This key or token is not known. Check that it was copied whole."""

    code = "unknown_credential"


class RevokedCredential(CredentialRefused):
    """This key or token was revoked. Ask for a new one."""

    code = "revoked_credential"


class ExpiredCredential(CredentialRefused):
    """This key or token has expired. Ask for a new one."""

    code = "expired_credential"


class InactiveUser(CredentialRefused):
    """The user of this token is not active. Ask an administrator."""

    code = "inactive_user"


class TwoCredentials(CredentialRefused):
    """Send an API key (x-api-key) or a token (Authorization), not both."""

    code = "two_credentials"


class WrongPassword(CredentialRefused):
    """Username and password do not belong together, or the user is not active."""

    code = "wrong_password"


class InvalidCredential(RewardsError):
    """A key or token cannot be made like this. Check its name, rights, limit and expiry."""

    code = "invalid_credential"
    http_status = 400


class NameTaken(RewardsError):
    """Another API key has this name. Choose another one."""

    code = "api_key_name_taken"
    http_status = 409
