"""A WebSocket peer that is not Ferry: python3-websockets. Prints its port, or what it found.

  websocket_peer.py serve         echoes what one client says, by messages of odd sizes, until that
                                  has finished (an empty message); pings meanwhile
  websocket_peer.py connect PORT  sends fragments, pings and a large message to a server, and expects
                                  all of it back
"""

import asyncio
import os
import sys

import websockets

FINISHED = b""
OPTIONS = {"max_size": 4 << 20, "compression": None, "subprotocols": ["ferry.v1"]}


async def echo(socket, done):
    held = b""
    async for message in socket:
        if message == FINISHED:
            break
        assert isinstance(message, bytes), "all is binary"
        held += message
        await socket.ping()
        while len(held) > 1000:
            await socket.send(held[:997])
            held = held[997:]
    if held:
        await socket.send([held[:1], held[1:]])
    await socket.send(FINISHED)
    # Ferry closes when both have finished.
    await socket.wait_closed()
    print("closed with", socket.close_code, flush=True)
    done.set_result(None)


async def serve():
    done = asyncio.get_running_loop().create_future()
    async with websockets.serve(lambda s: echo(s, done), "127.0.0.1", 0, **OPTIONS) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await done


async def collect(socket, into):
    async for message in socket:
        if message == FINISHED:
            return
        into.append(message)


async def connect(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}/", **OPTIONS) as socket:
        assert socket.subprotocol == "ferry.v1", socket.subprotocol
        got = []
        reading = asyncio.create_task(collect(socket, got))
        sent = [os.urandom(n) for n in (1, 125, 126, 65535, 65536, 3 << 20)]
        for data in sent:
            # Fragments, of which none that would be alone may be empty.
            await socket.send([part for part in (data[:1], data[1:2], data[2:]) if part])
            await asyncio.wait_for(await socket.ping(), 20)
            await socket.send(data)
        await socket.send(FINISHED)
        await asyncio.wait_for(reading, 30)
        expected = b"".join(data + data for data in sent)
        print("same" if b"".join(got) == expected else "different", flush=True)


if sys.argv[1] == "serve":
    asyncio.run(serve())
else:
    asyncio.run(connect(int(sys.argv[2])))
