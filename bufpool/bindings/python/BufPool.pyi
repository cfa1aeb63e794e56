# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

"""BufPool as Python sees it, for editors and type checkers."""

from typing import (
    Any,
    AsyncContextManager,
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

class _Awaitable(Coroutine[Any, Any, _Result], AsyncContextManager[_Result], Generic[_Result]):
    """What asynchronous methods return without a callback: to be awaited, or for async with."""

    def __await__(self) -> Generator[Any, Any, _Result]: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, *exception: Any) -> Any: ...
    def close(self) -> None: ...
    async def __aenter__(self) -> _Result: ...
    async def __aexit__(self, *_: object) -> None: ...

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

class PoolStats(GObject.GBoxed):
    """How a pool stood at one moment, and what had happened to its requests. Times are in microseconds."""

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
    """A buffer pool with a memory budget. A configuration that makes no sense raises GLib.Error."""

    class Props(GObject.Object.Props):
        active_allocations: int
        alignment: int
        allocated_memory: int
        available_memory: int
        buffer_size: int
        cached_memory: int
        closed: bool
        max_cached_memory: int
        max_memory: int
        name: Optional[str]
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
    def buffer_size(self) -> int: ...
    @property
    def cached_memory(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    max_cached_memory: int
    max_memory: int
    @property
    def name(self) -> Optional[str]: ...
    @property
    def waiting(self) -> int: ...
    @property
    def zero_fill(self) -> bool: ...
    def __init__(
        self,
        *,
        alignment: int = ...,
        buffer_size: int = ...,
        max_cached_memory: int = ...,
        max_memory: int = ...,
        name: Optional[str] = ...,
        zero_fill: bool = ...,
    ) -> None: ...
    @classmethod
    def new(cls: Type[_Pool], buffer_size: int, max_memory: int) -> _Pool: ...
    def allocate(
        self,
        n_buffers: int,
        cancellable: Optional[Gio.Cancellable] = None,
        *,
        timeout: Optional[float] = None,
    ) -> PoolAllocation: ...
    def allocate_timeout(
        self, n_buffers: int, timeout: int, cancellable: Optional[Gio.Cancellable] = None
    ) -> PoolAllocation: ...
    def try_allocate(self, n_buffers: int) -> PoolAllocation: ...
    @overload
    def allocate_async(
        self,
        n_buffers: int,
        io_priority: int = ...,
        cancellable: Optional[Gio.Cancellable] = None,
        callback: None = None,
    ) -> _Awaitable[PoolAllocation]: ...
    @overload
    def allocate_async(
        self,
        n_buffers: int,
        io_priority: int,
        cancellable: Optional[Gio.Cancellable],
        callback: _PoolCallback,
        *user_data: Any,
    ) -> None: ...
    def allocate_finish(self, result: Gio.AsyncResult) -> PoolAllocation: ...
    def allocate_pinned_finish(self, result: Gio.AsyncResult) -> PoolAllocation: ...
    def close(self) -> None: ...
    def is_closed(self) -> bool: ...
    def drain(
        self, cancellable: Optional[Gio.Cancellable] = None, *, timeout: Optional[float] = None
    ) -> bool: ...
    def drain_timeout(self, timeout: int, cancellable: Optional[Gio.Cancellable] = None) -> bool: ...
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
    def get_buffer_size(self) -> int: ...
    def get_cached_memory(self) -> int: ...
    def get_max_cached_memory(self) -> int: ...
    def get_max_memory(self) -> int: ...
    def get_name(self) -> Optional[str]: ...
    def get_waiting(self) -> int: ...
    def get_stats(self) -> PoolStats: ...
    def describe_outstanding(self) -> str: ...
    def get_zero_fill(self) -> bool: ...
    def set_max_cached_memory(self, max_cached_memory: int) -> None: ...
    def set_max_memory(self, max_memory: int) -> None: ...
    def trim(self, target: int) -> int: ...
    @staticmethod
    def trim_all() -> int: ...

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
    def is_released(self) -> bool: ...
    def release(self) -> None: ...
