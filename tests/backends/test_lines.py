from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.backends.lines import SseEvent, SseParser, parse_json
from router.domain.errors import BackendProtocolError

LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
ONE_LINE = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=12)


@st.composite
def cuts(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    places = draw(st.lists(st.integers(0, len(stream)), max_size=12))
    return [stream[a:b] for a, b in pairwise(sorted([0, *places, len(stream)]))]


@st.composite
def event_streams(draw: st.DrawFn) -> tuple[bytes, list[SseEvent]]:
    """A stream put together from known events, in any of the ways the standard allows."""
    end = draw(LINE_ENDS)
    text, events = draw(st.sampled_from(["", "\ufeff"])), []
    for data_lines in draw(st.lists(st.lists(ONE_LINE, min_size=1, max_size=3), max_size=5)):
        name = draw(st.sampled_from(["message", "error", "Ünï"]))
        lines = [f"data: {line}" for line in data_lines]
        if name != "message":
            lines.insert(0, f"event: {name}")
        lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from([": ping", ":", "id: 7", "retry: 10"])))
        text += end.join(lines) + end + end * draw(st.integers(1, 3))
        events.append(SseEvent("\n".join(data_lines), name))
    return text.encode(), events


@given(event_streams(), st.data())
def test_events_come_out_however_the_bytes_are_cut(made: tuple[bytes, list[SseEvent]], data: st.DataObject) -> None:
    stream, events = made
    parser = SseParser()
    found = [event for chunk in data.draw(cuts(stream)) for event in parser.feed(chunk)]
    assert found == events
    assert parser.finish() == []


def test_a_character_cut_in_two_is_whole_again() -> None:
    parser = SseParser()
    stream = "data: Größe €\n\n".encode()
    assert [event for byte in stream for event in parser.feed(bytes([byte]))] == [SseEvent("Größe €")]


def test_a_line_end_cut_in_two_is_one_line_end() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\ndata: b\r\n\r") == [SseEvent("a\nb")]
    assert parser.feed(b"\ndata: c\r\n\r\n") == [SseEvent("c")]


def test_the_space_after_the_colon_is_optional_and_only_one() -> None:
    assert SseParser().feed(b"data:a\n\ndata:  b\n\ndata\n\n") == [SseEvent("a"), SseEvent(" b"), SseEvent("")]


def test_an_end_marker_is_known_even_without_a_blank_line() -> None:
    parser = SseParser()
    assert parser.feed(b"data: [DONE]") == []
    (event,) = parser.finish()
    assert event.is_done


@pytest.mark.parametrize("text", [b"<html>", '{"a": ', "", "[" * 100_000])
def test_what_is_not_json_is_shown_by_its_beginning(text: bytes | str) -> None:
    with pytest.raises(BackendProtocolError, match="not JSON") as caught:
        parse_json(text)
    assert len(str(caught.value)) < 150
