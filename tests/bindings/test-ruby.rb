# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# BufPool from Ruby. Usage: ruby test-ruby.rb, with the paths to the library and bufpool.rb set; once with
# the gem gio2, and once without it.

require "bufpool"
require "open3"
require "rbconfig"

ENDINGS = {
  "pool first" => "pool = nil; GC.start; a = nil; GC.start",
  "allocation first" => "a = nil; GC.start; pool = nil; GC.start",
  "both at the end" => "",
  "global" => "$pool = pool; $a = a",
  "in a cycle" => "c = [pool, a]; c << c; pool = a = c = nil; GC.start",
  "in a closure" => "f = -> { [pool, a] }; at_exit { f.call }",
  "in a thread" => "Thread.new { sleep 0.1; a }; pool = nil",
  "with a view" => "v = a.bytes; pool = a = nil; GC.start",
  "with a pending request" => "pool.allocate_async(8, 0, nil) {}; pool = nil; GC.start",
  "with a thread that waits" => "Thread.new { pool.allocate(8) }; Thread.pass until pool.waiting == 1",
  "released" => "a.release; pool = nil; GC.start",
  "exit" => "exit!(0)",
}.freeze
PROGRAM = <<~RUBY.freeze
  require "bufpool"
  pool = BufPool::Pool.new(16, 128)
  a = pool.allocate(8)
RUBY
TESTS = {} # rubocop:disable Style/MutableConstant

def test(name, &block)
  TESTS[name] = block
end

def assert(condition, text = "")
  raise "assertion failed: #{text}" unless condition
end

def raises(kind, code, domain = "buf-pool-error-quark")
  yield
rescue kind => e
  assert(e.code == code && e.domain == domain, "#{e.code} in #{e.domain}") if domain
  assert(!e.message.empty?)
  e
else
  raise "nothing was raised"
end

def refuses(text = "")
  yield
rescue TypeError, RangeError, ArgumentError
  nil
else
  raise "not refused: #{text}"
end

def new_pool(count)
  BufPool::Pool.new(buffer_size: 16, max_memory: 16 * count)
end

test("first example") do
  pool = new_pool(64)
  a = pool.allocate(48)
  assert(a.length == 48 && a.buffer_size == 16 && a.allocated_bytes == 768)
  48.times { |i| a.fill(i * 16, i.chr * 16) }
  a.each_with_index { |buffer, i| assert(buffer == i.chr * 16, buffer.inspect) }
  assert(a.count == 48 && pool.allocated_memory == 768 && pool.active_allocations == 1)
end

test("out of range") do
  a = new_pool(8).allocate(8)
  assert(a.get_buffer_bytes(7).to_s.bytesize == 16 && a.get_buffer(7))
  %i[get_buffer get_buffer_bytes].each do |get|
    [-1, 2**64, "0", 1.5, nil].each { |bad| refuses(bad) { a.public_send(get, bad) } }
    error = raises(IndexError, nil, nil) { a.public_send(get, 8) }
    assert(error.message == "buffer index 8 is out of range 0 to 7", error.message)
  end
  a.release
  assert(a.get_buffer(8).nil? && a.get_buffer_bytes(0).nil?)
end

test("configuration") do
  raises(BufPool::PoolError::InvalidConfig, 0) { BufPool::Pool.new(64, 63) }
  raises(BufPool::PoolError::InvalidConfig, 0) { BufPool::Pool.new(buffer_size: 0) }
  assert(BufPool::Pool.new.max_memory == 2**53 - 1 && BufPool::POOL_UNLIMITED == 2**53 - 1)
  [-1, 2**64, "many", 1.5, nil, [], new_pool(1)].each do |bad|
    refuses(bad) { BufPool::Pool.new(buffer_size: bad) }
    refuses(bad) { BufPool::Pool.new(16, bad) }
    pool = new_pool(1)
    refuses(bad) { pool.max_memory = bad }
    refuses(bad) { pool.set_max_memory(bad) }
    assert(pool.max_memory == 16)
  end
end

