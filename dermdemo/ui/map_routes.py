"""Routes of the map: its points, and a picture of each known lesion. Nothing in them comes from a visitor.

A request names a key and a row, never a path; whatever does not match what is being served is a 404.
"""

from __future__ import annotations

from fastapi import FastAPI, HTTPException, Request, Response

from dermdemo.ui.known_map import KnownMap, Packed

FOR_EVER = "public, max-age=31536000, immutable"  # the key is the hash of the content


def packed_answer(packed: Packed, request: Request, media_type: str, cache: str) -> Response:
    """The body, gzipped for those who take it."""
    zipped = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"Cache-Control": cache, "Vary": "Accept-Encoding"} | ({"Content-Encoding": "gzip"} if zipped else {})
    return Response(packed.zipped if zipped else packed.plain, media_type=media_type, headers=headers)


def add_map_routes(app: FastAPI, prefix: str, known: KnownMap) -> None:
    """``<prefix>/map/<key>.json`` and ``<prefix>/lesion/<key>/<row>.png``."""

    @app.get(prefix + "/map/{key}.json")
    def points(key: str, request: Request) -> Response:
        now = known.current()
        if now is None or key != now.key:
            raise HTTPException(404)
        return packed_answer(now.points, request, "application/json", FOR_EVER)

    @app.get(prefix + "/lesion/{key}/{row}.png")
    def picture(key: str, row: str) -> Response:
        found = known.picture(key, int(row)) if row.isascii() and row.isdigit() and len(row) < 10 else None
        if found is None:
            raise HTTPException(404)
        return Response(found, media_type="image/png", headers={"Cache-Control": FOR_EVER})
