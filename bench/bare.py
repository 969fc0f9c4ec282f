"""The peer of the hot reads: FastAPI, one asyncpg pool, one query by number, nothing else. `DSN=... PORT=... python -m bench.bare`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import uvicorn
from fastapi import FastAPI, Header, Response

CREATE = "CREATE TABLE {} (number text PRIMARY KEY, body bytea NOT NULL)"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DSN"], min_size=4, max_size=10) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/v6/Cv")
async def get_cv(x_civilregistrationidentifier: Annotated[str, Header()]) -> Response:
    body = await app.state.pool.fetchval(
        "SELECT body FROM cv WHERE number = $1", x_civilregistrationidentifier
    )
    return Response(body, media_type="application/json")


@app.get("/v6/Cv/cvstatus")
async def get_cv_status(x_civilregistrationidentifier: Annotated[str, Header()]) -> Response:
    body = await app.state.pool.fetchval(
        "SELECT body FROM cvstatus WHERE number = $1", x_civilregistrationidentifier
    )
    return Response(body, media_type="application/json")


@app.get("/health/ready")
async def ready() -> dict[str, str]:
    return {}


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
