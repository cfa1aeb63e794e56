# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""The job that monitor.py shows: hashes files with SHA-256, reading them through a buffer pool. And another
user of memory, with a separate pool that shares the budget."""

import collections
import hashlib
import threading

from gi.repository import Gio, GLib

N_READERS = 4
MAX_WORKERS = 8
MIB = 1024 * 1024
PAUSE = 0.02  # seconds between two steps of the other user


class Settings:
    """Settings that may change while the job runs. They are integers, so that threads may read them at any
    time."""

    n_workers = 1
    n_buffers = 32
    other = 0  # MiB that the other user wants
    repeat = False


class HashedFile:
    """The blocks of a file that were read and not hashed yet, in order."""

    def __init__(self):
        self.digest = hashlib.sha256()
        self.blocks = collections.deque()
        self.busy = False  # a thread hashes one of its blocks, or is about to


class OtherUser(threading.Thread):
    """Holds about as much memory as the settings say, and replaces it with new blocks all the time. It waits
    for memory like the readers of the job, so the two pools give way to each other."""

    def __init__(self, pool, settings):
        super().__init__()
        self._pool = pool
        self._settings = settings
        self._ended = threading.Event()
        self._held = collections.deque()

    def end(self):
        self._ended.set()
        self.join()

    def _release_oldest(self):
        if self._held:
            self._held.popleft().release()

    def _step(self):
        wanted = self._settings.other * MIB
        if self._pool.props.allocated_memory + MIB > wanted:
            self._release_oldest()
        if self._pool.props.allocated_memory + MIB <= wanted:
            n_buffers = MIB // self._pool.props.buffer_size
            self._held.append(self._pool.allocate(n_buffers, at_least=1, timeout=PAUSE))

    def run(self):
        while not self._ended.wait(PAUSE):
            try:
                self._step()
            except GLib.Error:
                self._release_oldest()  # the budget is used up, and the job may wait, too
        for allocation in self._held:
            allocation.release()


class Job:
    """Reads files in some threads, and hashes them in others. A hashing thread takes the next block of any
    file, so each block that was read returns to the pool, no matter what the readers wait for."""

    def __init__(self, pool, paths, settings, on_end):
        self.n_files = self.n_skipped = self.n_bytes = 0
        self._pool = pool
        self._settings = settings
        self._on_end = on_end
        self._cancellable = Gio.Cancellable()
        self._changed = threading.Condition()  # guards all fields below, and the files
        self._paths = self._choose(paths)
        self._ready = collections.deque()
        self._n_blocks = 0
        self._n_readers = N_READERS
        self._threads = [threading.Thread(target=self._read) for _ in range(N_READERS)]
        self._threads += [threading.Thread(target=self._hash, args=(i,)) for i in range(MAX_WORKERS)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        """Asks the job to end. Readers that wait for the pool are woken, and the blocks that were read are
        dropped."""
        self._cancellable.cancel()

    def join(self):
        for thread in self._threads:
            thread.join()

    def is_stopped(self):
        return self._cancellable.is_cancelled()

    def settings_changed(self):
        with self._changed:
            self._changed.notify_all()

    def _choose(self, paths):
        yield from paths
        while self._settings.repeat and paths and not self.is_stopped():
            yield from paths

    def _next_path(self):
        with self._changed:
            return next(self._paths, None)

    def _read(self):
        try:
            while not self.is_stopped() and (path := self._next_path()) is not None:
                self._read_path(path)
        finally:
            with self._changed:
                self._n_readers -= 1
                self._changed.notify_all()

    def _read_path(self, path):
        try:
            with open(path, "rb", buffering=0) as stream:
                self._read_file(stream)
        except OSError:
            with self._changed:
                self.n_skipped += 1
        except GLib.Error as error:
            if not error.matches(Gio.io_error_quark(), Gio.IOErrorEnum.CANCELLED):
                raise

    def _read_file(self, stream):
        file = HashedFile()
        size = None
        while size != 0:
            # The reader waits here when the limit is reached.
            allocation = self._pool.allocate(self._settings.n_buffers, self._cancellable)
            with allocation.view() as memory:
                size = stream.readinto(memory)
            with self._changed:
                file.blocks.append((allocation, size))
                self._n_blocks += 1
                self._make_ready(file)

    def _make_ready(self, file):
        if file.blocks and not file.busy:
            file.busy = True
            self._ready.append(file)
            self._changed.notify_all()

    def _hash(self, index):
        while (file := self._wait_for_file(index)) is not None:
            allocation, size = file.blocks.popleft()
            with allocation:
                if not self.is_stopped():
                    with allocation.view() as memory, memory[:size] as data:
                        file.digest.update(data)
            with self._changed:
                self.n_bytes += size
                self.n_files += size == 0
                self._n_blocks -= 1
                file.busy = False
                self._make_ready(file)
                self._changed.notify_all()
        if index == 0:
            GLib.idle_add(self._on_end, self)

    def _wait_for_file(self, index):
        """The next file with a block to hash; None when the job is done."""
        with self._changed:
            self._changed.wait_for(
                lambda: (self._ready and index < self._settings.n_workers) or self._n_readers + self._n_blocks == 0
            )
            return self._ready.popleft() if self._ready else None
