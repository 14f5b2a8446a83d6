"""The start, signing in and signing out."""

from __future__ import annotations

import pytest
from django.test import Client

from rewards.users.models import User

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse"


@pytest.fixture
def alice():
    return User.objects.create_user("alice", password=PASSWORD)


def sign_in(client: Client, name: str = "alice", password: str = PASSWORD, address: str = "/login/"):
    return client.post(address, {"username": name, "password": password})


class TestStart:
    def test_who_is_not_signed_in_is_sent_to_sign_in(self, client):
        response = client.get("/", follow=True)

        assert response.redirect_chain[-1] == ("/login/?next=/me/", 302)
        assert "Sign in" in response.text

    def test_a_recipient_comes_to_his_page(self, client, alice):
        client.force_login(alice)

        assert client.get("/").headers["Location"] == "/me/"

    def test_staff_come_to_the_back_office(self, client, alice):
        User.objects.update(is_staff=True)
        client.force_login(User.objects.get())

        assert client.get("/").headers["Location"] == "/admin/"
        assert 'href="/admin/"' in client.get("/me/").text


class TestSigningIn:
    def test_with_the_password(self, client, alice):
        response = sign_in(client)

        assert response.headers["Location"] == "/"
        assert client.get("/me/").status_code == 200

    def test_with_another_one_says_what_to_do(self, client, alice):
        response = sign_in(client, password="wrong")

        assert response.status_code == 200
        assert "do not fit together" in response.text
        assert 'value="alice"' in response.text
        assert client.get("/me/").status_code == 302

    def test_who_is_switched_off_reads_the_same_as_who_does_not_exist(self, client, alice):
        User.objects.update(is_active=False)

        switched_off, unknown = sign_in(client), sign_in(client, "nobody")

        assert "or the account is switched off" in switched_off.text
        assert "do not fit together" in unknown.text
        assert client.get("/me/").status_code == 302

    def test_without_a_password_says_that_both_are_needed(self, client, alice):
        assert "Both the username and the password are needed" in sign_in(client, password="").text

    @pytest.mark.parametrize("address", ["/login/", "/admin/login/"])
    def test_after_ten_attempts_under_a_name_the_right_password_does_not_help_either(self, client, alice, address):
        User.objects.update(is_staff=True)
        for _ in range(10):
            sign_in(client, password="wrong", address=address)

        refused = sign_in(client, address=address)

        assert "too many attempts to sign in" in refused.text
        assert "_auth_user_id" not in client.session

    def test_leads_back_to_where_one_wanted_to_go(self, client, alice):
        assert sign_in(client, address="/login/?next=/me/rewards/").headers["Location"] == "/me/rewards/"

    @pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
    def test_never_leads_to_another_site(self, client, alice, elsewhere):
        assert sign_in(client, address=f"/login/?next={elsewhere}").headers["Location"] == "/"

    def test_a_form_from_before_is_told_what_to_do(self, alice):
        response = sign_in(Client(enforce_csrf_checks=True))

        assert response.status_code == 403
        assert "load the page again, and send it once more" in response.text

    def test_names_that_are_markup_stay_text(self, client):
        assert "&lt;script&gt;" in sign_in(client, "<script>alert(1)</script>", "x").text


class TestSigningOut:
    def test_takes_a_button_not_a_link(self, client, alice):
        client.force_login(alice)

        assert client.get("/logout/").status_code == 405
        assert client.get("/me/").status_code == 200

        assert client.post("/logout/").headers["Location"] == "/login/"
        assert client.get("/me/").status_code == 302

    def test_is_refused_without_the_token_of_the_form(self, alice):
        client = Client(enforce_csrf_checks=True)
        client.force_login(alice)

        assert client.post("/logout/").status_code == 403
