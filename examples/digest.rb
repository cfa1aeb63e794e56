#!/usr/bin/env ruby
# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# Prints the SHA-256 of files, like sha256sum, but hashes several files at once within a memory limit.
#
# Shows the pool with threads. Each thread waits for an allocation, lets the stream fill it, and hashes its
# contents; other threads run meanwhile. A thread holds no allocation while it waits for the next one, so one
# allocation is enough for any number of threads.
#
# The block releases the allocation as soon as it is hashed, because the collector does not know about the
# limit. For the same reason, the checksum gets a copy from extract(): a view from bytes() would hold the
# memory until the collector runs.
#
# Uninstalled: meson devenv -C build -w . ruby examples/digest.rb FILE...

require "bufpool"
require "digest/sha2" # not "digest", which loads the rest when a thread first needs it, and is not thread-safe then
require "optparse"

# Copies are garbage, whose size the collector does not know. So the program collects it explicitly.
COLLECT_EVERY = 4 << 20

# A thread that fails for any other reason than its file ends the program.
Thread.abort_on_exception = true
Signal.trap("INT", "SYSTEM_DEFAULT") # ends immediately, no matter what the threads wait for

def parse_options
  options = { max_memory: 16 << 20, buffer_size: 16_384, buffers: 4, workers: 4 }
  parser = OptionParser.new("Usage: digest.rb [OPTION...] FILE...")
  parser.accept(:size, /\A(\d+)([KMG]?)\z/) { |_, digits, unit| digits.to_i << (10 * " KMG".index(unit.empty? ? " " : unit)) }
  parser.on("--max-memory BYTES", :size, "Memory for file data")
  parser.on("--buffer-size BYTES", :size, "Size of a buffer")
  parser.on("--buffers N", :size, "Buffers in each allocation")
  parser.on("--workers N", :size, "Files hashed at once")
  parser.on("--check SUMS", "Read checksums from a file, and check them")
  parser.on("--quiet", "With --check, do not print OK")
  parser.version = BufPool::VERSION_S
  parser.program_name = "digest (libbufpool)"
  given = {}
  names = parser.parse(ARGV.map(&:b), into: given) # names are bytes, which need not be UTF-8
  options.update(given.transform_keys { |key| key.to_s.tr("-", "_").to_sym })
  if names.empty? == !options[:check] || options[:workers].zero?
    raise ArgumentError, "specify files, or one file with --check, and at least one worker; try --help"
  end

  [options, names]
end

# Not with Gio::File, whose names are text.
def open_file(name)
  return yield($stdin) if name == "-"

  File.open(name) { |file| yield(file) }
end

@extracted = 0

def extract(allocation, size)
  @extracted += size
  if @extracted >= COLLECT_EVERY
    @extracted = 0
    GC.start
  end
  allocation.extract(0, size).to_s
end

# The SHA-256 of one file, in hexadecimal.
def digest(pool, count, name)
  checksum = Digest::SHA256.new
  open_file(name) do |file|
    stream = Gio::UnixInputStream.new(file.fileno, false)
    full = true
    while full
      pool.allocate(count) do |allocation| # waits for memory
        size = allocation.fill_from_stream(stream, 0, allocation.allocated_bytes)
        checksum.update(extract(allocation, size))
        full = size == allocation.allocated_bytes
      end
    end
  end
  checksum.hexdigest
end

# Like sha256sum: one line for each file, whatever its name is.
def escape(name)
  name.b.gsub(/[\\\n\r]/, "\\" => "\\\\", "\n" => "\\n", "\r" => "\\r")
end

def print_result(name, hexadecimal, error)
  escaped = escape(name)
  if hexadecimal
    $stdout.write(escaped == name.b ? "" : "\\", hexadecimal, "  ", escaped, "\n")
  else
    $stdout.flush
    $stderr.write("digest: ", escaped, ": ", error.message, "\n")
  end
end

# The names and the checksums in the output of digest or sha256sum.
def read_sums(path)
  lines = (path == "-" ? $stdin.read : File.binread(path)).b.split("\n").reject(&:empty?)
  found = lines.filter_map { |line| /\A(\\?)(\h{64}) [ *](.+)\z/n.match(line) }
  bad = lines.size - found.size
  warn "digest: WARNING: #{bad} #{bad == 1 ? 'line is' : 'lines are'} improperly formatted" if bad.positive?
  found.map do |match|
    name = match[3]
    name = name.gsub(/\\[\\nr]/n, "\\\\" => "\\", "\\n" => "\n", "\\r" => "\r") unless match[1].empty?
    [name, match[2].downcase]
  end
end

def print_check(name, hexadecimal, error, sum, quiet)
  shown = escape(name)
  shown = "\\#{shown}" if shown != name.b
  $stderr.write("digest: ", shown, ": ", error.message, "\n") if error
  equal = hexadecimal == sum
  verdict = equal ? "OK" : "FAILED"
  verdict += " open or read" if error
  $stdout.write(shown, ": ", verdict, "\n") unless equal && quiet
  equal
end

# Calls the block with each result, in the order of the names.
def digest_all(pool, options, names)
  files = Queue.new
  results = names.map { Queue.new }
  names.zip(results) { |file| files << file }
  files.close
  threads = Array.new(options[:workers]) do
    Thread.new do
      while (name, result = files.pop)
        begin
          result << [digest(pool, options[:buffers], name), nil]
        rescue SystemCallError, GLib::ErrorInfo => e
          result << [nil, e]
        end
      end
    end
  end
  names.zip(results) { |name, result| yield name, *result.pop }
  threads.each(&:join)
end

begin
  options, names = parse_options
  pool = BufPool::Pool.new(buffer_size: options[:buffer_size], max_memory: options[:max_memory])
  pool.try_allocate(options[:buffers]).release # fails immediately if it could never be granted
rescue ArgumentError, RangeError, OptionParser::ParseError, BufPool::PoolError => e
  warn "digest: #{e.message}"
  exit 2
end

begin
  sums = options[:check] && read_sums(options[:check])
rescue SystemCallError => e
  warn "digest: #{e.message}"
  exit 1
end
names = sums.map(&:first) if sums

failed = names.empty?
digest_all(pool, options, names) do |name, hexadecimal, error|
  if sums
    failed = true unless print_check(name, hexadecimal, error, sums.shift.last, options[:quiet])
  else
    print_result(name, hexadecimal, error)
    failed = true if error
  end
end
exit(failed ? 1 : 0)
