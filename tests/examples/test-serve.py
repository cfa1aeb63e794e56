#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The serve example with real clients over loopback. Usage: test-serve.py SERVE"""

import asyncio
import hashlib
import os
import pathlib
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile

SERVE = sys.argv[1]
MIB = 1 << 20
BUDGET = 4 * MIB
N_TRANSFERS = 20 if os.environ.get("SANITIZED") else 200  # a sanitizer makes them ten times slower
PATIENCE = 100
FOLDER = pathlib.Path(tempfile.mkdtemp())
SIZE = 2 * MIB
MANY_SIZE = 8 * MIB  # of each transfer of many at once
MOST_GROWTH = 16 * MIB  # of resident memory meanwhile; examples/serve.c and docs/recipes.md say so
# libsoup 3.2 leaks the socket of each connection.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
DATA = os.urandom(MANY_SIZE)
DIGESTS = {size: hashlib.sha256(DATA[:size]).digest() for size in (SIZE, MANY_SIZE)}


class Server:
    """A running server. SIGINT stops it; it has to print its report and exit successfully."""

    def __init__(self, *options):
        command = [SERVE, "--max-memory", "4M", *options, FOLDER]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(re.fullmatch(r"Listening on port (\d+)\n", self.process.stdout.readline())[1])
        self.report = None

    def peak_memory(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) * 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.report = self.process.communicate(timeout=PATIENCE)[0]
        assert self.process.returncode == 0, f"exit status {self.process.returncode}"
        out, budget = map(int, re.search(r"at most (\d+) of (\d+) bytes out", self.report).groups())
        assert out <= budget == BUDGET, self.report

    async def request(self, path, method="GET"):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        header = await reader.readuntil(b"\r\n\r\n")
        return int(header.split()[1]), reader, writer

    async def receive(self, path, consume, pause=0.0, method="GET"):
        """The status; consumes each chunk of the body, then pauses."""
        status, reader, writer = await self.request(path, method)
        while status == 200 and method == "GET":
            size = int(await reader.readline(), 16)
            consume((await reader.readexactly(size + 2))[:-2])
            await asyncio.sleep(pause)
            if size == 0:
                break
        writer.close()
        return status

    async def get(self, path, method="GET"):
        """The status and the body."""
        body = bytearray()
        return await self.receive(path, body.extend, method=method), bytes(body)


async def test_many_at_once():
    with Server() as server:
        assert await server.get("/small") == (200, b"small")
        before = server.peak_memory()
        same = await asyncio.gather(*(is_same(server, MANY_SIZE) for _ in range(N_TRANSFERS)))
        grown = server.peak_memory() - before
        assert same == [True] * N_TRANSFERS
        print(f"# peak resident memory grew by {grown // 1024} KiB")
        assert os.environ.get("SANITIZED") or grown <= MOST_GROWTH, grown
    print("#", server.report.strip())
    n_bytes = N_TRANSFERS * MANY_SIZE + len(b"small")
    assert server.report.startswith(f"{N_TRANSFERS + 1} transfers (0 failed), {n_bytes} bytes"), server.report


async def is_same(server, size=SIZE, pause=0.0):
    checksum = hashlib.sha256()
    status = await server.receive(f"/{size}", checksum.update, pause)
    return status == 200 and checksum.digest() == DIGESTS[size]


async def test_slow_clients():
    with Server() as server:
        slow = [asyncio.create_task(is_same(server, pause=0.01)) for _ in range(20)]
        assert all(await asyncio.gather(*(is_same(server) for _ in range(20))))
        assert all(await asyncio.gather(*slow))


async def test_stuck_clients():
    """They hold no memory, so even more of them than there are blocks do not delay the others."""
    with Server("--timeout", "0") as server:
        stuck = [await server.request(f"/{SIZE}") for _ in range(150)]
        for _, reader, _ in stuck:
            await reader.readexactly(1)  # the server has begun to send the body
        assert all(await asyncio.gather(*(is_same(server) for _ in range(10))))
        for _, _, writer in stuck:
            writer.transport.abort()


async def test_clients_that_vanish():
    async def vanish(seed):
        _, reader, writer = await server.request(f"/{SIZE}")
        await reader.read(1000 * seed)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    with Server() as server:
        await asyncio.gather(*(vanish(seed) for seed in range(100)), *(is_same(server) for _ in range(5)))
        assert await is_same(server)


async def test_requests():
    with Server() as server:
        assert await server.get("/small", method="HEAD") == (200, b"")
        assert await server.get("/empty") == (200, b"")
        assert await server.get("/a%20folder/a%20file") == (200, b"inside")
        for path in "/missing", "/", "/a%20folder", "/../passwd", "/%2e%2e/" + FOLDER.name + "/small":
            assert (await server.get(path))[0] in (400, 404), path
        assert (await server.get("/small", method="PUT"))[0] == 501


async def test_bad_options():
    for options in ([], [FOLDER, FOLDER], ["--colour", FOLDER], ["--max-memory", "1K", FOLDER], ["--port", "65536", FOLDER]):
        run = subprocess.run([SERVE, *options], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert run.returncode == 2 and run.stderr.startswith("serve: "), (options, run)


TESTS = [
    (f"{N_TRANSFERS} transfers of 8 MiB at once, in 4 MiB", test_many_at_once),
    ("slow clients get everything", test_slow_clients),
    ("clients that accept nothing do not delay others", test_stuck_clients),
    ("clients that vanish do no harm", test_clients_that_vanish),
    ("files, and paths that are not files", test_requests),
    ("impossible options are refused", test_bad_options),
]


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    for size in SIZE, MANY_SIZE:
        (FOLDER / str(size)).write_bytes(DATA[:size])
    (FOLDER / "small").write_bytes(b"small")
    (FOLDER / "empty").touch()
    (FOLDER / "a folder").mkdir()
    (FOLDER / "a folder" / "a file").write_bytes(b"inside")
    failed = 0
    print(f"1..{len(TESTS)}")
    for number, (name, test) in enumerate(TESTS, 1):
        try:
            asyncio.run(asyncio.wait_for(test(), PATIENCE))
            print("ok", number, name, flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(f"# {error!r}\nnot ok", number, name, flush=True)
    subprocess.run(["rm", "-r", FOLDER], check=True)
    return failed != 0


if __name__ == "__main__":
    os.environ["LC_ALL"] = "C"
    sys.exit(main())
