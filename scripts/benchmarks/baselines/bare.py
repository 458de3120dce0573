"""A Starlette endpoint that parses the same publish, answers, and keeps nothing."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def publish(request: Request) -> JSONResponse:
    body = await request.body()
    options = {name: value for name, value in request.headers.items() if name.startswith("upstash-")}
    return JSONResponse({"messageId": "msg_" + "1" * 53, "size": len(body), "options": len(options)})


app = Starlette(routes=[Route("/v2/publish/{rest:path}", publish, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
