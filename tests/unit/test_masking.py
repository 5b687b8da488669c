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
