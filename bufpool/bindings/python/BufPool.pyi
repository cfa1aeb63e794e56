# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""BufPool as Python sees it, for editors and type checkers."""

from typing import (
    Any,
    AsyncContextManager,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Generic,
    Iterator,
    List,
    Optional,
    Sequence,
    Type,
    TypeVar,
    Union,
    overload,
)

from gi.repository import Gio, GLib, GObject

MAJOR_VERSION: int
MINOR_VERSION: int
MICRO_VERSION: int
VERSION_S: str
POOL_MAX_BUFFERS: int
POOL_UNLIMITED: int

_Pool = TypeVar("_Pool", bound=Pool)
_Result = TypeVar("_Result")
_Bytes = Union[bytes, bytearray, memoryview, GLib.Bytes, PoolAllocation, Sequence[int]]
_PoolCallback = Callable[..., object]  # (pool, result, *user_data)
_TransferCallback = Callable[..., object]  # (None, result, *user_data)
_ReaderCallback = Callable[..., object]  # (reader, result, *user_data)

class _Awaitable(Coroutine[Any, Any, _Result], AsyncContextManager[_Result], Generic[_Result]):
    """What asynchronous methods return without a callback: use it with await or async with."""

    def __await__(self) -> Generator[Any, Any, _Result]: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, *exception: Any) -> Any: ...
    def close(self) -> None: ...
    async def __aenter__(self) -> _Result: ...
    async def __aexit__(self, *_: object) -> None: ...

def get_memory_limit() -> int: ...
def pool_error_quark() -> int: ...

class BufferSize(GObject.GEnum):
    S8: BufferSize
    S16: BufferSize
    S32: BufferSize
    S64: BufferSize
    S128: BufferSize
    S256: BufferSize
    S512: BufferSize
    S1024: BufferSize
    S2048: BufferSize
    S4096: BufferSize
    S8192: BufferSize
    S16384: BufferSize

class PoolError(GObject.GEnum):
    """The codes of GLib.Error, in the domain "buf-pool-error-quark"."""

    INVALID_CONFIG: PoolError
    INVALID_COUNT: PoolError
    TOO_LARGE: PoolError
    NO_MEMORY: PoolError
    CLOSED: PoolError
    OUT_OF_RANGE: PoolError
    RELEASED: PoolError
    OVERLOADED: PoolError
    IN_USE: PoolError

class PoolStats(GObject.GBoxed):
    """The state of a pool at one moment, and statistics about its requests. Times are in microseconds."""

    active_allocations: int
    allocated_memory: int
    longest_wait: int
    max_memory: int
    most_overtaken: int
    n_cancelled: int
    n_closed: int
    n_hits: int
    n_invalid: int
    n_misses: int
    n_no_memory: int
    n_overloaded: int
    n_overtakings: int
    n_refills: int
    n_revocations: int
    n_timed_out: int
    n_too_large: int
    n_waits: int
    n_would_block: int
    total_wait_time: int
    waiting: int

    def copy(self) -> PoolStats: ...

