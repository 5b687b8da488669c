"""Moments are written once, with their zone, for whoever reads them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.template import Context, Template
from django.test import Client

from experiments.models import TuningTask
from experiments.moments import FORMS, moment
from tests.unit.conftest import url

AT = datetime(2026, 11, 27, 16, 35, 20, 123456, UTC)


def test_a_moment_is_machine_readable_and_has_its_zone_without_javascript() -> None:
    assert moment(AT) == (
        '<time datetime="2026-11-27T16:35:20+00:00" data-form="second" '
        'title="2026-11-27 16:35:20 UTC">2026-11-27 16:35:20 UTC</time>'
    )


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("second", "2026-11-27 16:35:20 UTC"),
        ("minute", "2026-11-27 16:35 UTC"),
        ("clock", "16:35:20 UTC"),
    ],
)
def test_a_template_chooses_how_much_of_it_is_written(form: str, text: str) -> None:
    written = Template("{% load moments %}{{ at|moment:form }}")
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    html = written.render(Context({"at": elsewhere, "form": form}))
    assert re.sub("<.*?>", "", html) == text and form in FORMS


def test_no_moment_is_a_dash() -> None:
    assert moment(None) == "–"


@pytest.mark.usefixtures("site")
def test_lists_write_moments_the_same_way(
    make_task: Callable[..., TuningTask], staff: Callable[..., Client]
) -> None:
    task = make_task()
    page = staff("view_tuningtask").get(url("tuningtask_changelist")).content.decode()
    assert moment(task.created_at, "minute") in page
