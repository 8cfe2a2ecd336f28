"""What others do with the same event: `python -m benchmarks.peers websockets | socketio`.

Once all are there, each tells everybody, one event a frame, as fast as they take it. Neither has to take the event from
an engine, to number it, or to keep it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from http import HTTPStatus
from typing import Any, Final

EVENT: Final = json.dumps(
    {
        "type": "node_state",
        "node_id": "train/fold-03",
        "status": "running",
        "progress": 0.42,
        "message": "step 42 of 100, loss 0.2",
        "seq": 12345,
        "ts": 1_700_000_000_000,
    },
    separators=(",", ":"),
)
# As a frame on the wire: with the header of a frame of 126 bytes or more, and with what Socket.IO puts around it.
WEBSOCKETS_BYTES: Final = len(EVENT) + 4
SOCKETIO_BYTES: Final = len(json.dumps(["event", EVENT], separators=(",", ":"))) + len("42") + 4

# What may wait for a client before its server goes slower.
_WAITING_BYTES: Final = 256 * 1024
_WAITING_EVENTS: Final = 500
_BURST: Final = 20


async def serve_websockets(port: int, clients: int) -> None:
    from websockets.asyncio.server import broadcast, serve

    def answer(connection: Any, request: Any) -> Any:
        return connection.respond(HTTPStatus.OK, "") if request.path == "/healthz" else None

    async with serve(
        lambda connection: connection.wait_closed(),
        "127.0.0.1",
        port,
        compression=None,
        ping_interval=None,
        process_request=answer,
    ) as server:
        while len(server.connections) < clients:
            await asyncio.sleep(0.05)
        while True:
            for _ in range(_BURST):
                broadcast(server.connections, EVENT)
            await asyncio.sleep(0)
            while any(each.transport.get_write_buffer_size() > _WAITING_BYTES for each in server.connections):
                await asyncio.sleep(0.001)


async def serve_socketio(port: int, clients: int) -> None:
    import socketio
    from aiohttp import web

    server = socketio.AsyncServer(async_mode="aiohttp")
    app = web.Application()
    server.attach(app)

    async def healthy(_request: web.Request) -> web.Response:
        return web.Response()

    app.router.add_get("/healthz", healthy)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    while len(server.eio.sockets) < clients:
        await asyncio.sleep(0.05)
    while True:
        await server.emit("event", EVENT)
        await asyncio.sleep(0)
        while any(each.queue.qsize() > _WAITING_EVENTS for each in server.eio.sockets.values()):
            await asyncio.sleep(0.001)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=["websockets", "socketio"])
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    peer = serve_websockets if options.peer == "websockets" else serve_socketio
    asyncio.run(peer(options.port, options.clients))


if __name__ == "__main__":
    main()