class Pool(GObject.Object, Gio.Initable):
    """A buffer pool with a memory limit. An invalid configuration raises GLib.Error."""

    class Props(GObject.Object.Props):
        active_allocations: int
        alignment: int
        allocated_memory: int
        available_memory: int
        budget: Optional[Budget]
        buffer_size: int
        cached_memory: int
        closed: bool
        max_cached_memory: int
        max_memory: int
        max_waiting: int
        name: Optional[str]
        reserved_memory: int
        waiting: int
        zero_fill: bool

    @property
    def props(self) -> Props: ...
    @property
    def active_allocations(self) -> int: ...
    @property
    def alignment(self) -> int: ...
    @property
    def allocated_memory(self) -> int: ...
    @property
    def available_memory(self) -> int: ...
    @property
    def budget(self) -> Optional[Budget]: ...
    @property
    def buffer_size(self) -> int: ...
    @property
    def cached_memory(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    max_cached_memory: int
    max_memory: int
    max_waiting: int
    @property
    def name(self) -> Optional[str]: ...
    reserved_memory: int
    @property
    def waiting(self) -> int: ...
    @property
    def zero_fill(self) -> bool: ...
    def __init__(
        self,
        *,
        alignment: int = ...,
        budget: Optional[Budget] = ...,
        buffer_size: int = ...,
        max_cached_memory: int = ...,
        max_memory: int = ...,
        max_waiting: int = ...,
        name: Optional[str] = ...,
        reserved_memory: int = ...,
        zero_fill: bool = ...,
    ) -> None: ...
    @classmethod
    def new(cls: Type[_Pool], buffer_size: int, max_memory: int) -> _Pool: ...
    @classmethod
    def new_with_budget(cls: Type[_Pool], buffer_size: int, budget: Budget) -> _Pool: ...
    def allocate(
        self,
        n_buffers: int,
        cancellable: Optional[Gio.Cancellable] = None,
        *,
        at_least: Optional[int] = None,
        timeout: Optional[float] = None,
        priority: int = ...,
    ) -> PoolAllocation: ...
    def allocate_timeout(
        self, n_buffers: int, timeout_us: int, cancellable: Optional[Gio.Cancellable] = None
    ) -> PoolAllocation: ...
    def try_allocate(self, n_buffers: int) -> PoolAllocation: ...
    @overload
    def allocate_async(
        self,
        n_buffers: int,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
        callback: None = None,
        *,
        at_least: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> _Awaitable[PoolAllocation]: ...
    @overload
    def allocate_async(
        self,
        n_buffers: int,
        io_priority: int,
        cancellable: Optional[Gio.Cancellable],
        callback: _PoolCallback,
        *user_data: Any,
        at_least: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> None: ...
    def allocate_finish(self, result: Gio.AsyncResult) -> PoolAllocation: ...
    def allocate_pinned_finish(self, result: Gio.AsyncResult) -> PoolAllocation: ...
    def allocate_full(
        self,
        min_buffers: int,
        max_buffers: int,
        timeout_us: int = ...,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
    ) -> PoolAllocation: ...
    @overload
    def allocate_full_async(
        self,
        min_buffers: int,
        max_buffers: int,
        timeout_us: int = ...,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
        callback: None = None,
    ) -> _Awaitable[PoolAllocation]: ...
    @overload
    def allocate_full_async(
        self,
        min_buffers: int,
        max_buffers: int,
        timeout_us: int,
        io_priority: int,
        cancellable: Optional[Gio.Cancellable],
        callback: _PoolCallback,
        *user_data: Any,
    ) -> None: ...
    def allocate_full_finish(self, result: Gio.AsyncResult) -> PoolAllocation: ...
    def allocate_full_pinned_finish(self, result: Gio.AsyncResult) -> PoolAllocation: ...
    def close(self) -> None: ...
    def is_closed(self) -> bool: ...
    def drain(
        self, cancellable: Optional[Gio.Cancellable] = None, *, timeout: Optional[float] = None
    ) -> bool: ...
    def drain_timeout(self, timeout_us: int, cancellable: Optional[Gio.Cancellable] = None) -> bool: ...
    @overload
    def drain_async(
        self,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
        callback: None = None,
    ) -> _Awaitable[bool]: ...
    @overload
    def drain_async(
        self,
        io_priority: int,
        cancellable: Optional[Gio.Cancellable],
        callback: _PoolCallback,
        *user_data: Any,
    ) -> None: ...
    def drain_finish(self, result: Gio.AsyncResult) -> bool: ...
    def get_active_allocations(self) -> int: ...
    def get_alignment(self) -> int: ...
    def get_allocated_memory(self) -> int: ...
    def get_available_memory(self) -> int: ...
    def get_budget(self) -> Optional[Budget]: ...
    def get_buffer_size(self) -> int: ...
    def get_cached_memory(self) -> int: ...
    def get_max_cached_memory(self) -> int: ...
    def get_max_memory(self) -> int: ...
    def get_max_waiting(self) -> int: ...
    def get_name(self) -> Optional[str]: ...
    def get_reserved_memory(self) -> int: ...
    def get_waiting(self) -> int: ...
    def get_stats(self) -> PoolStats: ...
    def describe_outstanding(self) -> str: ...
    def get_zero_fill(self) -> bool: ...
    def set_max_cached_memory(self, max_cached_memory: int) -> None: ...
    def set_max_memory(self, max_memory: int) -> None: ...
    def set_max_waiting(self, max_waiting: int) -> None: ...
    def set_reserved_memory(self, reserved_memory: int) -> None: ...
    def trim(self, target: int) -> int: ...
    @staticmethod
    def trim_all() -> int: ...

class Budget(GObject.Object):
    """A memory limit that several pools share, and a semaphore whose unit is a byte."""

    class Props(GObject.Object.Props):
        allocated_memory: int
        available_memory: int
        max_memory: int
        max_waiting: int
        name: Optional[str]
        parent: Optional[Budget]
        reserved_memory: int
        waiting: int

    @property
    def props(self) -> Props: ...
    @property
    def allocated_memory(self) -> int: ...
    @property
    def available_memory(self) -> int: ...
    max_memory: int
    max_waiting: int
    @property
    def name(self) -> Optional[str]: ...
    @property
    def parent(self) -> Optional[Budget]: ...
    reserved_memory: int
    @property
    def waiting(self) -> int: ...
    def __init__(
        self,
        *,
        max_memory: int = ...,
        max_waiting: int = ...,
        name: Optional[str] = ...,
        parent: Optional[Budget] = ...,
        reserved_memory: int = ...,
    ) -> None: ...
    @classmethod
    def new(cls, max_memory: int) -> Budget: ...
    @classmethod
    def new_child(cls, parent: Budget, max_memory: int) -> Budget: ...
    def acquire(
        self,
        n_bytes: int,
        cancellable: Optional[Gio.Cancellable] = None,
        *,
        timeout: Optional[float] = None,
        priority: int = ...,
    ) -> Permit: ...
    def acquire_full(
        self,
        n_bytes: int,
        timeout_us: int = ...,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
    ) -> Permit: ...
    def try_acquire(self, n_bytes: int) -> Permit: ...
    @overload
    def acquire_async(
        self,
        n_bytes: int,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
        callback: None = None,
    ) -> _Awaitable[Permit]: ...
    @overload
    def acquire_async(
        self,
        n_bytes: int,
        io_priority: int,
        cancellable: Optional[Gio.Cancellable],
        callback: _PoolCallback,
        *user_data: Any,
    ) -> None: ...
    def acquire_finish(self, result: Gio.AsyncResult) -> Permit: ...
    def get_allocated_memory(self) -> int: ...
    def get_available_memory(self) -> int: ...
    def get_max_memory(self) -> int: ...
    def get_max_waiting(self) -> int: ...
    def get_name(self) -> Optional[str]: ...
    def get_parent(self) -> Optional[Budget]: ...
    def get_reserved_memory(self) -> int: ...
    def get_waiting(self) -> int: ...
    def set_max_memory(self, max_memory: int) -> None: ...
    def set_max_waiting(self, max_waiting: int) -> None: ...
    def set_reserved_memory(self, reserved_memory: int) -> None: ...

class Permit(GObject.GBoxed):
    """Bytes acquired from a budget. They return to it when the permit is released or dropped."""

    def __enter__(self) -> Permit: ...
    def __exit__(self, *_: object) -> None: ...
    async def __aenter__(self) -> Permit: ...
    async def __aexit__(self, *_: object) -> None: ...
    def __bool__(self) -> bool: ...
    def copy(self) -> Permit: ...
    def get_size(self) -> int: ...
    def is_released(self) -> bool: ...
    def release(self) -> None: ...
    def shrink(self, n_bytes: int) -> bool: ...

class PoolAllocation(GObject.GBoxed):
    """A sequence of buffers: writable memoryviews, without a copy."""

    def __enter__(self) -> PoolAllocation: ...
    def __exit__(self, *_: object) -> None: ...
    async def __aenter__(self) -> PoolAllocation: ...
    async def __aexit__(self, *_: object) -> None: ...
    def __array__(self, dtype: Any = None, copy: Optional[bool] = None) -> Any: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __iter__(self) -> Iterator[memoryview]: ...
    @overload
    def __getitem__(self, index: int) -> memoryview: ...
    @overload
    def __getitem__(self, index: slice) -> Union[memoryview, List[memoryview]]: ...
    def __bytes__(self) -> bytes: ...
    def __buffer__(self, _flags: int) -> memoryview: ...
    def view(self) -> memoryview: ...
    def copy(self) -> PoolAllocation: ...
    def extract(self, offset: int, size: int) -> GLib.Bytes: ...
    def fill(self, offset: int, data: _Bytes) -> bool: ...
    def fill_from_stream(
        self, stream: Gio.InputStream, offset: int, size: int, cancellable: Optional[Gio.Cancellable] = None
    ) -> int: ...
    @overload
    def fill_from_stream_async(
        self,
        stream: Gio.InputStream,
        offset: int,
        size: int,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
        callback: None = None,
    ) -> _Awaitable[int]: ...
    @overload
    def fill_from_stream_async(
        self,
        stream: Gio.InputStream,
        offset: int,
        size: int,
        io_priority: int,
        cancellable: Optional[Gio.Cancellable],
        callback: _TransferCallback,
        *user_data: Any,
    ) -> None: ...
    def fill_from_stream_finish(self, result: Gio.AsyncResult) -> int: ...
    def shrink(self, n_buffers: int) -> bool: ...
    def write_to_stream(
        self, stream: Gio.OutputStream, offset: int, size: int, cancellable: Optional[Gio.Cancellable] = None
    ) -> int: ...
    @overload
    def write_to_stream_async(
        self,
        stream: Gio.OutputStream,
        offset: int,
        size: int,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
        callback: None = None,
    ) -> _Awaitable[int]: ...
    @overload
    def write_to_stream_async(
        self,
        stream: Gio.OutputStream,
        offset: int,
        size: int,
        io_priority: int,
        cancellable: Optional[Gio.Cancellable],
        callback: _TransferCallback,
        *user_data: Any,
    ) -> None: ...
    def write_to_stream_finish(self, result: Gio.AsyncResult) -> int: ...
    def get_allocated_bytes(self) -> int: ...
    def get_buffer(self, index: int) -> Optional[int]: ...
    def get_buffer_bytes(self, index: int) -> Optional[GLib.Bytes]: ...
    def get_buffer_size(self) -> int: ...
    def get_bytes(self) -> Optional[GLib.Bytes]: ...
    def get_data(self) -> bytes: ...
    def get_first(self) -> Optional[int]: ...
    def get_length(self) -> int: ...
    def get_transferred_bytes(self) -> int: ...
    def is_released(self) -> bool: ...
    def release(self) -> None: ...

class Reader(GObject.Object):
    """Reads a stream in blocks that come from a pool. Iteration yields read-only memoryviews, without a copy."""

    class Props(GObject.Object.Props):
        n_buffers: int
        pool: Optional[Pool]
        position: int
        read_ahead: int
        stream: Optional[Gio.InputStream]

    @property
    def props(self) -> Props: ...
    @property
    def n_buffers(self) -> int: ...
    @property
    def pool(self) -> Optional[Pool]: ...
    @property
    def position(self) -> int: ...
    read_ahead: int
    @property
    def stream(self) -> Optional[Gio.InputStream]: ...
    def __init__(
        self, *, n_buffers: int = ..., pool: Pool = ..., read_ahead: int = ..., stream: Gio.InputStream = ...
    ) -> None: ...
    @classmethod
    def new(cls, stream: Gio.InputStream, pool: Pool, n_buffers: int) -> Reader: ...
    def next_block(self, cancellable: Optional[Gio.Cancellable] = None) -> Optional[GLib.Bytes]: ...
    @overload
    def next_block_async(
        self,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
        callback: None = None,
    ) -> _Awaitable[Optional[GLib.Bytes]]: ...
    @overload
    def next_block_async(
        self,
        io_priority: int,
        cancellable: Optional[Gio.Cancellable],
        callback: _ReaderCallback,
        *user_data: Any,
    ) -> None: ...
    def next_block_finish(self, result: Gio.AsyncResult) -> Optional[GLib.Bytes]: ...
    def splice(
        self,
        target: Gio.OutputStream,
        flags: Gio.OutputStreamSpliceFlags,
        cancellable: Optional[Gio.Cancellable] = None,
    ) -> bool: ...
    @overload
    def splice_async(
        self,
        target: Gio.OutputStream,
        flags: Gio.OutputStreamSpliceFlags,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
        callback: None = None,
    ) -> _Awaitable[bool]: ...
    @overload
    def splice_async(
        self,
        target: Gio.OutputStream,
        flags: Gio.OutputStreamSpliceFlags,
        io_priority: int,
        cancellable: Optional[Gio.Cancellable],
        callback: _ReaderCallback,
        *user_data: Any,
    ) -> None: ...
    def splice_finish(self, result: Gio.AsyncResult) -> bool: ...
    def get_stream(self) -> Gio.InputStream: ...
    def get_pool(self) -> Pool: ...
    def get_n_buffers(self) -> int: ...
    def get_read_ahead(self) -> int: ...
    def set_read_ahead(self, read_ahead: int) -> None: ...
    def get_position(self) -> int: ...
    def __iter__(self) -> Iterator[memoryview]: ...
    def __next__(self) -> memoryview: ...
    def __aiter__(self) -> AsyncIterator[memoryview]: ...
    def __anext__(self) -> Awaitable[memoryview]: ...
