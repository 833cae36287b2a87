"""Prompts that no brevity directive may touch: they ask for length or detail, or fix the form of the answer.

Precise rather than complete: a phrase has to be an instruction to the answerer ("in detail", "at least 300
words", "as JSON"), not a subject ("the length of the river", "a detailed map"). A miss costs an answer that is
shorter than wished; a false alarm costs joules on every such prompt. English, and the commonest German, French
and Spanish wordings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# The patterns are written without accents and umlauts: the text is stripped of them first ("ausführlich" is
# read as "ausfuhrlich"), and "ue" for "ü" is accepted where it is common.
_COUNT = (
    r"(?:\d[\d.,]{0,9}|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|hundred|zwei|drei|vier|fue?nf|zehn"
    r"|deux|trois|quatre|cinq|dix|dos|tres|cuatro|cinco|diez)"
)
_TEXT_UNIT = (
    r"(?:words|sentences|paragraphs|pages|bullet points|bullets|wortern?|woertern?|satzen?|saetzen?|absatzen?|seiten"
    r"|mots|phrases|paragraphes|palabras|frases|oraciones|parrafos|paginas)"
)
_KIND = (
    r"(?:answer|explanation|essay|description|analysis|guide|overview|report|summary|article|tutorial|response"
    r"|account|instructions|solution|proof|story|letter|review|text)"
)
_DATA = r"(?:json|ya?ml|xml|csv|tsv|html|markdown|latex)"

_LENGTH = (
    # "at least 300 words", "mindestens drei Absätze"
    rf"\b(?:at least|no (?:less|fewer) than|a minimum of|mindestens|au moins|al menos|como minimo) {_COUNT}[ -]+"
    rf"(?:{_TEXT_UNIT}|worter|woerter|satze|saetze|absatze|absaetze)\b",
    # "in 200 words", "with exactly five bullet points", "en 100 mots"
    rf"\b(?:in|within|using|with|about|around|exactly|under|up to|en|de|unos|unas|environ|etwa)"
    rf" (?:about |exactly |only |roughly |around |etwa |genau )?{_COUNT} {_TEXT_UNIT}\b(?! (?:were|was|are|is)\b)",
    # "write 500 words on"
    rf"\b(?:write|draft|compose|schreibe?|ecris|ecrivez|redige[zr]?|escribe|redacta)\b[^.?!\n]{{0,30}} {_COUNT}"
    rf" (?:{_TEXT_UNIT}|worter|woerter|satze|saetze)\b",
    # "a 500-word essay"
    rf"\b{_COUNT}-(?:word|sentence|paragraph|page) {_KIND}\b",
)

_DETAIL = (
    r"\bin (?:great(?:er)? |full |more |as much |much |considerable )?detail\b(?! (?:how|the) \w+ (?:did|was)\b)",
    rf"\b(?:in-depth|detailed|comprehensive|thorough|extensive|exhaustive|step[- ]by[- ]step|long) {_KIND}\b",
    r"\b(?:explain|describe|discuss|analy[sz]e|elaborate|answer|respond|write|solve|show|walk me through|think)\b"
    r"[^.?!\n]{0,60}\b(?:thoroughly|extensively|exhaustively|comprehensively|at length|in depth|step[- ]by[- ]step)\b",
    r"\b(?:elaborate on|please elaborate|be (?:very |as )?(?:detailed|thorough|verbose|comprehensive))\b",
    r"\bshow (?:all (?:of )?)?(?:your|the) (?:work|working|steps|reasoning)\b|\bdon'?t be (?:brief|short)\b",
    r"\b(?:ausfue?hrlich|im detail|schritt fue?r schritt)\b",
    r"\bdetaillierte[nrs]? (?:antwort|erkla(?:e)?rung|beschreibung|analyse|anleitung)\b",
    r"\b(?:en detail|de (?:maniere|facon) detaillee|etape par etape|(?:reponse|explication|analyse) detaillee)\b",
    r"\b(?:(?:en|con) detalle|detalladamente|paso a paso|(?:respuesta|explicacion|descripcion) detallada)\b",
)

_FORM = (
    # "as JSON", "return only valid XML", "im JSON-Format", "au format CSV"
    rf"\b(?:as|in|into|using|return|output|produce|emit|als|im|au format|formato|en formato)"
    rf" (?:a |an |only |just )?(?:valid |strict |one |single |gue?ltiges )?{_DATA}\b"
    r"(?![ -](?:files?|parser|editor|tags?)\b)",
    rf"\b{_DATA}[ -](?:object|array|schema|format|only|objekt)\b",
    r"\b(?:as|in|into) an? (?:markdown |bulleted |bullet |numbered |comma[- ]separated )(?:table|list)\b",
    r"\b(?:as|in|using) (?:bullet points|a table)\b",
    r"\b(?:use|follow|in|with) (?:exactly |strictly )?(?:the|this) (?:following|exact|same|given|specified)"
    r" (?:output )?(?:format|template|structure|schema)\b",
    r"\b(?:answer|respond|reply|return|output) (?:only )?(?:with|using|in) (?:only |just |exactly )?"
    r"(?:the (?:letter|number|word|option)|one word|a single (?:word|number|letter|line))\b",
    r"\b(?:output|answer|response|reply) format\b|\bformat (?:your|the) (?:answer|output|response|reply)\b",
    r"\b(?:your|the) (?:output|answer|response|reply) (?:must|should) (?:be|follow|have|contain|consist)\b",
    r"\b(?:im folgenden format|in folgendem format|als tabelle|als aufza?e?hlung|sous forme de (?:liste|tableau)"
    r"|au format suivant|en forma de (?:lista|tabla)|(?:en|con) el siguiente formato)\b",
)

_INSTRUCTION = re.compile("|".join(f"(?:{pattern})" for pattern in (*_LENGTH, *_DETAIL, *_FORM)))
_SPACE = re.compile(r"[^\S\n]+")


def wants_length_or_format(text: str) -> bool:
    """Whether the prompt asks for length or detail, or fixes the form of the answer."""
    plain = text.lower()
    if not plain.isascii():
        plain = "".join(c for c in unicodedata.normalize("NFD", plain) if not unicodedata.combining(c))
    return _INSTRUCTION.search(_SPACE.sub(" ", plain)) is not None


def no_brevity(texts: Sequence[str]) -> NDArray[np.bool_]:
    """(n,) :func:`wants_length_or_format` of each."""
    return np.array([wants_length_or_format(text) for text in texts], dtype=np.bool_)
