r"""Arithmetic: right if the last stated result equals the expected number.

The result is looked for where people put it: inside the last ``\boxed{}``, after the last "answer is" (or
``####``), else in the last sentence with a number: the last one that the question did not give ("45 glasses of
0.2 litres"), or the last. Written forms are many: 1,234.5; 1.234,5; -$3; 25 %; 3/4; 2 1/2;
\frac{3}{4}; 1.2e3; 1.5 × 10^3; 2.5 million; eighteen.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from bench.datasets.item import Item
from bench.graders.grade import RIGHT, WRONG, Grade

RELATIVE_TOLERANCE = 1e-6
MIN_ROUNDED_DECIMALS = 2  # 3.3333 passes for 3.33, but 3.46 never for 3.5

_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9}
_UNIT_NAMES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TEN_NAMES = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {name: value for value, name in enumerate(_UNIT_NAMES.split())}
_TENS = {name: 10 * value for value, name in enumerate(_TEN_NAMES.split(), start=2)}
_WORD_NUMBER = re.compile(
    rf"\b(?:(?:{'|'.join([*_UNITS, *_TENS, 'hundred', *_SCALES])})(?:[\s-]+(?:and\s+)?(?=\w))?)+\b", re.IGNORECASE
)

_DIGITS = r"(?:\d{1,3}(?:[,  ' ]\d{3})+(?!\d)(?:\.\d+)?|\d{1,3}(?:\.\d{3})+,\d+|\d+(?:[.,]\d+)?|\.\d+)"
_NUMBER = re.compile(
    rf"""
    (?P<sign>(?<![\w)\]}}])[-+](?=[\d.$€£¥])|(?<==)-\s|(?<==\s)-\s|\b(?:minus|negative)\s)?
    (?:[$€£¥]\s?(?P<inner_sign>-)?)?
    (?<![\w.^])(?P<whole>{_DIGITS})
    (?:(?:[eE](?P<exponent>[-+]?\d+)\b)|(?:\s?(?:[x×*]|\\times)\s?10\s?(?:\^|\*\*)\s?(?P<power>[-+]?\d+)))?
    (?:\s?/\s?(?P<denominator>\d+(?:\.\d+)?)(?![\d/])|\s(?P<numerator>\d+)\s?/\s?(?P<mixed_denominator>\d+)(?![\d/]))?
    (?:\s?(?P<percent>%|percent\b))?
    (?:\s(?P<scale>thousand|million|billion)\b)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MARKER = re.compile(
    r"\b(?:answer|result|solution)\b(?:\s+(?:to|of|for)\s[^.:=\n]{0,80})?\**\s*"
    r"(?:is|=|:|are|was|equals|would be|comes to)|(?<!#)####(?!#)\s*(?=[-+$€£¥(]*[\d.])",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"\n|\.(?=\s|$)")


@dataclass(frozen=True, slots=True)
class Stated:
    """A number as it stands in a text.

    Attributes:
        values: What it may mean: ``25 %`` is 25 and .25, ``2.5 million`` is 2,500,000 and 2.5, 1.200 also 1,200.
        decimals: Digits after the decimal point; None for fractions and powers, which are exact.
    """

    values: tuple[float, ...]
    decimals: int | None


def _plain(text: str) -> str:
    r"""Typographic and LaTeX forms as plain ones."""
    text = text.replace("−", "-").replace("–", "-").replace("\u00a0", " ").replace("\u202f", " ").replace("\u2009", " ")
    text = re.sub(r"\\[dt]?frac\s*\{\s*([\d.,]+)\s*\}\s*\{\s*([\d.,]+)\s*\}", r" \1/\2 ", text)
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\s*\{([^{}]*)\}", r" \1", text)
    text = text.replace("{,}", ",").replace("\\,", " ").replace("\\!", "").replace("\\ ", " ")
    text = re.sub(r"\\([$%])", r"\1", text)
    return re.sub(r"(?<=\d)\s*\\(?:cdot|times)\s*(?=10\s*[\^*])", " × ", re.sub(r"\^\s*\{(-?\d+)\}", r"^\1", text))


def _decimal(digits: str) -> tuple[float, int]:
    """Value and number of decimals of a run of digits with any separators."""
    digits = re.sub(r"[  ']", "", digits)
    if "," in digits and "." in digits:
        decimal = max(digits.rfind(","), digits.rfind("."))
        digits = re.sub(r"[.,]", "", digits[:decimal]) + "." + digits[decimal + 1 :]
    elif re.fullmatch(r"\d{1,3}(,\d{3})+", digits) and not digits.startswith("0"):
        digits = digits.replace(",", "")
    else:
        digits = digits.replace(",", ".")
    return float(digits), len(digits.partition(".")[2])


