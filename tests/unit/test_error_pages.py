"""What is shown instead of a page, in the site's looks and with its policy."""

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse

from experiments import error_pages
from tests.unit.conftest import SCRIPT, url

pytestmark = pytest.mark.usefixtures("site")


def test_an_address_without_a_page_says_so_and_leads_on(admin_client: Client) -> None:
    for address in ("/nowhere/", url("tuningtask_live", 999), f"/admin/{SCRIPT}/"):
        answer = admin_client.get(address)
        page = answer.content.decode()
        assert answer.status_code == 404
        assert "Not found | Autotuner" in page and url("tuningtask_changelist") in page
        assert SCRIPT not in page


def test_a_stranger_who_is_lost_may_log_in(client: Client) -> None:
    page = client.get("/nowhere/").content.decode()
    assert reverse("admin:login") in page and url("tuningtask_changelist") not in page


def test_who_is_refused_is_told_the_role_that_he_has(client: Client) -> None:
    client.force_login(User.objects.create_user("mute", is_staff=True))
    answer = client.get(reverse("gpus"))
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "Your role does not include this (yours: none)" in page
    assert url("tuningtask_changelist") not in page


def test_a_post_that_no_page_of_ours_sent_is_refused_in_words(admin_user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    answer = client.post(reverse("gpus_act", args=["drain"]))
    assert answer.status_code == 403
    assert "Nothing was done" in answer.content.decode()


def test_what_goes_wrong_is_said_without_the_database(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a detail for the log only")

    admin_client.raise_request_exception = False
    monkeypatch.setattr(error_pages, "page", broken)
    answer = admin_client.get("/nowhere/")
    page = answer.content.decode()
    assert answer.status_code == 500
    assert "Something went wrong | Autotuner" in page and "a detail" not in page
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


@override_settings(ALLOWED_HOSTS=["example.org"])
def test_every_answer_has_the_policy_also_the_earliest_ones(client: Client) -> None:
    client.raise_request_exception = False
    for host, status in (("evil.test", 400), ("example.org", 404)):
        answer = client.get("/nowhere/", headers={"host": host})
        assert answer.status_code == status
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
