"""Prompts of a wanted number of tokens, without the engine's tokenizer."""

from dataclasses import dataclass
from random import Random

# Two letters each: the commonest beginnings of English words, so nearly every byte-pair
# tokenizer has each of them, with its space, as one token. Equal lengths keep the count
# per word constant where a tokenizer falls back to single bytes. Many different words,
# so that neither a prefix cache, nor n-gram speculation, nor an expert router has it easy.
_BEGINNINGS = (
    "in on at to of is it as be by he we me my no so up us or an if do go am "
    "th st re de co pr ex un ma pa ha wh wa se sh ch su ca fo fe le la li lo "
    "di da ba bo br cl cr en em fa fi fl fr gr hi ho im mo mu ne ob op pe pl "
    "po ra ri ro sa sc si sp"
)
WORDS = _BEGINNINGS.split()

# Long enough to see every word once, short enough for any context window.
CALIBRATION_WORDS = (8, len(WORDS))

# Below this, a remainder in letters would not be a token each.
_LETTERS_ARE_TOKENS = 1.5


@dataclass(frozen=True)
class Calibration:
    """How a tokenizer counts our words: `constant` + words * `per_word`, in tokens."""

    per_word: float = 1.0
    constant: float = 0.0

    def prompt(self, tokens: int, random: Random) -> tuple[str, int]:
        """A random prompt of about `tokens` tokens, and the tokens expected of it."""
        room = tokens - self.constant
        fine = self.per_word > _LETTERS_ARE_TOKENS
        words = max(1, int(room / self.per_word) if fine else round(room / self.per_word))
        letters = max(0, round(room - words * self.per_word)) if fine else 0
        text = " ".join(random.choices(WORDS, k=words)) + "x" * letters
        return text, max(1, round(self.constant + words * self.per_word + letters))


def calibration_text(words: int, random: Random) -> str:
    """A text of `words` different words, to be counted by the engine."""
    return " ".join(random.sample(WORDS, words))


def calibrate(short: int, long: int) -> Calibration:
    """The line through two counts, of texts with CALIBRATION_WORDS words."""
    few, many = CALIBRATION_WORDS
    per_word = (long - short) / (many - few)
    if per_word <= 0:
        return Calibration()
    return Calibration(per_word, short - few * per_word)
