"""A real HTTP server on the loopback that answers as Electricity Maps, Great Britain's API and Energy-Charts do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

NOW_S = datetime(2026, 3, 1, 12, 30, tzinfo=UTC).timestamp()
TOKEN = "the-right-token"


def _iso(when_s: float) -> str:
    return datetime.fromtimestamp(when_s, UTC).isoformat().replace("+00:00", "Z")


class FakeGrid:
    """Values by zone; ``reply_with`` overrides every answer, ``asked`` notes them, ``pause_s`` delays them."""

    def __init__(self) -> None:
        self.values = {"NL": 300.0, "SE": 0.0, "GB": 250.0}
        self.asked: list[str] = []
        self.reply_with: Callable[[], Response] | None = None
        self.pause_s = 0.0
        self.now_s = NOW_S
        self.app = Starlette(
            routes=[
                Route("/v3/carbon-intensity/{what}", self.electricity_maps),
                Route("/co2eq", self.energy_charts),
                Route("/intensity", self.great_britain),
                Route("/intensity/{start}/fw48h", self.great_britain),
            ]
        )

    async def electricity_maps(self, request: Request) -> Response:
        return await self._answer(request, self._maps)

    async def energy_charts(self, request: Request) -> Response:
        return await self._answer(request, self._charts)

    async def great_britain(self, request: Request) -> Response:
        return await self._answer(request, self._gb)

    async def _answer(self, request: Request, usual: Callable[[Request], Response]) -> Response:
        self.asked.append(f"{request.url.path}?{request.url.query}")
        await asyncio.sleep(self.pause_s)
        return usual(request) if self.reply_with is None else self.reply_with()

    def _maps(self, request: Request) -> Response:
        if request.headers.get("auth-token") != TOKEN:
            return JSONResponse({"message": "Invalid auth-token"}, 401)
        zone = request.query_params["zone"]
        if zone not in self.values:
            return JSONResponse({"error": f"Zone {zone} does not exist"}, 404)
        if request.path_params["what"] == "latest":
            body = {"carbonIntensity": self.values[zone], "datetime": _iso(self.now_s - 1800), "isEstimated": False}
            return JSONResponse({"zone": zone, **body})
        hours = [{"carbonIntensity": 100.0 + h, "datetime": _iso(self.now_s - 1800 + 3600 * h)} for h in range(4)]
        return JSONResponse({"zone": zone, "forecast": hours})

    def _charts(self, request: Request) -> Response:
        zone = request.query_params["country"].upper()
        if zone not in self.values:
            return JSONResponse({"detail": "unknown country"}, 404)
        times = [self.now_s - 1800 + 900 * i for i in range(6)]
        known = [self.values[zone]] * 3 + [None] * 3
        return JSONResponse({"unix_seconds": times, "co2eq": known, "co2eq_forecast": [100, 101, 102, 103, 104, 105]})

    def _gb(self, request: Request) -> Response:
        hours = 4 if "start" in request.path_params else 1
        rows = [
            {
                "from": _iso(self.now_s - 1800 + 1800 * i).replace(":00Z", "Z"),
                "intensity": {"forecast": 100 + i, "actual": self.values["GB"] if i == 0 else None},
            }
            for i in range(hours)
        ]
        return JSONResponse({"data": rows})
