// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Readers from Vala: foreach, and yield.

const string TEXT = "The quick brown fox jumps over the lazy dog.";

BufPool.Reader new_reader () throws Error {
    var pool = new BufPool.Pool (8, 16);

    return new BufPool.Reader (new MemoryInputStream.from_data (TEXT.data), pool, 1);
}

void test_foreach () {
    try {
        var reader = new_reader ();
        var text = new StringBuilder ();

        foreach (var block in reader)
            text.append_len ((string) block.get_data (), (ssize_t) block.get_size ());
        assert (text.str == TEXT);
        assert (reader.position == TEXT.length);
        assert (reader.pool.allocated_memory == 0);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

void test_foreach_throws () {
    var n_blocks = 0;
    try {
        var reader = new_reader ();

        foreach (var block in reader) {
            n_blocks += block.get_size () > 0 ? 1 : 0;
            reader.stream.close ();
        }
        assert_not_reached ();
    } catch (IOError.CLOSED e) {
        assert (n_blocks == 1);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

async string read_all () throws Error {
    var reader = new_reader ();
    var text = new StringBuilder ();
    Bytes? block;

    while ((block = yield reader.next_block_async ()) != null)
        text.append_len ((string) block.get_data (), (ssize_t) block.get_size ());
    while ((block = yield reader.next_block_async (Priority.DEFAULT, null)) != null)
        assert_not_reached ();
    return text.str;
}

void test_yield () {
    var loop = new MainLoop ();

    read_all.begin ((source, result) => {
        try {
            assert (read_all.end (result) == TEXT);
        } catch (Error e) {
            error ("%s", e.message);
        }
        loop.quit ();
    });
    loop.run ();
}

async void splice () throws Error {
    var target = new MemoryOutputStream.resizable ();

    assert (yield (new_reader ()).splice_async (target, OutputStreamSpliceFlags.NONE));
    assert (yield (new_reader ()).splice_async (target, OutputStreamSpliceFlags.CLOSE_TARGET, Priority.HIGH));
    assert (target.get_data_size () == 2 * TEXT.length);
}

void test_yield_splice () {
    var loop = new MainLoop ();

    splice.begin ((source, result) => {
        try {
            splice.end (result);
        } catch (Error e) {
            error ("%s", e.message);
        }
        loop.quit ();
    });
    loop.run ();
}

void test_splice () {
    try {
        var target = new MemoryOutputStream.resizable ();
        var reader = new_reader ();

        assert (reader.splice (target, OutputStreamSpliceFlags.CLOSE_TARGET));
        assert (target.get_data_size () == TEXT.length);
    } catch (Error e) {
        error ("%s", e.message);
    }
}

int main (string[] args) {
    Test.init (ref args);
    Test.add_func ("/vala/reader/foreach", test_foreach);
    Test.add_func ("/vala/reader/foreach-throws", test_foreach_throws);
    Test.add_func ("/vala/reader/yield", test_yield);
    Test.add_func ("/vala/reader/splice", test_splice);
    Test.add_func ("/vala/reader/yield-splice", test_yield_splice);
    return Test.run ();
}
