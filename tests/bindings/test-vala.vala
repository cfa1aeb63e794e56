// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// BufPool from Vala, where allocations are pinned, as in the other languages.

void test_first_example () {
    try {
        var pool = new BufPool.Pool (BufPool.BufferSize.S16, 1024);
        var allocation = pool.allocate (48);

        assert (allocation.get_length () == 48 && allocation.get_allocated_bytes () == 768);
        unowned uint8[] data = allocation.get_data ();
        assert (data.length == 768);
        data[767] = 7;
        assert (allocation.extract (767, 1).get_data ()[0] == 7);
        BufPool.PoolAllocation other = allocation;
        allocation = null;
        assert (pool.allocated_memory == 768 && other.get_length () == 48);
        other = null;
        assert (pool.allocated_memory == 0);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

void test_errors () {
    try {
        var pool = new BufPool.Pool (16, 128);
        var all = pool.allocate (8);
        var caught = 0;

        try {
            pool.try_allocate (1);
        } catch (IOError.WOULD_BLOCK e) {
            caught++;
        }
        try {
            pool.allocate (0);
        } catch (BufPool.PoolError.INVALID_COUNT e) {
            caught++;
        }
        try {
            pool.allocate (9);
        } catch (BufPool.PoolError e) {
            assert (e is BufPool.PoolError.TOO_LARGE);
            caught++;
        }
        try {
            new BufPool.Pool (16, 15);
        } catch (BufPool.PoolError.INVALID_CONFIG e) {
            caught++;
        }
        try {
            Initable.new (typeof (BufPool.Pool), null, "buffer-size", (uint64) 24, "alignment", 16);
        } catch (BufPool.PoolError.INVALID_CONFIG e) {
            caught++;
        }
        assert (caught == 5 && all.get_length () == 8);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

void test_foreach () {
    try {
        var pool = new BufPool.Pool (16, 1024);
        var allocation = pool.allocate (5);
        uint8 number = 0;

        foreach (var buffer in allocation) {
            assert (buffer.length == 16);
            assert ((void*) buffer == allocation.get_buffer (number));
            buffer[15] = number++;
        }
        assert (number == 5);
        for (uint i = 0; i < 5; i++)
            assert (allocation.get_data ()[i * 16 + 15] == i && allocation[i][15] == i);
        allocation[4][0] = 77;
        assert (allocation.get_data ()[64] == 77);

        foreach (var buffer in pool.allocate (2))
            Memory.set (buffer, 1, buffer.length);

        unowned uint8[] last = allocation[4];
        assert (last.length == 16);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

void test_foreach_released () {
    try {
        var pool = new BufPool.Pool (16, 1024);
        var allocation = pool.allocate (5);

        allocation.release ();
        foreach (var buffer in allocation)
            assert (buffer == null);
        assert (allocation[0] == null && allocation[0].length == 0);
        try {
            allocation.extract (0, 1);
            assert_not_reached ();
        } catch (BufPool.PoolError.RELEASED e) {
        }
    } catch (Error e) {
        error ("%s", e.message);
    }
}

size_t take_over (owned BufPool.PoolAllocation allocation) {
    return allocation.get_length ();
}

void test_owned () {
    try {
        var pool = new BufPool.Pool (16, 128);
        var allocation = pool.allocate (8);

        assert (take_over ((owned) allocation) == 8);
        assert (allocation == null && pool.allocated_memory == 0);

        allocation = pool.allocate (8);
        var copy = allocation;
        assert (take_over ((owned) allocation) == 8);
        assert (pool.allocated_memory == 128 && copy.get_length () == 8);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

class Courier {
    public BufPool.PoolAllocation? allocation;

    public Courier (owned BufPool.PoolAllocation allocation) {
        this.allocation = (owned) allocation;
    }

    public uint8 deliver () {
        uint8 sum = 0;

        foreach (var buffer in allocation)
            sum += buffer[0];
        allocation = null;
        return sum;
    }
}

void test_thread () {
    try {
        var pool = new BufPool.Pool (16, 128);
        var allocation = pool.allocate (8);

        foreach (var buffer in allocation)
            buffer[0] = 3;
        var courier = new Courier ((owned) allocation);
        assert (allocation == null);
        var thread = new Thread<uint8> ("courier", courier.deliver);

        // Only this thread can free the memory.
        var next = pool.allocate (8);
        assert (thread.join () == 24 && next.get_length () == 8);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

void test_closure () {
    try {
        var pool = new BufPool.Pool (16, 128);
        {
            var allocation = pool.allocate (8);
            SourceFunc holder = () => allocation.get_length () == 8;

            assert (holder () && pool.allocated_memory == 128);
        }
        assert (pool.allocated_memory == 0);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

void test_domain () {
    try {
        var pool = new BufPool.Pool (16, 128);
        var allocation = pool.allocate (8);
        var caught = 0;

        try {
            pool.allocate_timeout (8, 1000);
        } catch (IOError.TIMED_OUT e) {
            caught++;
        }
        try {
            allocation.fill (120, new uint8[9]);
        } catch (Error e) {
            assert (e.domain == BufPool.PoolError.quark () && e.code == BufPool.PoolError.OUT_OF_RANGE);
            assert (e is BufPool.PoolError && "128" in e.message);
            caught++;
        }
        pool.close ();
        try {
            pool.allocate (1);
        } catch (BufPool.PoolError e) {
            assert (e is BufPool.PoolError.CLOSED);
            caught++;
        }
        assert (caught == 3);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

async void wait_to_be_cancelled (BufPool.Pool pool, MainLoop loop) {
    try {
        var all = yield pool.allocate_async (8, Priority.DEFAULT, null);
        var cancellable = new Cancellable ();

        Idle.add (() => { cancellable.cancel (); return Source.REMOVE; });
        try {
            yield pool.allocate_async (1, Priority.DEFAULT, cancellable);
            assert_not_reached ();
        } catch (IOError.CANCELLED e) {
            assert (pool.waiting == 0 && all.get_length () == 8);
        }

        size_t n_read;
        var stream = new MemoryInputStream.from_data ("Hello".data);
        yield all.fill_from_stream_async (stream, 2, 100, Priority.DEFAULT, null, out n_read);
        assert (n_read == 5 && all[0][2] == 'H');
    } catch (Error e) {
        error ("%s", e.message);
    }
    loop.quit ();
}

void test_cancelled_async () {
    try {
        var pool = new BufPool.Pool (16, 128);
        var loop = new MainLoop ();

        wait_to_be_cancelled.begin (pool, loop);
        loop.run ();
        assert (pool.allocated_memory == 0);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

async void wait_in_turn (BufPool.Pool pool, MainLoop loop) {
    try {
        var first = yield pool.allocate_async (8, Priority.DEFAULT, null);

        Idle.add (() => { first = null; return Source.REMOVE; });
        var second = yield pool.allocate_async (8, Priority.DEFAULT, null);
        assert (first == null && second.get_length () == 8);
        second = null;
        assert (yield pool.drain_async (Priority.DEFAULT, null));
    } catch (Error e) {
        error ("%s", e.message);
    }
    loop.quit ();
}

void test_async () {
    try {
        var pool = new BufPool.Pool (16, 128);
        var loop = new MainLoop ();

        wait_in_turn.begin (pool, loop);
        loop.run ();
        assert (pool.allocated_memory == 0);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

// A class with a pool and an allocation as fields, which are freed in any order.
class Keeper : Object {
    private BufPool.Pool pool;
    private BufPool.PoolAllocation? current;
    private BufPool.Budget budget;
    private BufPool.Permit? permit;

    public Keeper () throws Error {
        pool = new BufPool.Pool (BufPool.BufferSize.S4096, 1 << 20);
        current = pool.allocate (1);
        budget = new BufPool.Budget (100);
        permit = budget.acquire (1);
    }
}

void test_fields () {
    try {
        var keeper = new Keeper ();
        weak Object seen = keeper;

        seen.add_weak_pointer (&seen);
        keeper = null;
        assert (seen == null);

        BufPool.PoolAllocation? outlives;
        {
            var pool = new BufPool.Pool (16, 128);
            outlives = pool.try_allocate (8);
        }
        assert (outlives.get_length () == 8);
        outlives = null;
    } catch (Error e) {
        error ("%s", e.message);
    }
}

void test_unlimited () {
    try {
        var pool = new BufPool.Pool (16, BufPool.POOL_UNLIMITED);
        size_t limit = BufPool.POOL_UNLIMITED;

        pool.set_max_memory (limit);
        pool.max_memory = BufPool.POOL_UNLIMITED;
        assert (pool.get_max_memory () == BufPool.POOL_UNLIMITED && pool.max_memory == limit);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

void test_budget () {
    try {
        var budget = new BufPool.Budget (100);
        var child = new BufPool.Budget.child (budget, 50);
        var pool = new BufPool.Pool.with_budget (16, child);
        var permit = budget.acquire_full (10);
        var caught = 0;

        assert (permit.get_size () == 10 && permit.shrink (5) && budget.allocated_memory == 5);
        try {
            budget.acquire_full (100, 1000);
        } catch (IOError.TIMED_OUT e) {
            caught++;
        }
        try {
            budget.acquire (101);
        } catch (BufPool.PoolError.TOO_LARGE e) {
            caught++;
        }
        permit.release ();
        var allocation = pool.allocate_full (1, 8);
        assert (allocation.get_length () == 3 && budget.allocated_memory == 48);
        try {
            pool.allocate_full (1, 1, 1000, Priority.HIGH);
        } catch (IOError.TIMED_OUT e) {
            caught++;
        }
        assert (caught == 3 && child.parent == budget && budget.parent == null && pool.budget == child);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

void test_accessors () {
    try {
        var pool = new BufPool.Pool (16, 128);
        var allocation = pool.allocate (2);
        var target = new MemoryOutputStream.resizable ();
        size_t n_bytes;

        pool.max_cached_memory = 0;
        assert (pool.buffer_size == 16 && pool.active_allocations == 1 && pool.available_memory == 96);
        assert (pool.waiting == 0 && !pool.closed && pool.name == null && pool.cached_memory == 0);
        assert (pool.get_stats ().allocated_memory == 32 && pool.trim (0) == 0);
        assert (pool.describe_outstanding () != null);
        assert (allocation.fill (0, "Hello".data) && allocation.get_buffer_bytes (0).get_size () == 16);
        assert (allocation.get_first () == allocation.get_buffer (0) && allocation.get_bytes ().get_size () == 32);
        assert (allocation.write_to_stream (target, 0, 5, out n_bytes) && n_bytes == 5);
        var source = new MemoryInputStream.from_data ("text".data);
        assert (allocation.fill_from_stream (source, 16, 16, out n_bytes) && n_bytes == 4 && allocation[1][0] == 't');
        try {
            allocation.fill_from_stream (source, 32, 1, out n_bytes);
            assert_not_reached ();
        } catch (BufPool.PoolError.OUT_OF_RANGE e) {
        }
        try {
            pool.drain_timeout (1000);
            assert_not_reached ();
        } catch (IOError.TIMED_OUT e) {
        }
    } catch (Error e) {
        error ("%s", e.message);
    }
}

async void use_defaults (BufPool.Pool pool, BufPool.Budget budget, MainLoop loop) {
    try {
        var all = yield pool.allocate_async (8);
        var permit = yield budget.acquire_async (1);
        size_t n_read;

        assert (permit.get_size () == 1);
        yield all.fill_from_stream_async (new MemoryInputStream (), 0, 16, Priority.DEFAULT, null, out n_read);
        assert (n_read == 0);
        yield all.fill_from_stream_async (new MemoryInputStream.from_data ("Hello".data), 0, 16);
        assert (all.get_transferred_bytes () == 5);
        yield all.write_to_stream_async (new MemoryOutputStream.resizable (), 0, 16);
        assert (all.get_transferred_bytes () == 16);
        all = null;
        all = yield pool.allocate_full_async (1, 4);
        assert (all.get_length () == 4);
        all = null;
        assert (yield pool.drain_async ());
    } catch (Error e) {
        error ("%s", e.message);
    }
    loop.quit ();
}

void test_defaults () {
    try {
        var loop = new MainLoop ();

        use_defaults.begin (new BufPool.Pool (16, 128), new BufPool.Budget (1), loop);
        loop.run ();
    } catch (Error e) {
        error ("%s", e.message);
    }
}

int main (string[] args) {
    Test.init (ref args);
    Test.add_func ("/vala/first-example", test_first_example);
    Test.add_func ("/vala/errors", test_errors);
    Test.add_func ("/vala/foreach", test_foreach);
    Test.add_func ("/vala/foreach-released", test_foreach_released);
    Test.add_func ("/vala/owned", test_owned);
    Test.add_func ("/vala/thread", test_thread);
    Test.add_func ("/vala/closure", test_closure);
    Test.add_func ("/vala/domain", test_domain);
    Test.add_func ("/vala/async", test_async);
    Test.add_func ("/vala/cancelled-async", test_cancelled_async);
    Test.add_func ("/vala/fields", test_fields);
    Test.add_func ("/vala/unlimited", test_unlimited);
    Test.add_func ("/vala/budget", test_budget);
    Test.add_func ("/vala/accessors", test_accessors);
    Test.add_func ("/vala/defaults", test_defaults);
    return Test.run ();
}
