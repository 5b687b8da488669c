"""`{{ at|moment:"clock" }}`, after `{% load moments %}`."""

from django import template

from experiments.moments import moment

register = template.Library()
register.filter("moment", moment)
