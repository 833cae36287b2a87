"""JSON as answers are written: on one line whoever splits it, and in UTF-8 whatever an engine said."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse

# JSON allows these three as they are, but httpx, and so Ollama's own client, ends a line at each of them.
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def to_json(body: Any) -> str:
    """The body as JSON; halves of characters, which UTF-8 cannot hold, become question marks."""
    text = json.dumps(body, ensure_ascii=False).translate(_LINE_ENDS)
    return text.encode("utf-8", errors="replace").decode("utf-8")


class WholeAnswer(JSONResponse):
    """An answer in one piece."""

    def render(self, content: Any) -> bytes:
        """Its bytes."""
        return to_json(content).encode()
