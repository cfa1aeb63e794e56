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

test("more data than the limit is read") do
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

test("an error is raised, and the position stays correct") do
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

# Calls the block with one that takes the source and the result, and returns what that one got.
def call_back
  loop = GLib::MainLoop.new
  arguments = nil
  yield(lambda do |*given|
    arguments = given
    loop.quit
  end)
  loop.run unless arguments
  arguments
end

test("blocks, with and without the optional parameters") do
  [[], [GLib::PRIORITY_HIGH], [0, nil], [0, Gio::Cancellable.new]].each do |others|
    reader = new_reader
    ours, theirs = IO.pipe
    target = Gio::UnixOutputStream.new(theirs.fileno, false)
    source, result = call_back { |done| reader.next_block_async(*others, &done) }
    assert(source == reader && reader.next_block_finish(result).to_s == TEXT[0, 8])
    source, result = call_back { |done| reader.splice_async(target, 0, *others, &done) }
    assert(source == reader && reader.splice_finish(result))
    theirs.close
    assert(ours.read == TEXT[8..])
    _, result = call_back { |done| reader.next_block_async(*others, &done) }
    assert(reader.next_block_finish(result).nil?)
  end
end

test("priorities, cancellables and missing blocks are refused") do
  message = lambda do |kind, &call|
    call.call
    raise "not refused"
  rescue kind => e
    e.message
  end
  reader = new_reader
  allocation = new_pool(1).allocate(1)
  target = Gio::UnixOutputStream.new(1, false)
  calls = {
    next_block_async: [reader, []], splice_async: [reader, [target, 0]],
    fill_from_stream_async: [allocation, [file_stream(TEXT), 0, 8]], write_to_stream_async: [allocation, [target, 0, 8]]
  }
  calls.each do |name, (object, required)|
    [1.5, "1", nil].each do |bad|
      assert(message.call(TypeError) { object.public_send(name, *required, bad) {} }.start_with?("io_priority must be"))
    end
    assert(message.call(RangeError) { object.public_send(name, *required, 2**31) {} }.start_with?("io_priority must be"))
    assert(message.call(TypeError) { object.public_send(name, *required, 0, 5) {} }.start_with?("cancellable must be"))
    assert(message.call(ArgumentError) { object.public_send(name, *required) }.start_with?("no block given"))
  end
  assert(message.call(TypeError) { reader.next_block(5) }.start_with?("cancellable must be"))
  assert(message.call(TypeError) { reader.splice(target, 0, 5) }.start_with?("cancellable must be"))
  assert(reader.next_block.to_s == TEXT[0, 8])
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

test("an allocation knows how far a transfer came") do
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
