"""The head of a GGUF file: enough of it to know a model's context window and what its context costs in memory.

The format (version 2 and 3, little endian): magic ``GGUF``, version, number of tensors, number of metadata
entries; then each entry as key, type and value. Only scalars are kept; arrays (the vocabulary) are skipped.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = b"GGUF"
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
F16_BYTES = 2
LONGEST_STRING = 1 << 24  # no metadata text is longer, and no array has more items,
LONGEST_ARRAY = 1 << 28  # so that a larger length means a damaged file

Scalar = int | float | bool | str


class GgufError(ValueError):
    """The file is not a GGUF file, or its head is damaged."""


@dataclass(frozen=True, slots=True)
class GgufHead:
    """What a GGUF file says of its model.

    Attributes:
        architecture: llama.cpp's name of it, e.g. ``qwen2``.
        context: Context window the model was trained for, in tokens; None where the file does not say.
        kv_bytes_per_token: Memory of one token in a 16-bit KV cache; None where it cannot be told.
        template: How messages become a prompt (Jinja); None where the file does not say.
    """

    architecture: str
    context: int | None
    kv_bytes_per_token: int | None
    template: str | None = None


def has_magic(path: Path) -> bool:
    """Whether the file begins like a GGUF file."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_head(path: Path) -> GgufHead:
    """Read the metadata of a GGUF file.

    Raises:
        GgufError: If it is no GGUF file or ends within its head.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise GgufError(f"{path} is not a GGUF file")
        version, _tensors, entries = _unpack(file, "IQQ")
        if version not in (2, 3):
            raise GgufError(f"{path} is GGUF version {version}; 2 and 3 are known")
        metadata: dict[str, Scalar] = {}
        for _ in range(int(entries)):
            key = _string(file)
            value = _value(file, int(_unpack(file, "I")[0]))
            if value is not None:
                metadata[key] = value
    architecture = str(metadata.get("general.architecture", "unknown"))
    context = _whole(metadata, f"{architecture}.context_length")
    template = metadata.get("tokenizer.chat_template")
    return GgufHead(
        architecture, context, _kv_bytes(metadata, architecture), template if isinstance(template, str) else None
    )


def _kv_bytes(metadata: dict[str, Scalar], architecture: str) -> int | None:
    """Layers x (key width + value width) x KV heads x 2 bytes, as llama.cpp allocates it."""
    layers = _whole(metadata, f"{architecture}.block_count")
    heads = _whole(metadata, f"{architecture}.attention.head_count")
    width = _whole(metadata, f"{architecture}.embedding_length")
    if layers is None or not heads or width is None:
        return None
    kv_heads = _whole(metadata, f"{architecture}.attention.head_count_kv") or heads
    key = _whole(metadata, f"{architecture}.attention.key_length") or width // heads
    value = _whole(metadata, f"{architecture}.attention.value_length") or width // heads
    return layers * kv_heads * (key + value) * F16_BYTES


def _whole(metadata: dict[str, Scalar], key: str) -> int | None:
    value = metadata.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _unpack(file: BinaryIO, layout: str) -> tuple[int | float | bool, ...]:
    size = struct.calcsize("<" + layout)
    data = file.read(size)
    if len(data) < size:
        raise GgufError("the GGUF file ends within its head")
    return struct.unpack("<" + layout, data)


def _string(file: BinaryIO) -> str:
    length = int(_unpack(file, "Q")[0])
    if length > LONGEST_STRING:
        raise GgufError("the head of the GGUF file is damaged")
    data = file.read(length)
    if len(data) < length:
        raise GgufError("the GGUF file ends within its head")
    return data.decode("utf-8", errors="replace")


def _value(file: BinaryIO, kind: int) -> Scalar | None:
    if kind == STRING:
        return _string(file)
    if kind == ARRAY:
        item, length = (int(part) for part in _unpack(file, "IQ"))
        if length > LONGEST_ARRAY or item == ARRAY:
            raise GgufError("the head of the GGUF file is damaged")
        if item in SCALARS:
            file.seek(struct.calcsize("<" + SCALARS[item]) * length, 1)
        else:
            for _ in range(length):
                _value(file, item)
        return None
    if kind not in SCALARS:
        raise GgufError(f"the head of the GGUF file is damaged (value of unknown type {kind})")
    return _unpack(file, SCALARS[kind])[0]
