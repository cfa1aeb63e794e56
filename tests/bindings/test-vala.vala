// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// BufPool from Vala, where lifetimes are as in C: locals are dropped in reverse order.

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
        assert (caught == 4 && all.get_length () == 8);
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

int main (string[] args) {
    Test.init (ref args);
    Test.add_func ("/vala/first-example", test_first_example);
    Test.add_func ("/vala/errors", test_errors);
    Test.add_func ("/vala/async", test_async);
    return Test.run ();
}