test("errors") do
  pool = new_pool(8)
  kinds = [->(n) { pool.allocate(n) }, ->(n) { pool.try_allocate(n) }, ->(n) { pool.allocate_timeout(n, 1000) }]
  kinds.each do |allocate|
    raises(BufPool::PoolError::InvalidCount, 1) { allocate.call(0) }
    error = raises(BufPool::PoolError::InvalidCount, 1) { allocate.call(65_536) }
    assert(error.message.include?("65536"))
    raises(BufPool::PoolError::TooLarge, 2) { allocate.call(9) }
    [-1, 2**64, "8", 1.5, nil, [], pool].each { |bad| refuses(bad) { allocate.call(bad) } }
  end
  a = pool.allocate(8)
  raises(BufPool::IOError::WouldBlock, 27, "g-io-error-quark") { pool.try_allocate(1) }
  raises(BufPool::IOError::TimedOut, 24, "g-io-error-quark") { pool.allocate_timeout(1, 1000) }
  ["0", 1.5, nil, Float::INFINITY].each { |bad| refuses(bad) { pool.allocate_timeout(1, bad) } }
  cancelled = Gio::Cancellable.new
  cancelled.cancel
  raises(BufPool::IOError::Cancelled, 19, "g-io-error-quark") { pool.allocate(1, cancelled) }
  refuses { pool.allocate(1, "now") }
  raises(BufPool::PoolError::OutOfRange, 5) { a.fill(125, "1234") }
  raises(BufPool::PoolError::OutOfRange, 5) { a.extract(0, 129) }
  [-1, 2**64, "0", 1.5, nil].each do |bad|
    refuses(bad) { a.fill(bad, "x") }
    refuses(bad) { a.extract(0, bad) }
    refuses(bad) { a.fill_from_stream(Gio::UnixInputStream.new(0, false), bad, 1) }
  end
  pool.close
  raises(BufPool::PoolError::Closed, 4) { pool.allocate(1) }
  refuses { BufPool::PoolAllocation.new }
end

test("release") do
  pool = new_pool(1)
  a = pool.allocate(1)
  a.fill(0, "x" * 16)
  other = a.dup
  text = a.bytes.to_s
  a.release
  a.release
  assert(a.released? && other.released? && a.length.zero? && a.bytes.nil? && a.to_a == [] && text == "x" * 16)
  raises(BufPool::PoolError::Released, 6) { a.fill(0, "x") }
  raises(BufPool::PoolError::Released, 6) { other.extract(0, 1) }
end

test("a block") do
  pool = new_pool(1)
  assert(pool.allocate(1, &:length) == 1 && pool.allocated_memory.zero?)
  begin
    pool.allocate(1) { raise IOError }
  rescue IOError
    assert(pool.allocated_memory.zero?)
  end
end

test("collections take a small share of the time") do
  [0.0001, 0.001, 0.01, 0.1].each do |cost|
    now = 0.0
    n = 0
    collector = BufPool::Collector.new(-> { now }) do
      now += cost
      n += 1
    end
    now += collector.run { 0 } while now < 1000
    assert(n > 5 && n * cost / now < 0.04, "#{n} of #{cost}")
    # Garbage that is created late is found, and soon again after a success.
    garbage = 1
    collector = BufPool::Collector.new(-> { now }) { garbage = 0 }
    collector.run { garbage }
    assert(garbage.zero?)
  end
end

def in_main_loop
  loop = GLib::MainLoop.new
  yield loop
  loop.run
end

# Garbage that the stack does not reference.
def leak(pool, count)
  Thread.new { count.times { pool.allocate(1) } }.join
  nil
end

test("asynchronous and timed requests collect garbage") do
  pool = new_pool(4)
  GC.disable
  leak(pool, 4)
  assert(pool.allocate_timeout(1, 20_000_000).length == 1)
  pool = new_pool(4)
  leak(pool, 4)
  in_main_loop do |loop|
    pool.allocate_async(1) do |source, result|
      source.allocate_finish(result).release
      loop.quit
    end
  end
ensure
  GC.enable
end

test("garbage that arises late is found") do
  pool = new_pool(1)
  held = [pool.allocate(1)]
  GC.disable
  thread = Thread.new do
    Thread.pass until pool.waiting == 1
    n_collections = GC.count
    Thread.pass until GC.count > n_collections
    held.clear
    Thread.new { 100.times { Object.new } }.join
  end
  assert(pool.allocate(1, timeout: 20).length == 1)
  thread.join
ensure
  GC.enable
end

