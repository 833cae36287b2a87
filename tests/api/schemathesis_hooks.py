"""What schemathesis does beyond its own checks, loaded by the program itself; see test_document.py."""

from __future__ import annotations

from typing import Any

import schemathesis

TRACES = ("Traceback", 'File "', "site-packages", ".py:")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Names a model that there is in every second body: a made-up one is as far as a request gets."""
    if isinstance(body, dict) and len(body) % 2 and isinstance(body.get("model"), str) and body["model"]:
        body["model"] = "auto"
    return body


@schemathesis.check
def no_trace(context: Any, response: Any, case: Any) -> None:
    assert not any(trace in response.text for trace in TRACES), "a trace of the program is in the answer"