def _from_match(match: re.Match[str]) -> Stated | None:
    decimals: int | None
    value, decimals = _decimal(match["whole"])
    try:
        if match["exponent"] or match["power"]:
            value *= 10.0 ** int(match["exponent"] or match["power"])
            decimals = None
        if match["denominator"]:
            value, decimals = value / float(match["denominator"]), None
        elif match["numerator"]:
            value, decimals = value + float(match["numerator"]) / float(match["mixed_denominator"]), None
    except (ZeroDivisionError, OverflowError):
        return None
    if match["sign"] not in (None, "+") or match["inner_sign"]:
        value = -value
    values = [value]
    if re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", match["whole"]):
        values.append(value * 1000.0)  # 1.200 euros: a point between thousands
    if match["percent"]:
        values.append(value / 100.0)
    if match["scale"]:
        values.insert(0, value * _SCALES[match["scale"].lower()])
    return Stated(tuple(values), decimals)


def _from_words(text: str) -> list[Stated]:
    found = []
    for match in _WORD_NUMBER.finditer(text):
        total, group = 0.0, 0.0
        for word in re.findall(r"[a-z]+", match[0].lower()):
            if word in _UNITS or word in _TENS:
                group += _UNITS.get(word, 0) + _TENS.get(word, 0)
            elif word == "hundred":
                group = (group or 1) * 100
            elif word in _SCALES:
                total, group = total + (group or 1) * _SCALES[word], 0.0
        found.append(Stated((total + group,), 0))
    return found


def numbers_in(text: str) -> list[Stated]:
    """Every number of a text in order; spelled ones only where there is no digit at all."""
    plain = _plain(text)
    found = [stated for match in _NUMBER.finditer(plain) if (stated := _from_match(match)) is not None]
    return found or _from_words(plain)


def _boxed(text: str) -> list[str]:
    r"""Contents of every ``\boxed{...}``, braces balanced."""
    contents = []
    for match in re.finditer(r"\\boxed\s*\{", text):
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        contents.append(text[match.end() : end - 1 if depth == 0 else end])
    return contents


def _result_of(sentence: str) -> Stated | None:
    """The number a sentence ends in: after its last equals sign, else its first."""
    found = _told_by(sentence)
    return found[0] if found else None


def _told_by(sentence: str) -> list[Stated]:
    """The numbers after a sentence's last equals sign, else all of them."""
    after_equals = numbers_in("=" + sentence.rpartition("=")[2]) if "=" in sentence else []
    return after_equals or numbers_in(sentence)


def stated_result(answer: str, question: str = "") -> Stated | None:
    """The number the answer states as its result, or None where it holds no number."""
    for content in reversed(_boxed(answer)):
        if (result := _result_of(content)) is not None:
            return result
    for match in reversed(list(_MARKER.finditer(answer))):
        rest = answer[match.end() :].lstrip(" \n\t*:")
        if (result := _result_of(_SENTENCE_END.split(rest, maxsplit=1)[0])) is not None:
            return result
    return _closing_number(answer, question)


def _closing_number(answer: str, question: str) -> Stated | None:
    """The last number that the question did not give, of the last sentence that has one; else its last."""
    for sentence in reversed(_SENTENCE_END.split(answer)):
        if found := _told_by(sentence):
            given = {stated.values[0] for stated in numbers_in(question)}
            return ([stated for stated in found if stated.values[0] not in given] or found)[-1]
    return None


def same_number(stated: Stated, expected: Stated, tolerance: float | None) -> bool:
    """Whether a stated number is the expected one.

    Args:
        stated: What the answer says.
        expected: What is right.
        tolerance: Largest absolute difference allowed; None asks for equality up to rounding: a stated number
            with more decimals than the expected one may round to it, if that has at least two.
    """
    target = expected.values[0]
    for value in stated.values:
        gap = abs(value - target)
        if math.isclose(value, target, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-9):
            return True
        if tolerance is not None and gap <= tolerance * (1 + RELATIVE_TOLERANCE):
            return True
        more_exact = stated.decimals is None or stated.decimals > (expected.decimals or 0)
        if more_exact and expected.decimals is not None and expected.decimals >= MIN_ROUNDED_DECIMALS:
            half_unit = 0.5 * 10.0**-expected.decimals
            if gap <= half_unit * (1 + RELATIVE_TOLERANCE):
                return True
    return False


def grade(item: Item, answer: str) -> Grade:
    """Right if the stated result equals the expected number."""
    expected = numbers_in(str(item.expected["answer"]))
    if not expected:
        raise ValueError(f"the expected answer {item.expected['answer']!r} is no number")
    stated = stated_result(answer, item.prompt)
    if stated is None:
        return Grade(WRONG, "no number stated")
    if same_number(stated, expected[-1], item.expected.get("tolerance")):
        return Grade(RIGHT)
    return Grade(WRONG, f"stated {stated.values[0]:g}")
