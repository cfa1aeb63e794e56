// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Prints the SHA-256 of files, as sha256sum does, several at once, within a budget of memory.
//
// Shows the pool with async methods: nothing blocks the main loop. Each worker waits for an
// allocation, lets the stream fill it, and hashes its buffers where they lie; nothing is copied. The
// allocation is dropped at the end of its scope. A worker holds none while it waits for the next, so
// any number of workers gets by with a budget of one allocation.
//
// Installed: valac --pkg gio-2.0 --pkg bufpool-1.0 Digest.vala
// Uninstalled it is built with the library: build/examples/digest-vala FILE...

class Digest : Object {
    static int64 max_memory = 16 << 20;
    static int64 buffer_size = 16384;
    static int64 n_buffers = 4;
    static int n_workers = 4;
    [CCode (array_length = false, array_null_terminated = true)]
    static string[] names;

    const OptionEntry[] OPTIONS = {
        { "max-memory", 0, 0, OptionArg.CALLBACK, (void*) set_number, "Memory for file data", "BYTES" },
        { "buffer-size", 0, 0, OptionArg.CALLBACK, (void*) set_number, "Size of a buffer", "BYTES" },
        { "buffers", 0, 0, OptionArg.INT64, ref n_buffers, "Buffers in each allocation", "N" },
        { "workers", 0, 0, OptionArg.INT, ref n_workers, "Files hashed at once", "N" },
        { OPTION_REMAINING, 0, 0, OptionArg.FILENAME_ARRAY, ref names, null, "FILE…" },
        { null }
    };

    struct Result {
        string? hexadecimal;
        string? problem;
    }

    BufPool.Pool pool;
    MainLoop loop = new MainLoop ();
    Result[] results = new Result[names.length];
    int n_started = 0;
    int n_printed = 0;
    int status = 0;

    Digest (BufPool.Pool pool) {
        this.pool = pool;
    }

    static bool set_number (string option, string text, void* data) throws OptionError {
        int64 number;
        string unit;

        if (!int64.try_parse (text, out number, out unit) && !(unit in "KMG"))
            throw new OptionError.BAD_VALUE ("%s %s is not a number", option, text);
        number <<= 10 * ("KMG".index_of (unit) + (unit == "" ? 0 : 1));
        if (option == "--max-memory")
            max_memory = number;
        else
            buffer_size = number;
        return true;
    }

    async InputStream open_stream (string name) throws Error {
        if (name == "-")
            return new UnixInputStream (0, false);
        return yield File.new_for_path (name).read_async ();
    }

    // The SHA-256 of one file, in hexadecimal.
    async string digest (string name) throws Error {
        var stream = yield open_stream (name);
        var checksum = new Checksum (ChecksumType.SHA256);
        size_t capacity = 0, size = 0;

        do {
            var allocation = yield pool.allocate_async ((size_t) n_buffers, Priority.DEFAULT, null);
            capacity = allocation.get_allocated_bytes ();
            yield allocation.fill_from_stream_async (stream, 0, capacity, Priority.DEFAULT, null, out size);

            var left = size;
            foreach (var buffer in allocation) {
                var length = size_t.min (left, buffer.length);
                checksum.update (buffer, length);
                left -= length;
            }
        } while (size == capacity);
        return checksum.get_string ();
    }

    // As sha256sum does it: one line for each file, whatever its name is.
    void print_result (string name, Result result) {
        var escaped = name.replace ("\\", "\\\\").replace ("\n", "\\n").replace ("\r", "\\r");

        if (result.hexadecimal != null) {
            stdout.printf ("%s%s  %s\n", escaped == name ? "" : "\\", result.hexadecimal, escaped);
        } else {
            stdout.flush ();
            stderr.printf ("digest: %s: %s\n", escaped, result.problem);
            status = 1;
        }
    }

    void print_results () {
        while (n_printed < names.length &&
               (results[n_printed].hexadecimal != null || results[n_printed].problem != null)) {
            print_result (names[n_printed], results[n_printed]);
            n_printed++;
        }
        if (n_printed == names.length)
            loop.quit ();
    }

    async void work () {
        while (n_started < names.length) {
            var number = n_started++;
            try {
                results[number].hexadecimal = yield digest (names[number]);
            } catch (Error e) {
                results[number].problem = e.message;
            }
            print_results ();
        }
    }

    int run () {
        for (var i = 0; i < n_workers; i++)
            work.begin ();
        loop.run ();
        return status;
    }

    static int main (string[] args) {
        Intl.setlocale ();
        try {
            var context = new OptionContext (null);
            context.add_main_entries (OPTIONS, null);
            context.parse (ref args);
            if (names.length == 0 || n_workers < 1)
                throw new OptionError.FAILED ("No files were named, or no workers; try --help");
            if (n_buffers < 0)
                throw new OptionError.BAD_VALUE ("--buffers cannot be negative");

            var pool = new BufPool.Pool ((size_t) buffer_size, (size_t) max_memory);
            pool.try_allocate ((size_t) n_buffers); // says at once what could never be granted
            return new Digest (pool).run ();
        } catch (Error e) {
            stderr.printf ("digest: %s\n", e.message);
            return 2;
        }
    }
}
