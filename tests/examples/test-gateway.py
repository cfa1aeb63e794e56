#!/usr/bin/env python3
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The gateway example under a load of two kinds of clients. Usage: test-gateway.py GATEWAY"""

import asyncio
import hashlib
import re
import signal
import subprocess
import sys

GATEWAY = sys.argv[1]
TOTAL = 512 * 1024
PATIENCE = 100


class Gateway:
    """A running gateway. SIGINT stops it; it has to print its report and exit successfully."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [GATEWAY, "--total", str(TOTAL), *options], stdout=subprocess.PIPE, text=True
        )
        self.port = int(re.fullmatch(r"Listening on port (\d+)\n", self.process.stdout.readline())[1])
        self.report = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.report = self.process.communicate(timeout=PATIENCE)[0]
        assert self.process.returncode == 0, self.process.returncode
        peak, total = map(int, re.search(r"at most (\d+) of (\d+) KiB in use", self.report).groups())
        assert peak <= total == TOTAL // 1024, self.report

    def count(self, kind):
        return tuple(map(int, re.search(rf"{kind}: (\d+) served, (\d+) refused", self.report).groups()))


async def upload(port, kind, data, pause=None):
    """Sends the data, in two parts; awaits pause() in between. Returns the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{kind} {len(data)}\n".encode() + data[: len(data) // 2])
        await writer.drain()
        if pause is not None:
            await pause()
        writer.write(data[len(data) // 2 :])
        await writer.drain()
        return (await reader.readline()).decode()
    except ConnectionError:
        return "reset"
    finally:
        writer.close()


def right(data):
    return f"ok {hashlib.sha256(data).hexdigest()}\n"


def test_load():
    """200 clients of both kinds at once: each is served, within the total."""

    async def load(port):
        datas = [bytes([i % 256]) * (100_000 + i) for i in range(200)]
        kinds = ["premium" if i % 4 == 0 else "standard" for i in range(200)]
        answers = await asyncio.gather(*(upload(port, kind, data) for kind, data in zip(kinds, datas)))
        return [answer == right(data) for answer, data in zip(answers, datas)]

    with Gateway("--max-waiting", "1000") as gateway:
        served = asyncio.run(load(gateway.port))
    assert all(served), served.count(False)
    assert gateway.count("premium") == (50, 0) and gateway.count("standard") == (150, 0), gateway.report


def test_slow_clients_hold_nothing():
    """A hundred clients that pause do not delay other clients."""

    async def load(port):
        n_paused = 0
        all_paused, go_on = asyncio.Event(), asyncio.Event()

        async def pause():
            nonlocal n_paused
            n_paused += 1
            if n_paused == 100:
                all_paused.set()
            await go_on.wait()

        slow = [asyncio.create_task(upload(port, "standard", b"x" * 100_000, pause)) for _ in range(100)]
        await asyncio.wait_for(all_paused.wait(), PATIENCE)
        data = b"y" * 1_000_000
        answer = await asyncio.wait_for(upload(port, "standard", data), PATIENCE)
        assert not any(task.done() for task in slow)
        go_on.set()
        return answer == right(data), await asyncio.gather(*slow)

    with Gateway() as gateway:
        quick, slow = asyncio.run(load(gateway.port))
    assert quick and all(answer == right(b"x" * 100_000) for answer in slow)


def test_refusal():
    """If no client may wait, standard clients are refused with a reason, and premium clients are served."""

    async def load(port):
        standard = [upload(port, "standard", b"s" * 3_000_000) for _ in range(60)]
        premium = [upload(port, "premium", b"p" * 1_000_000) for _ in range(10)]
        answers = await asyncio.gather(*standard, *premium)
        return answers[:60], answers[60:]

    with Gateway("--max-waiting", "0") as gateway:
        standard, premium = asyncio.run(load(gateway.port))
    assert all(answer == right(b"p" * 1_000_000) for answer in premium), premium
    served, refused = gateway.count("standard")
    assert served + refused == 60, gateway.report
    assert gateway.count("premium") == (10, 0), gateway.report
    for answer in standard:
        assert answer == right(b"s" * 3_000_000) or re.fullmatch(
            r'busy: .* 0 requests are already waiting for the budget "standard", and no more may wait\n', answer
        ), answer


async def ask(port, line):
    """Sends only a first line. Returns the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{line}\n".encode())
    answer = (await reader.readline()).decode()
    writer.close()
    return answer


def test_usage():
    """Bad options are refused with exit status 2, and a bad first line with a message."""
    for options in (["--total", "1"], ["--total", "many"], ["--port", "70000"], ["--unknown"], ["argument"]):
        result = subprocess.run([GATEWAY, *options], capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert result.returncode == 2 and result.stderr.startswith("gateway: "), (options, result)

    with Gateway() as gateway:
        for line in ("nonsense 0", "premium", "premium ", "premium -1", "premium +1", "premium  1", "premium 1x",
                     "premium 9223372036854775808", "premium 99999999999999999999"):
            answer = asyncio.run(asyncio.wait_for(ask(gateway.port, line), PATIENCE))
            assert answer.startswith("error: the first line must be"), (line, answer)
        assert asyncio.run(upload(gateway.port, "premium", b"")) == right(b"")


TESTS = [test_load, test_slow_clients_hold_nothing, test_refusal, test_usage]
print(f"1..{len(TESTS)}")
failed = 0
for number, test in enumerate(TESTS, 1):
    try:
        test()
        result = "ok"
    except Exception as error:  # the other tests run even if this one fails
        print(f"# {error!r}")
        result = "not ok"
        failed += 1
    print(result, number, test.__doc__)
sys.exit(failed > 0)
