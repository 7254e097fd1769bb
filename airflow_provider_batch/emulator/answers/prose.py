"""
Make a sentence that depends on the prompt: its most typical sentence and its most frequent words.

Instructions ("Summarize …", "Classify …") are used only where the prompt has no other sentence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain

from airflow_provider_batch.emulator.answers import tokens
from airflow_provider_batch.emulator.answers.common import ModelRequest

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
#: Characters of a prompt that are used; more would only take time.
_MAX_CHARACTERS = 2_000
_LONGEST_SENTENCE = 240


def summary(prompt: str) -> str:
    """
    Return one sentence about a prompt; the same prompt gives the same sentence.

    :param prompt: Text of the prompt; only its first 2,000 characters are used.
    """
    sentences = [(text, _WORD.findall(text.lower())) for text in _SENTENCE.split(prompt[:_MAX_CHARACTERS])]
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
    """
    Cut a text to a number of tokens, and say whether anything was cut.

    :param text: Text of the answer.
    :param limit: Maximum in tokens; anything that is no whole number means no limit.
    :return: `(text, whether it was cut)`.
    """
    if not isinstance(limit, int) or tokens.count(text) <= limit:
        return text, False
    return text[: max(1, limit * 4)] if text.isascii() else text[: max(1, limit)], True


def with_fault(text: str, request: ModelRequest) -> str:
    """
    Return the text of an answer with the request's fault applied.

    :param text: Text of the plain answer.
    :param request: Request that is answered; its `fault` says what to change.
    """
    fault = request.fault
    if fault is None:
        return text
    if fault.kind == "answer":
        return text if fault.message is None else fault.message
    if fault.kind == "raw_separators":
        return f"{text}\u2028after a line separator\u2029after a paragraph separator\u0085after a next line"
    if fault.kind == "lone_surrogate":
        return text + " \ud83d"
    if fault.kind == "truncated":
        return text[: max(1, len(text) // 2)]
    return text