test("a block that raises loses nothing") do
  pool = new_pool(1)
  pool.allocate_async(1) { raise "a bug in the program" }
  begin
    GLib::MainContext.default.iteration(true) while pool.active_allocations.positive?
  rescue SystemExit
    nil # the class that the gem glib2 uses
  end
  assert(pool.allocated_memory.zero?)
  assert(pool.try_allocate(1).length == 1)
end

test("an interruption leaves the cancellable alone") do
  pool = new_pool(1)
  a = pool.allocate(1)
  cancellable = Gio::Cancellable.new
  main = Thread.current
  # No property shows that a thread drains, but its stack does.
  until_drain = -> { Thread.pass until main.backtrace.any? { |line| line.include?("drain_timeout") } }
  until_request = -> { Thread.pass until pool.waiting == 1 }
  { -> { pool.allocate(1, cancellable) } => until_request,
    -> { pool.drain(cancellable) } => until_drain }.each do |wait, until_waiting|
    thread = Thread.new do
      until_waiting.call
      main.raise(Interrupt)
    end
    raises(Interrupt, 0, nil, &wait)
    thread.join
  end
  assert(!cancellable.cancelled? && a.length == 1)
  Thread.new { Thread.pass until pool.waiting == 1; cancellable.cancel } # rubocop:disable Style/Semicolon
  raises(BufPool::IOError::Cancelled, 19, "g-io-error-quark") { pool.allocate(1, cancellable) }
end

test("timeouts are seconds") do
  pool = new_pool(1)
  a = pool.allocate(1, timeout: nil)
  raises(BufPool::IOError::TimedOut, 24, "g-io-error-quark") { pool.allocate(1, timeout: 0.001) }
  raises(BufPool::IOError::TimedOut, 24, "g-io-error-quark") { pool.drain(nil, timeout: 0.001) }
  [-1, "1", Float::NAN, [], Complex(1, 1)].each { |bad| refuses(bad) { pool.allocate(1, timeout: bad) } }
  a.release
  [0, 1, Float::INFINITY, 1e300].each { |good| pool.allocate(1, timeout: good).release }
end

test("fill") do
  a = new_pool(1).allocate(1)
  a.fill(0, "text")
  a.fill(4, GLib::Bytes.new("bytes"))
  a.fill(9, [104, 105])
  assert(a.extract(0, 11).to_s == "textbyteshi" && a.extract(0, 0).to_s == "")
  [5, nil, :text, [256], [-1], ["x"], 1.5, a].each { |bad| refuses(bad) { a.fill(0, bad) } }
end

test("errors name the parameter") do
  pool = new_pool(1)
  message = lambda do |&block|
    block.call
  rescue TypeError, RangeError => e
    e.message
  end
  assert(message.call { pool.allocate(Float::INFINITY) } == "n_buffers must be an integer, not Infinity")
  assert(message.call { pool.allocate(-1) } == "n_buffers must be a non-negative integer, not -1")
  assert(message.call { pool.allocate(2**64) }.start_with?("n_buffers must be"))
  assert(message.call { pool.max_cached_memory = 1.5 }.include?("max_cached_memory"))
  assert(message.call { pool.max_cached_memory = -2 }.include?("max_cached_memory"))
  assert(message.call { pool.drain_timeout(0.5) }.include?("timeout"))
  assert(message.call { pool.allocate_async(1, nil) {} }.include?("io_priority"))
  assert(message.call { pool.trim(-1) }.include?("target"))
  pool.max_cached_memory = -1
end

