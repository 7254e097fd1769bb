"""
A sentence that depends on a prompt: the one of its sentences that says most, and the words it turns on.

Instructions ("Summarize …", "Classify …") are passed over where there is anything else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain

from airflow_provider_batch.emulator.answers import tokens
from airflow_provider_batch.emulator.answers.common import Asked

_WORD = re.compile(r"[^\W\d_][\w'-]*")
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_INSTRUCTION = re.compile(
    r"^\W*(please|you are|summari[sz]e|classify|translate|describe|explain|extract|answer|write|tell|give|rate|reply|"
    r"respond|what|in one)\b",
    re.IGNORECASE,
)
_STOP = frozenset(
    _WORD.findall(
        "a an and are as at be been but by can do does for from has have he her his how i if in into is it its may "
        "more no not of on one or our out she so such than that the their them then there these they this to up was "
        "we were what when which who will with you your"
    )
)
#: Characters of a prompt that are looked at; the rest would only cost time.
_LOOKED_AT = 2_000
_LONGEST_SENTENCE = 240


def summary(prompt: str) -> str:
    """Return one sentence about `prompt`, the same each time."""
    sentences = [(text, _WORD.findall(text.lower())) for text in _SENTENCE.split(prompt[:_LOOKED_AT])]
    weights = Counter(chain.from_iterable(words for _, words in sentences))
    total = weights.total()
    if not total:
        return f"The text holds {len(prompt)} characters and no words."
    first = next(iter(weights))
    for word in [word for word in weights if word in _STOP or len(word) < 3]:
        del weights[word]
    sentence = _best_sentence(sentences, weights)
    keywords = ", ".join(word for word, _ in weights.most_common(3))
    ending = "" if sentence[-1:] in ".!?。！？" else "."
    return f"{sentence}{ending} ({total} words; about {keywords or first})"


def _best_sentence(sentences: Iterable[tuple[str, list[str]]], weights: Counter[str]) -> str:
    best, best_score = "", -1.0
    for sentence, words in sentences:
        if not words:
            continue
        score = sum(map(weights.__getitem__, words)) / (len(words) + 4) ** 0.5
        if score > best_score and _INSTRUCTION.match(sentence):
            score *= 0.05
        if score > best_score:
            best, best_score = sentence.strip(), score
    return best if len(best) <= _LONGEST_SENTENCE else best[:_LONGEST_SENTENCE].rsplit(" ", 1)[0] + " …"


def fit(text: str, limit: object) -> tuple[str, bool]:
    """Return `text` cut to a number of tokens, and whether anything was cut."""
    if not isinstance(limit, int) or tokens.count(text) <= limit:
        return text, False
    return text[: max(1, limit * 4)] if text.isascii() else text[: max(1, limit)], True


def twisted(text: str, asked: Asked) -> str:
    """Return the text as a fault wants it."""
    twist = asked.twist
    if twist is None:
        return text
    if twist.kind == "answer":
        return twist.text if twist.text is not None else text
    if twist.kind == "raw_separators":
        return f"{text}\u2028after a line separator\u2029after a paragraph separator\u0085after a next line"
    if twist.kind == "lone_surrogate":
        return text + " \ud83d"
    if twist.kind == "truncated":
        return text[: max(1, len(text) // 2)]
    return text
