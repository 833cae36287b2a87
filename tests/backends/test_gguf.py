from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.backends.gguf import GgufError, has_magic, read_head


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def entry(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def number(key: str, value: int) -> bytes:
    return entry(key, 4, struct.pack("<I", value))


ENTRIES = [
    entry("general.architecture", 8, text("tiny")),
    entry("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("ß")),
    entry("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 3) + struct.pack("<3f", 1, 2, 3)),
    number("tiny.context_length", 4096),
    number("tiny.block_count", 10),
    number("tiny.embedding_length", 64),
    number("tiny.attention.head_count", 8),
    number("tiny.attention.head_count_kv", 2),
]
HEAD = b"GGUF" + struct.pack("<IQQ", 3, 0, len(ENTRIES)) + b"".join(ENTRIES)


def test_reads_context_and_what_a_token_costs(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    file.write_bytes(HEAD + b"tensors")
    head = read_head(file)
    assert (head.architecture, head.context) == ("tiny", 4096)
    assert head.kv_bytes_per_token == 10 * 2 * (8 + 8) * 2, "layers x KV heads x (key + value width) x 2 bytes"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(end=st.integers(4, len(HEAD) - 1))
def test_a_head_cut_off_anywhere_is_refused(tmp_path: Path, end: int) -> None:
    file = tmp_path / "cut.gguf"
    file.write_bytes(HEAD[:end])
    assert has_magic(file)
    with pytest.raises(GgufError):
        read_head(file)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300))
def test_noise_after_the_magic_is_refused_or_read_but_never_crashes(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "noise.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<I", 3) + data)
    with contextlib.suppress(GgufError):
        read_head(file)


@pytest.mark.parametrize("item", [4, 8, 9, 77])
def test_an_array_of_impossible_length_is_refused(tmp_path: Path, item: int) -> None:
    file = tmp_path / "array.gguf"
    array = entry("a", 9, struct.pack("<IQ", item, (1 << 64) - 1))
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + array)
    with pytest.raises(GgufError, match="damaged"):
        read_head(file)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "archive.gguf"
    file.write_bytes(b"PK\3\4 and so on")
    assert not has_magic(file)
    with pytest.raises(GgufError, match="is not a GGUF file"):
        read_head(file)


def test_reads_the_chat_template_where_there_is_one(tmp_path: Path) -> None:
    template = entry("tokenizer.chat_template", 8, text("{% if tools %}{{ tools }}{% endif %}"))
    file = tmp_path / "tiny.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(ENTRIES) + 1) + b"".join(ENTRIES) + template)
    assert read_head(file).template == "{% if tools %}{{ tools }}{% endif %}"
    file.write_bytes(HEAD)
    assert read_head(file).template is None
