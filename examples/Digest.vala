// SPDX-FileCopyrightText: The libbufpool authors
// SPDX-License-Identifier: LGPL-2.1-or-later

// Prints the SHA-256 of files, like sha256sum, but hashes several files at once within a memory limit.
//
// Shows a reader with async methods, which do not block the main loop. Each worker hashes the blocks of a
// file in place, without a copy. It frees a block before it reads the next one, so one block is enough for
// any number of workers.
//
// Installed: valac --pkg gio-2.0 --pkg bufpool-1.0 Digest.vala
// Uninstalled, it is built with the library: build/examples/digest-vala FILE...

class Digest : Object {
    static int64 max_memory = 16 << 20;
    static int64 buffer_size = 16384;
    static int64 n_buffers = 4;
    static int n_workers = 4;
    [CCode (array_length = false, array_null_terminated = true)]
    static string[] names;
    static string? check = null;
    static bool quiet = false;
    static bool version = false;

    const OptionEntry[] OPTIONS = {
        { "max-memory", 0, 0, OptionArg.CALLBACK, (void*) set_number, "Memory for file data", "BYTES" },
        { "buffer-size", 0, 0, OptionArg.CALLBACK, (void*) set_number, "Size of a buffer", "BYTES" },
        { "buffers", 0, 0, OptionArg.INT64, ref n_buffers, "Buffers in each allocation", "N" },
        { "workers", 0, 0, OptionArg.INT, ref n_workers, "Files hashed at once", "N" },
        { "check", 0, 0, OptionArg.FILENAME, ref check, "Read checksums from a file, and check them", "SUMS" },
        { "quiet", 0, 0, OptionArg.NONE, ref quiet, "With --check, do not print OK", null },
        { "version", 0, 0, OptionArg.NONE, ref version, "Print the version", null },
        { OPTION_REMAINING, 0, 0, OptionArg.FILENAME_ARRAY, ref names, null, "FILE…" },
        { null }
    };

    struct Result {
        string? hexadecimal;
        string? problem;
    }

    BufPool.Pool pool;
    string[] expected = {};
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
        var reader = new BufPool.Reader (yield open_stream (name), pool, (size_t) n_buffers);
        var checksum = new Checksum (ChecksumType.SHA256);
        Bytes? block;

        while ((block = yield reader.next_block_async (Priority.DEFAULT, null)) != null) {
            checksum.update (block.get_data (), block.get_size ());
            block = null;
        }
        return checksum.get_string ();
    }

    // The same format as sha256sum, so that each file has one line.
    string escape (string name) {
        var escaped = new StringBuilder (name); // string.replace() aborts if the name is not UTF-8

        escaped.replace ("\\", "\\\\");
        escaped.replace ("\n", "\\n");
        escaped.replace ("\r", "\\r");
        return escaped.str;
    }

    void print_result (string name, Result result) {
        if (check != null) {
            print_check (name, result);
            return;
        }
        var escaped = escape (name);

        if (result.hexadecimal != null) {
            stdout.printf ("%s%s  %s\n", escaped == name ? "" : "\\", result.hexadecimal, escaped);
        } else {
            stdout.flush ();
            stderr.printf ("digest: %s: %s\n", escaped, result.problem);
            status = 1;
        }
    }

    void print_check (string name, Result result) {
        var equal = result.hexadecimal == expected[n_printed];
        var escaped = escape (name);
        var shown = escaped == name ? name : "\\" + escaped;

        if (result.problem != null)
            stderr.printf ("digest: %s: %s\n", shown, result.problem);
        if (!equal || !quiet)
            stdout.printf ("%s: %s\n", shown, equal ? "OK" : result.problem != null ? "FAILED open or read" : "FAILED");
        if (!equal)
            status = 1;
    }

    // The names and the checksums in the output of digest or sha256sum.
    void read_sums () throws Error {
        string text;
        MatchInfo match;
        string[] found = {};
        var n_bad = 0;
        var pattern = new Regex ("^(\\\\?)([0-9a-fA-F]{64}) [ *](.+)$", RegexCompileFlags.RAW);

        FileUtils.get_contents (check == "-" ? "/dev/stdin" : check, out text);
        foreach (var line in text.split ("\n")) {
            if (pattern.match (line, 0, out match)) {
                found += match.fetch (1) == "" ? match.fetch (3) : match.fetch (3).compress ();
                expected += match.fetch (2).down ();
            } else if (line != "") {
                n_bad++;
            }
        }
        if (n_bad > 0)
            stderr.printf ("digest: WARNING: %d %s improperly formatted\n", n_bad, n_bad == 1 ? "line is" : "lines are");
        names = found;
        results = new Result[names.length];
        status = names.length > 0 ? 0 : 1;
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
        if (check != null) {
            try {
                read_sums ();
            } catch (Error e) {
                stderr.printf ("digest: %s\n", e.message);
                return 1;
            }
            if (names.length == 0)
                return status;
        }
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
            if (version) {
                stdout.printf ("digest (libbufpool) %s\n", BufPool.VERSION_S);
                return 0;
            }
            if ((names.length == 0) == (check == null) || n_workers < 1)
                throw new OptionError.FAILED ("Specify files, or one file with --check, and at least one worker; try --help");
            if (n_buffers < 0)
                throw new OptionError.BAD_VALUE ("--buffers cannot be negative");

            var pool = new BufPool.Pool ((size_t) buffer_size, (size_t) max_memory);
            pool.try_allocate ((size_t) n_buffers); // fails immediately if it could never be granted
            return new Digest (pool).run ();
        } catch (Error e) {
            stderr.printf ("digest: %s\n", e.message);
            return 2;
        }
    }
}
