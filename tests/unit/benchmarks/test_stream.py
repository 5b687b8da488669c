"""A stream of server-sent events: which bytes are tokens, when, and what went wrong."""

import json
from typing import Any

import pytest

from experiments.benchmarks.stream import CompletionStream, describe_error


def event(**content: Any) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def token(text: str, reason: str | None = None, **more: Any) -> bytes:
    return event(choices=[{"index": 0, "text": text, "finish_reason": reason}], **more)


def test_the_first_token_and_the_gaps_are_timed() -> None:
    stream = CompletionStream()
    stream.feed(token("a"), 1.0)
    stream.feed(token("b"), 1.5)
    stream.feed(token("c", "length") + b"data: [DONE]\n\n", 2.5)
    stream.close(2.6)
    assert stream.first == 1.0
    assert stream.gaps == [0.5, 1.0]
    assert stream.output_tokens == 3


def test_the_servers_count_of_tokens_wins_over_chunks() -> None:
    stream = CompletionStream()
    stream.feed(token("several tokens in one chunk"), 1.0)
    stream.feed(event(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 4}), 2.0)
    assert stream.output_tokens == 4
    assert stream.usage["prompt_tokens"] == 9
    assert stream.gaps == []


def test_usage_may_come_with_the_last_token() -> None:
    stream = CompletionStream()
    stream.feed(token("a", usage=None), 1.0)
    stream.feed(token("b", "length", usage={"completion_tokens": 2}), 2.0)
    assert stream.gaps == [1.0]
    assert stream.output_tokens == 2


def test_an_event_may_arrive_in_pieces() -> None:
    stream = CompletionStream()
    whole = token("a") + token("b", "stop")
    for index in range(len(whole)):
        stream.feed(whole[index : index + 1], float(index))
    stream.close(1000.0)
    assert stream.output_tokens == 2


@pytest.mark.parametrize("compact", [True, False])
def test_an_empty_last_chunk_is_no_token(compact: bool) -> None:
    separators = (",", ":") if compact else (", ", ": ")
    last = {"choices": [{"text": "", "finish_reason": "length"}]}
    stream = CompletionStream()
    stream.feed(token("a"), 1.0)
    stream.feed(b"data: " + json.dumps(last, separators=separators).encode() + b"\r\n\r\n", 2.0)
    assert stream.output_tokens == 1


def test_the_last_token_ends_the_completion_and_not_what_follows_it() -> None:
    stream = CompletionStream()
    stream.feed(token("a"), 1.0)
    stream.feed(token("b", "length"), 2.0)
    stream.feed(event(choices=[], usage={"completion_tokens": 2}), 3.0)
    stream.feed(b"data: [DONE]\n\n", 4.0)
    stream.close(5.0)
    assert stream.last == 2.0


def test_a_last_token_without_a_text_still_ends_the_completion() -> None:
    stream = CompletionStream()
    stream.feed(token("a"), 1.0)
    stream.feed(token("", "length"), 2.0)
    stream.feed(event(choices=[], usage={"completion_tokens": 2}), 3.0)
    assert stream.last == 2.0
    assert stream.gaps == []


def test_a_token_that_is_part_of_a_character_counts() -> None:
    stream = CompletionStream()
    stream.feed(token("a") + token("") + token("\u00e9", "length"), 1.0)
    assert stream.output_tokens == 3


def test_a_single_token_without_text_is_still_a_first_token() -> None:
    stream = CompletionStream()
    stream.feed(token("", "length"), 1.0)
    stream.feed(event(choices=[], usage={"completion_tokens": 1}), 2.0)
    stream.close(2.0)
    assert stream.first == 1.0


def test_a_text_that_looks_like_an_error_is_a_token() -> None:
    stream = CompletionStream()
    stream.feed(token('{"error": "usage":{ "text":""'), 1.0)
    assert stream.error == ""
    assert stream.output_tokens == 1


def test_an_error_in_the_stream_is_kept() -> None:
    stream = CompletionStream()
    stream.feed(token("a"), 1.0)
    stream.feed(event(error={"message": "EngineCore\n died", "code": 500}), 2.0)
    assert stream.error == "EngineCore died"


def test_comments_and_other_fields_are_skipped() -> None:
    stream = CompletionStream()
    stream.feed(b": ping\n\nevent: message\nid: 3\n" + token("a"), 1.0)
    assert stream.output_tokens == 1


def test_what_is_not_json_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        CompletionStream().feed(b"data: <html>\n\n", 1.0)


@pytest.mark.parametrize("error", [{"message": "no such model"}, "no such model"])
def test_an_error_is_one_line_in_any_shape(error: Any) -> None:
    assert describe_error(error) == "no such model"
