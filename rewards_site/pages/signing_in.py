"""The start, signing in, signing out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_safe
from rest_framework.exceptions import Throttled
from unfold.forms import AuthenticationForm as UnfoldAuthenticationForm

from rewards.api.throttles import count_sign_in_on_page
from rewards.users.models import User
from rewards_site.pages.shared import open_page


class CountedSignInForm(AuthenticationForm):
    """Lets nobody try one password after the other."""

    def clean(self) -> dict[str, Any]:
        try:
            count_sign_in_on_page(self.request, self.cleaned_data.get("username", ""))  # type: ignore[arg-type]
        except Throttled as error:
            wait = error.wait  # type: ignore[attr-defined]  # not in the stubs
            sentence = f"These are too many attempts to sign in. Try again in {wait} seconds."
            raise ValidationError(sentence, code="throttled") from error
        return super().clean()


class StaffSignInForm(CountedSignInForm, UnfoldAuthenticationForm):
    """That of the back-office."""


class SignInForm(CountedSignInForm):
    """Says neither whether a name exists nor whether it is switched off to who does not know its password."""

    error_messages = {
        "invalid_login": "This username and password do not fit together, or the account is switched off. "
        "Capital letters matter in both. If you have no password yet, ask whoever runs this site for one.",
        "inactive": "This account is switched off. Ask whoever runs this site.",
    }


class SignIn(LoginView):
    """Leads back to `next` where that is an address of this site, else to the start."""

    template_name = "pages/login.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True


sign_in = open_page(SignIn.as_view())  # type: ignore[arg-type]  # it never streams
sign_out = LogoutView.as_view(next_page="pages:login")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Staff to the back-office, everybody else to their own page."""
    if isinstance(request.user, User) and request.user.is_staff:
        return redirect("admin:index")
    return redirect("pages:me")
