"""`{{ title|crumb }}`, after `{% load crumbs %}`: the path to a page in the words of the menu."""

from typing import Any

from django import template

from experiments.models import Experiment

register = template.Library()
WORDS = {"task results": "job results"}  # What others call what we name otherwise


@register.filter
def crumb(title: Any) -> str:
    """A step of the path to a page. What it is of may be a row."""
    if isinstance(title, Experiment):
        return f"{title.task} / #{title.number}"
    return WORDS.get(str(title), str(title))