test("budgets and permits") do
  budget = BufPool::Budget.new(100)
  permit = budget.acquire(60)
  assert(budget.allocated_memory == 60 && permit.size == 60)
  raises(BufPool::IOError::TimedOut, 24, "g-io-error-quark") { budget.acquire(60, timeout: 0.001) }
  raises(BufPool::IOError::WouldBlock, 27, "g-io-error-quark") { budget.try_acquire(60) }
  raises(BufPool::PoolError::TooLarge, 2) { budget.acquire(101) }
  permit.release
  assert(budget.acquire(60) { |second| second.shrink(10) && second.size } == 10 && budget.allocated_memory.zero?)
  begin
    budget.acquire(60) { raise ArgumentError }
  rescue ArgumentError
    assert(budget.allocated_memory.zero?)
  end
  [-1, 2**64, 1.5, "1", nil, Float::INFINITY].each do |bad|
    refuses(bad) { budget.acquire(bad) }
    refuses(bad) { budget.max_memory = bad }
    refuses(bad) { BufPool::Budget.new(bad) }
    refuses(bad) { BufPool::Budget.new_child(budget, bad) }
    refuses(bad) { BufPool::Budget.new_child(bad, 50) }
    refuses(bad) { BufPool::Pool.new_with_budget(16, bad) }
  end
  child = BufPool::Budget.new_child(budget, 50)
  assert(child.parent == budget && child.max_memory == 50 && BufPool::Budget.new(budget, 40).parent == budget)
  pool = BufPool::Pool.new_with_budget(16, child)
  assert(pool.budget == child && pool.max_memory == BufPool::POOL_UNLIMITED)
  pool.allocate(3) { assert(budget.allocated_memory == 48) }
  raises(BufPool::PoolError::TooLarge, 2) { pool.allocate(4) }
  assert(BufPool::Pool.new(buffer_size: 16, max_memory: 32, budget: child).max_memory == 32)
  raises(BufPool::PoolError::InvalidConfig, 0) { BufPool::Pool.new_with_budget(0, child) }
  held = budget.acquire(100)
  in_main_loop do |loop|
    budget.acquire_async(50) do |source, result|
      assert(source.acquire_finish(result).size == 50)
      loop.quit
    end
    held.release
  end
  main = Thread.current
  held = BufPool::Budget.new(10).then { |other| [other, other.acquire(10)] }
  thread = Thread.new do
    Thread.pass until held[0].waiting == 1
    main.raise(Interrupt)
  end
  raises(Interrupt, 0, nil) { held[0].acquire(1) }
  thread.join
  assert(held[0].waiting.zero?)
end

test("full requests") do
  pool = new_pool(8)
  a = pool.allocate(16, at_least: 1)
  assert(a.length == 8)
  raises(BufPool::IOError::TimedOut, 24, "g-io-error-quark") { pool.allocate(4, at_least: 1, timeout: 0.001) }
  a.release
  b = pool.allocate(4, priority: GLib::PRIORITY_HIGH)
  assert(b.length == 4 && b.shrink(2) && b.length == 2)
  refuses { pool.allocate(4, at_least: 1.5) }
end

test("100,000 with release") do
  pool = new_pool(4)
  100_000.times { pool.try_allocate(2).release }
  assert(pool.allocated_memory.zero?)
end

test("10,000 without release") do
  pool = new_pool(200)
  10_000.times { pool.allocate(2) }
end

test("copies are freed once") do
  pool = new_pool(100)
  1000.times do
    a = pool.allocate(1)
    copies = Array.new(5) { a.dup }
    views = [a.bytes, copies[2].bytes]
    a.release
    assert(copies.all?(&:released?) && views.all? { |view| view.to_s.bytesize == 16 })
  end
  # The stack may still reference the last one.
  GC.start
  assert(pool.allocated_memory <= 32, pool.allocated_memory)
end

test("a thread that releases") do
  pool = new_pool(1)
  a = pool.allocate(1)
  thread = Thread.new do
    Thread.pass until pool.waiting == 1
    a.release
  end
  assert(pool.allocate(1).length == 1)
  thread.join
end

test("interruption") do
  pool = new_pool(1)
  a = pool.allocate(1)
  main = Thread.current
  thread = Thread.new do
    Thread.pass until pool.waiting == 1
    main.raise(Interrupt)
  end
  raises(Interrupt, 0, nil) { pool.allocate(1) }
  thread.join
  assert(pool.waiting.zero? && a.length == 1)
end

test("streams") do
  a = new_pool(1).allocate(1)
  IO.pipe do |input, output|
    output.write("Hello")
    output.close
    assert(a.fill_from_stream(Gio::UnixInputStream.new(input.fileno, false), 2, 14) == 5)
  end
  IO.pipe do |input, output|
    assert(a.write_to_stream(Gio::UnixOutputStream.new(output.fileno, false), 2, 5) == 5)
    output.close
    assert(input.read == "Hello")
  end
end

ENDINGS.each do |name, program|
  test("ends by itself: #{name}") do
    output, status = Open3.capture2e("timeout", "60", RbConfig.ruby, "-e", PROGRAM + program)
    assert(status.success?, "#{status} #{output}")
  end
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
