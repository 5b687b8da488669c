"""`{{ marks|drawn_marks }}` and the like, after `{% load chart_marks %}`."""

from django import template

from experiments import chart_marks

register = template.Library()
register.filter("drawn_marks", chart_marks.marks)
register.filter("drawn_lines", chart_marks.lines)
