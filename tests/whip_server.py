#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A WHIP server and a WHEP player of another make (aiortc): counts the pictures that come.
   whip_server.py serve PORT [TOKEN]   prints a line per 24 pictures, ends after 10
   whip_server.py play URL SECONDS     prints how many pictures came and their size"""
import asyncio
import sys
import time

from aiohttp import ClientSession, web
from aiortc import RTCPeerConnection, RTCSessionDescription


async def count(track, found):
    while True:
        frame = await track.recv()
        found["n"] += 1
        found["size"] = f"{frame.width}x{frame.height}"


async def serve(port, token):
    found, peers = {"n": 0}, set()

    async def post(request):
        if token and request.headers.get("Authorization") != f"Bearer {token}":
            return web.Response(status=401)
        peer = RTCPeerConnection()
        peers.add(peer)
        peer.on("track", lambda track: asyncio.ensure_future(count(track, found)))
        # A WHIP server is the passive side of DTLS; aiortc left alone answers "active".
        offer = (await request.text()).replace("a=setup:actpass", "a=setup:active")
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        return web.Response(status=201, text=peer.localDescription.sdp, content_type="application/sdp",
                            headers={"Location": "/whip/1"})

    async def delete(request):
        print("deleted", flush=True)
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/whip", post), web.delete("/whip/1", delete)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    shown = 0
    while shown < 10:
        await asyncio.sleep(0.05)
        if found["n"] >= 24 * (shown + 1):
            shown += 1
            print(found, flush=True)


async def play(url, seconds):
    found, peer = {"n": 0}, RTCPeerConnection()
    peer.on("track", lambda track: asyncio.ensure_future(count(track, found)))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    async with ClientSession() as http:
        async with http.post(url, data=peer.localDescription.sdp, headers={"Content-Type": "application/sdp"}) as reply:
            print(reply.status, reply.headers.get("Location"), flush=True)
            await peer.setRemoteDescription(RTCSessionDescription(await reply.text(), "answer"))
    began = time.monotonic()
    while not found["n"] and time.monotonic() - began < 20:
        await asyncio.sleep(0.01)
    before, began = found["n"], time.monotonic()
    await asyncio.sleep(seconds)
    print(f'{found["n"] - before} pictures of {found.get("size")} in {time.monotonic() - began:.1f} s', flush=True)
    await peer.close()


if sys.argv[1] == "serve":
    asyncio.run(serve(int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None))
else:
    asyncio.run(play(sys.argv[2], float(sys.argv[3])))
