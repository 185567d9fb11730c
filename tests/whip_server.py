#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A WHIP server and a WHEP player of another make (aiortc): counts the pictures that come.
   whip_server.py serve PORT [TOKEN]   prints a line per 24 pictures, ends after 10
   whip_server.py play URL SECONDS     prints how many pictures came and their size
   whip_server.py janus URL SECONDS    the same of stream 1 of a Janus"""
import asyncio
import json
import sys
import time

from aiohttp import ClientSession, web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError


async def count(track, found):
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:        # the other side has ended
            return
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


async def watch(found, seconds):
    began = time.monotonic()
    while not found["n"] and time.monotonic() - began < 20:
        await asyncio.sleep(0.01)
    before, began = found["n"], time.monotonic()
    await asyncio.sleep(seconds)
    print(f'{found["n"] - before} pictures of {found.get("size")} in {time.monotonic() - began:.1f} s', flush=True)


async def janus(url, seconds):
    found, peer = {"n": 0}, RTCPeerConnection()
    peer.on("track", lambda track: asyncio.ensure_future(count(track, found)))
    async with ClientSession() as http:
        async def ask(to, **what):
            async with http.post(to, json={"transaction": "t", **what}) as reply:
                return (await reply.json()).get("data", {}).get("id")

        async def offer():
            while True:
                async with http.get(session) as reply:
                    event = await reply.json()
                if "jsep" in event:
                    return event["jsep"]
                if "error" in event or "error" in event.get("plugindata", {}).get("data", {}):
                    raise SystemExit(json.dumps(event))

        session = f"{url}/{await ask(url, janus='create')}"
        handle = f"{session}/{await ask(session, janus='attach', plugin='janus.plugin.streaming')}"
        await ask(handle, janus="message", body={"request": "watch", "id": 1})
        jsep = await asyncio.wait_for(offer(), 20)
        await peer.setRemoteDescription(RTCSessionDescription(jsep["sdp"], jsep["type"]))
        await peer.setLocalDescription(await peer.createAnswer())
        local = peer.localDescription
        await ask(handle, janus="message", body={"request": "start"}, jsep={"type": local.type, "sdp": local.sdp})
        await watch(found, seconds)
        await ask(session, janus="destroy")
    await peer.close()


async def play(url, seconds):
    found, peer = {"n": 0}, RTCPeerConnection()
    peer.on("track", lambda track: asyncio.ensure_future(count(track, found)))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    async with ClientSession() as http:
        async with http.post(url, data=peer.localDescription.sdp, headers={"Content-Type": "application/sdp"}) as reply:
            print(reply.status, reply.headers.get("Location"), flush=True)
            await peer.setRemoteDescription(RTCSessionDescription(await reply.text(), "answer"))
    await watch(found, seconds)
    await peer.close()


if sys.argv[1] == "serve":
    asyncio.run(serve(int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None))
elif sys.argv[1] == "janus":
    asyncio.run(janus(sys.argv[2], float(sys.argv[3])))
else:
    asyncio.run(play(sys.argv[2], float(sys.argv[3])))
