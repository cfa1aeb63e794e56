# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# Readers from Ruby. Usage: ruby test-reader.rb, with the paths to the library and bufpool.rb set.

require "bufpool"
require "tempfile"

TEXT = "The quick brown fox jumps over the lazy dog."
TESTS = {} # rubocop:disable Style/MutableConstant

def test(name, &block)
  TESTS[name] = block
end

def assert(condition, text = "")
  raise "assertion failed: #{text}" unless condition
end

def new_pool(blocks)
  BufPool::Pool.new(buffer_size: 8, max_memory: 8 * blocks)
end

def file_stream(text)
  Tempfile.create("test-reader") do |file|
    file.write(text)
    file.flush
    return Gio::File.new_for_path(file.path).read
  end
end

def new_reader(blocks = 4, text = TEXT)
  BufPool::Reader.new(file_stream(text), new_pool(blocks), 1)
end

test("each") do
  reader = new_reader
  blocks = []
  reader.each { |block| blocks << (+"" << block.to_s) }
  assert(blocks.join == TEXT, blocks.inspect)
  assert(blocks.map(&:bytesize) == [8, 8, 8, 8, 8, 4])
  assert(reader.position == TEXT.bytesize)
end

test("enumerators") do
  assert(new_reader(8).map(&:to_s).join == TEXT)
  assert(new_reader.each.first.to_s == "The quic")
end

test("more than the budget is read") do
  text = TEXT * 50
  copy = +""
  new_reader(2, text).each { |block| copy << block.to_s }
  assert(copy == text)
end

test("a pipe, and other threads meanwhile") do
  ours, theirs = IO.pipe
  reader = BufPool::Reader.new(Gio::UnixInputStream.new(ours.fileno, false), new_pool(2), 1)
  Thread.new do
    theirs.write("word")
    theirs.close
  end
  assert(reader.map(&:to_s).join == "word")
end

test("an interruption") do
  ours, theirs = IO.pipe
  reader = BufPool::Reader.new(Gio::UnixInputStream.new(ours.fileno, false), new_pool(2), 1)
  main = Thread.current
  Thread.new do
    Thread.pass until main.stop?
    main.raise(Interrupt)
  end
  begin
    reader.next_block
    raise "not interrupted"
  rescue Interrupt
    theirs.write("word")
    assert(reader.next_block.to_s == "word")
  end
end

test("an error is raised, and the position stays") do
  reader = new_reader
  reader.read_ahead = 0
  reader.next_block
  reader.stream.close
  begin
    reader.each { nil }
    raise "nothing was raised"
  rescue BufPool::IOError::Closed
    assert(reader.position == 8)
  end
end

test("splice") do
  ours, theirs = IO.pipe
  target = Gio::UnixOutputStream.new(theirs.fileno, false)
  assert(new_reader.splice(target, 0))
  theirs.close
  assert(ours.read == TEXT)
end

test("numbers are checked") do
  [1.5, -1, "1", nil].each do |number|
    BufPool::Reader.new(file_stream(TEXT), new_pool(1), number)
  rescue TypeError, RangeError
    next
  else
    raise "#{number.inspect} was taken"
  end
end

test("an allocation tells how far a transfer came") do
  allocation = new_pool(2).allocate(2)
  allocation.fill_from_stream(file_stream("0123456789"), 0, 16)
  assert(allocation.transferred_bytes == 10)
end

failed = 0
puts "1..#{TESTS.size}"
TESTS.each_with_index do |(name, block), i|
  block.call
  puts "ok #{i + 1} #{name}"
rescue Exception => e # rubocop:disable Lint/RescueException
  failed += 1
  puts "# #{e.full_message(highlight: false)}".gsub("\n", "\n# "), "not ok #{i + 1} #{name}"
ensure
  $stdout.flush
end
exit(failed.zero?)
