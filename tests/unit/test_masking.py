"""What is secret in a command or a variable is never shown, and what is not is."""

import pytest

from experiments import masking


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "OPENAI_API_KEY", "--api-key", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY"]
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert masking.is_secret(name)


@pytest.mark.parametrize(
    "name", ["max-num-batched-tokens", "--tokenizer", "--max-tokens", "kv-cache-dtype", "KEYBOARD"]
)
def test_flags_that_are_only_called_alike_are_shown(name: str) -> None:
    assert not masking.is_secret(name)


def test_a_command_keeps_all_but_its_secrets() -> None:
    given = ["serve", "--api-key", "x1", "--api-key=x2", "--port", "1", "HF_TOKEN=x3"]
    shown = masking.command(given)
    assert shown == [
        *("serve", "--api-key", masking.MASK, f"--api-key={masking.MASK}", "--port", "1"),
        f"HF_TOKEN={masking.MASK}",
    ]


def test_the_password_of_an_address_is_masked() -> None:
    shown = masking.environment({"URL": "redis://me:hunter2@host/0", "HF_TOKEN": "x", "A": "b"})
    assert shown == {
        "A": "b",
        "HF_TOKEN": masking.MASK,
        "URL": f"redis://me:{masking.MASK}@host/0",
    }


@pytest.mark.parametrize(
    "name", ["MINIO_SECRET_KEY", "--admin-api-key", "KV_PASSWORD", "PGPASSWORD", "accessToken"]
)
def test_a_part_of_a_name_that_looks_harmless_does_not_show_a_secret(name: str) -> None:
    assert masking.is_secret(name)


@pytest.mark.parametrize("name", ["api-key-file", "speculative-token-map", "token-id", "PWD"])
def test_where_a_secret_is_kept_and_what_counts_tokens_is_shown(name: str) -> None:
    assert not masking.is_secret(name)


def test_secrets_that_a_text_itself_tells_of_are_masked() -> None:
    given = (
        'GET https://host/a?token=abc&page=2 with Bearer abcdefg and {"api_key": "a\\"b", "n": "1"}'
    )
    assert masking.hide(given) == (
        f"GET https://host/a?token={masking.MASK}&page=2 with Bearer {masking.MASK} and "
        f'{{"api_key": "{masking.MASK}", "n": "1"}}'
    )


def test_a_command_for_the_shell_names_the_variables_that_it_wants() -> None:
    line = masking.shell_line(
        {"HF_TOKEN": "x", "A": "b c"},
        ["serve", "--api-key=y", "redis://me:pass@h", "it is hunter22", ""],
        {"hunter22": "env.PASSWORD"},
    )
    assert line == (
        """HF_TOKEN="$HF_TOKEN" A='b c' serve --api-key="$API_KEY" """
        """redis://me:"$PASSWORD"@h 'it is '"$PASSWORD" ''"""
    )


def test_a_long_word_takes_no_long_time() -> None:
    assert masking.hide("a" * 2**19, {"hunter22": "x"}) == "a" * 2**19
    assert masking.hide('"' * 2**14 + "?a=" * 2**14)
