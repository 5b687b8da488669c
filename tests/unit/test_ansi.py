"""A program's output as HTML: colours are kept, and all text is only text."""

import re

from hypothesis import given
from hypothesis import strategies as st

from experiments import ansi

ESC = "\x1b["


def words(text: str) -> str:
    """What is between the tags."""
    return re.sub(r"<[^>]*>", "", ansi.html(text))


def test_a_colour_is_a_span_and_ends_with_its_reset() -> None:
    shown = ansi.html(f"{ESC}31mbad{ESC}0m good")
    assert '<span class="at-ansi-1">bad</span> good' in shown


def test_a_colour_goes_on_in_the_next_line() -> None:
    assert ansi.html(f"{ESC}1;32mone\ntwo").count('<span class="at-bold at-ansi-2">') == 2


def test_extended_colours_are_left_out_with_their_numbers() -> None:
    assert "class=" not in ansi.html(f"{ESC}38;5;31mx").replace('class="at-line"', "")


def test_markup_is_text_also_within_a_colour() -> None:
    shown = ansi.html(f"{ESC}31m<script>alert('1')</script>")
    assert "&lt;script&gt;" in shown and "<script" not in shown


def test_other_sequences_are_left_out() -> None:
    assert words(f"a{ESC}2Kb\x1b]0;title\x07c\x07d\x1b]8;;http://x\x1b\\e") == "abcde\n"


def test_of_a_progress_bar_the_last_state_is_shown() -> None:
    assert words("10 %\r50 %\r100 %\r\ndone") == "100 %\ndone\n"


@given(st.text(alphabet="<>&\"'\x1b[]0123456789;mK\x07\\\r\nab", max_size=60))
def test_no_text_makes_a_tag_or_keeps_a_control_character(text: str) -> None:
    shown = ansi.html(text)
    spans = r'</?span(?: class="(?:at-line|at-bold|at-bold at-ansi-\d|at-ansi-\d)")?>'
    rest = re.sub(spans, "", shown)
    assert not set("<>\x1b\x07\r\"'") & set(rest)
    assert len(re.findall(r"<span", shown)) == len(re.findall(r"</span>", shown))
