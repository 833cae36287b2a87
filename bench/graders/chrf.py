"""Translations: right if the chrF score against the references reaches the item's threshold.

chrF (Popović 2015) is the F-score of character n-grams; sacrebleu's defaults are used (n = 6, beta = 2, no word
n-grams). It is a share here, 0 to 1, where sacrebleu prints 0 to 100.
"""

from __future__ import annotations

import re

from bench.datasets.item import Item
from bench.graders.grade import RIGHT, WRONG, Grade
from router.domain.errors import ConfigError

_LEAD_IN = re.compile(
    r"""^\W*(?:
        (?:sure|certainly|of\ course|okay|ok|here|natürlich|gerne|hier|voici|aquí)\b[^:\n]*:
      | [^:\n]{0,80}\b(?:translat\w*|übersetzung|übersetzt|traduction|traducción|traduzione)\b[^:\n]{0,80}:
      | (?:german|english|french|spanish|italian|deutsch|englisch|französisch|spanisch)\W{0,3}:
    )\W*?(?=[\w"'“„«¿¡\n]|$)""",
    re.IGNORECASE | re.VERBOSE,
)
_FENCE = re.compile(r"^\s*```\w*\n(?P<body>.*?)(?:\n```.*)?$", re.DOTALL)
_REMARK = re.compile(r"\n\s*\n\W*(?:note|explanation|literally|hinweis|anmerkung)\b.*", re.IGNORECASE | re.DOTALL)
_QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»", "'": "'", "‘": "’"}


def translation_of(answer: str) -> str:
    """The translation itself: without lead-in, fence, surrounding quotes, emphasis and closing remarks."""
    text = answer.strip()
    text = _LEAD_IN.sub("", text, count=1).strip() or text
    fenced = _FENCE.match(text)
    if fenced:
        text = fenced["body"].strip()
    text = _REMARK.sub("", text).strip()
    text = re.sub(r"^(\*{1,2}|_{1,2})(.+)\1$", r"\2", text, flags=re.DOTALL).strip()
    if len(text) >= 2 and _QUOTES.get(text[0]) in (text[-1], text[-1].replace("”", "“")) and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    return text


def chrf_share(hypothesis: str, references: list[str]) -> float:
    """The chrF score as a share, the best over the references.

    Raises:
        ConfigError: If sacrebleu is not installed.
    """
    try:
        from sacrebleu.metrics import CHRF
    except ImportError as error:
        raise ConfigError(
            "translations cannot be graded: sacrebleu is not installed",
            hint="run: .venv/bin/pip install -e '.[bench]'",
        ) from error
    return float(CHRF().sentence_score(hypothesis, references).score) / 100.0


def grade(item: Item, answer: str) -> Grade:
    """Right if chrF reaches the threshold; the note holds the score."""
    hypothesis = translation_of(answer)
    if not hypothesis:
        return Grade(WRONG, "no translation found")
    score = chrf_share(hypothesis, item.expected["references"])
    threshold = item.expected["threshold"]
    return Grade(RIGHT if score >= threshold else WRONG, f"chrF {score:.3f}, threshold {threshold:g}")
