# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# BufPool for Ruby, based on ruby-gobject-introspection: require "bufpool". Numbers are checked, calls that
# wait can be interrupted and let other threads run, and a block releases its allocation.

require "gobject-introspection"
begin
  require "gio2"
rescue LoadError
  # Without that gem, its namespace is still needed for errors and cancellables.
  module Gio
    GObjectIntrospection::Loader.new(self).load("Gio")
  end
end

module BufPool
  # Unlocks the interpreter for functions that may wait.
  class Loader < GObjectIntrospection::Loader
    WAITING = %w[
      allocate allocate_timeout allocate_full acquire acquire_full drain drain_timeout
      fill_from_stream write_to_stream next_block splice
    ].freeze

    # Public, because ruby-gobject-introspection 4.2 checks respond_to? and otherwise keeps the lock.
    def should_unlock_gvl?(function_info, _klass)
      WAITING.include?(function_info.name)
    end
  end
  Loader.new(self).load("BufPool")

  # Errors of GIO, such as BufPool::IOError::WouldBlock: the gem gio2 renames their class.
  IOError = Gio.const_defined?(:IOErrorEnum, false) ? Gio::IOErrorEnum : Gio::IOError

  class << self
    def integer(value, name, least = 0, greatest = 2**64 - 1)
      raise TypeError, "#{name} must be an integer, not #{value.inspect}" unless value.is_a?(Integer)
      raise RangeError, "#{name} must be a non-negative integer, not #{value}" if least.zero? && value.negative?
      raise RangeError, "#{name} must be from #{least} to #{greatest}, not #{value}" unless value.between?(least, greatest)

      value
    end

    def priority(value)
      integer(value, "io_priority", -2**31, 2**31 - 1)
    end

    # Converts a timeout in seconds to that of C; nil means no limit.
    def microseconds(seconds)
      return -1 if seconds.nil?
      unless seconds.is_a?(Numeric) && seconds.real? && seconds >= 0
        raise TypeError, "timeout must be a non-negative number of seconds or nil, not #{seconds.inspect}"
      end

      seconds.to_f.infinite? ? -1 : [(seconds * 1_000_000).round, 2**63 - 1].min
    end

    def check_cancellable(value)
      return value if value.nil? || value.is_a?(Gio::Cancellable)

      raise TypeError, "cancellable must be a Gio::Cancellable or nil, not #{value.inspect}"
    end

    # In microseconds; a negative value means no limit.
    def time(timeout_us)
      integer(timeout_us, "timeout_us", -2**63, 2**63 - 1)
    end

    # The data to copy, as a string.
    def bytes_of(data)
      case data
      when String then data
      when GLib::Bytes then data.to_s
      when Array then data.each { |byte| integer(byte, "a byte", 0, 255) }.pack("C*")
      else raise TypeError, "data must be a String, a GLib::Bytes or an array of bytes, not #{data.inspect}"
      end
    end
  end

  # Garbage can hold the memory that a request waits for, and only a collection frees it. A collection takes
  # time in proportion to the live heap, so it is the last resort: a request tries, waits briefly, and only
  # then collects, within a bounded share of the time, while it waits.
  class Collector
    BRIEF = 0.005 # seconds that a request waits before the first collection
    INTERVAL = 0.1 # seconds until the next look after a collection that freed nothing
    SHARE = 0.03
    ADVANCE = 0.1
    DISCOUNT = 8 # a collection that freed memory counts less, since the request needed it

    def initialize(clock = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC) }, &collect)
      @clock = clock
      @collect = collect || -> { GC.start }
      @credit = ADVANCE
      @at = clock.call
    end

    # Collects if the share allows it. Returns the number of seconds until the next check. The result of the block
    # changes when a collection frees memory.
    def run
      start = @clock.call
      @credit = [@credit + (start - @at) * SHARE, ADVANCE].min
      @at = start
      return [-@credit / SHARE, BRIEF].max if @credit <= 0

      before = yield
      @collect.call
      took = @clock.call - start
      fruitful = yield != before
      @credit -= cost(took, fruitful)
      fruitful ? BRIEF : INTERVAL
    end

    # If no other thread runs, a collection that freed memory delays nothing but the request that needs it.
    def cost(took, fruitful)
      return took unless fruitful

      Thread.list.size <= 2 ? 0 : took / DISCOUNT
    end
    private :cost

    # A value that changes when memory of the pool or budget is freed, even if a waiter gets it.
    def run_for(source)
      run { [source.allocated_memory, source.waiting] }
    end
  end
  COLLECTOR = Collector.new
  private_constant :COLLECTOR

  # Collects for asynchronous requests from the main loop, while any of them waits.
  module Waiting
    @counts = {}.compare_by_identity

    class << self
      def enter(source)
        look_later(source, Collector::BRIEF) unless @counts.key?(source)
        @counts[source] = (@counts[source] || 0) + 1
      end

      def leave(source)
        @counts[source] -= 1
      end

      private

      def look_later(source, seconds)
        GLib::Timeout.add((seconds * 1000).ceil) do
          if @counts[source].zero?
            @counts.delete(source)
          else
            look_later(source, COLLECTOR.run_for(source))
          end
          GLib::Source::REMOVE
        end
      end
    end
  end

  class << self
    # Ruby cannot interrupt a thread that waits in C, not even when Ruby ends. So another thread waits there,
    # and an interruption cancels the request, which keeps its place in the queue until then. It uses its own
    # cancellable, and does not touch the caller's.
    def wait(source, cancellable)
      Thread.handle_interrupt(Object => :on_blocking) do
        linked(cancellable) do |stop|
          thread = waiting_thread(stop) { |own| yield own }
          collect_until_ended(source, thread, stop)
          result = thread.value
          result.is_a?(StandardError) ? raise(result) : result
        end
      end
    end

    # A request with a timeout and a priority. It is tried first, because waiting is expensive.
    def wait_if_needed(source, timeout_us, io_priority, cancellable)
      check_cancellable(cancellable)
      return yield(0, io_priority, cancellable) if timeout_us.zero? || cancellable&.cancelled?

      begin
        return yield(0, io_priority, nil)
      rescue IOError::TimedOut
        nil
      end
      wait(source, cancellable) { |stop| yield timeout_us, io_priority, stop }
    end

    # Passes what was allocated to the block and releases it at the end; without a block, returns it.
    def lend(taken)
      return taken unless block_given?

      begin
        yield taken
      ensure
        taken.release
      end
    end

    # Starts an asynchronous operation. If the block raises before it fetches the result, the result is freed.
    # The last argument is the pool or budget whose memory the operation may wait for, or nil.
    def call_back(owner, finish, awaited = nil)
      raise ArgumentError, "no block given, which is called when it is done" unless block_given?

      Waiting.enter(awaited) if awaited
      lambda do |source, result, *|
        Waiting.leave(awaited) if awaited
        result.instance_variable_set(:@bufpool_unfetched, true)
        begin
          yield(source, result)
        rescue Exception # rubocop:disable Lint/RescueException
          give_back(owner, finish, result) if result.instance_variable_get(:@bufpool_unfetched)
          raise
        end
      end
    end

    private

    def give_back(owner, finish, result)
      late = owner.public_send(finish, result)
      late.release if late.respond_to?(:release)
    rescue StandardError
      nil
    end

    def linked(cancellable)
      own = Gio::Cancellable.new
      return yield(own) unless cancellable

      handler = cancellable.signal_connect("cancelled") { own.cancel }
      begin
        own.cancel if cancellable.cancelled?
        yield own
      ensure
        cancellable.signal_handler_disconnect(handler)
      end
    end

    # An interruption may end this thread, which is not an exception.
    def collect_until_ended(source, thread, stop)
      delay = Collector::BRIEF
      delay = COLLECTOR.run_for(source) until (ended = thread.join(delay))
    ensure
      unless ended
        stop.cancel
        late = Thread.handle_interrupt(Object => :never) { thread.value }
        late.release if late.respond_to?(:release)
      end
    end

    def waiting_thread(stop)
      Thread.new do
        yield stop
      rescue StandardError => e
        e
      end
    end
  end

  # The limits of pools and budgets.
  module LimitMethods
    { max_memory: 0, reserved_memory: 0, max_waiting: -1 }.each do |name, least|
      greatest = name == :max_waiting ? 2**31 - 1 : 2**64 - 1
      [:"#{name}=", :"set_#{name}"].each do |method|
        define_method(method) { |value| super(BufPool.integer(value, name.to_s, least, greatest)) }
      end
    end
  end

  # A result that was fetched is not freed if its block raises.
  module ResultMethods
    def self.for(*names)
      Module.new do
        names.each do |name|
          define_method(name) do |result|
            result.instance_variable_set(:@bufpool_unfetched, false)
            super(result)
          end
        end
      end
    end
  end

  def self.check_budget(budget, name)
    budget.is_a?(Budget) ? budget : raise(TypeError, "#{name} must be a BufPool::Budget, not #{budget.inspect}")
  end

  # The constructors from C have no names of their own here.
  module BudgetConstructors
    def new_child(parent, max_memory)
      new(parent, max_memory)
    end
  end

  module PoolConstructors
    def new_with_budget(buffer_size, budget)
      new(buffer_size: buffer_size, budget: BufPool.check_budget(budget, "budget"))
    end
  end

  # Prepended to the methods from C.
  module BudgetMethods
    # With one argument, the maximum. With two, the parent and the maximum.
    def initialize(*parent, max_memory)
      raise ArgumentError, "wrong number of arguments (given #{parent.size + 1}, expected 1..2)" if parent.size > 1

      parent.each { |budget| BufPool.check_budget(budget, "parent") }
      super(*parent, BufPool.integer(max_memory, "max_memory"))
    end

    # With a block, passes the permit to it, and releases it at the end. The timeout is in seconds.
    def acquire(n_bytes, cancellable = nil, timeout: nil, priority: GLib::PRIORITY_DEFAULT, &block)
      BufPool.lend(acquire_full(n_bytes, BufPool.microseconds(timeout), priority, cancellable), &block)
    end

    def acquire_full(n_bytes, timeout_us = -1, io_priority = GLib::PRIORITY_DEFAULT, cancellable = nil)
      BufPool.integer(n_bytes, "n_bytes")
      BufPool.wait_if_needed(self, BufPool.time(timeout_us), BufPool.priority(io_priority), cancellable) do |*limits|
        super(n_bytes, *limits)
      end
    end

    def try_acquire(n_bytes)
      super(BufPool.integer(n_bytes, "n_bytes"))
    end

    def acquire_async(n_bytes, io_priority = GLib::PRIORITY_DEFAULT, cancellable = nil, &block)
      BufPool.integer(n_bytes, "n_bytes")
      BufPool.priority(io_priority)
      BufPool.check_cancellable(cancellable)
      super(n_bytes, io_priority, cancellable, &BufPool.call_back(self, :acquire_finish, self, &block))
    end
  end

  module PermitMethods
    def shrink(n_bytes)
      super(BufPool.integer(n_bytes, "n_bytes"))
    end
  end

  module PoolMethods
    def initialize(size = BufferSize::S4096.to_i, maximum = POOL_UNLIMITED, buffer_size: size, max_memory: maximum,
                   max_cached_memory: nil, budget: nil)
      BufPool.integer(buffer_size, "buffer_size")
      BufPool.integer(max_memory, "max_memory")
      if budget.nil?
        super(buffer_size, max_memory)
      else
        initialize_new_with_budget(buffer_size, BufPool.check_budget(budget, "budget"))
        self.max_memory = max_memory
      end
      self.max_cached_memory = max_cached_memory if max_cached_memory
    end

    # With a block, passes the allocation to it, and releases it at the end. The timeout is in seconds.
    def allocate(count, cancellable = nil, at_least: nil, timeout: nil, priority: GLib::PRIORITY_DEFAULT, &block)
      limit = BufPool.microseconds(timeout)
      allocation =
        if at_least || priority != GLib::PRIORITY_DEFAULT
          allocate_full(at_least || count, count, limit, priority, cancellable)
        else
          allocate_timeout(count, limit, cancellable)
        end
      BufPool.lend(allocation, &block)
    end

    def allocate_timeout(count, timeout_us, cancellable = nil)
      BufPool.integer(count, "n_buffers")
      BufPool.time(timeout_us)
      take(count, cancellable) { |stop| super(count, timeout_us, stop) }
    end

    def allocate_full(least, most, timeout_us = -1, io_priority = GLib::PRIORITY_DEFAULT, cancellable = nil)
      BufPool.integer(least, "min_buffers")
      BufPool.integer(most, "max_buffers")
      BufPool.wait_if_needed(self, BufPool.time(timeout_us), BufPool.priority(io_priority), cancellable) do |*limits|
        super(least, most, *limits)
      end
    end

    def allocate_full_async(least, most, timeout_us = -1, io_priority = GLib::PRIORITY_DEFAULT, cancellable = nil,
                            &block)
      awaited = self if BufPool.integer(least, "min_buffers") * buffer_size > available_memory || waiting.positive?
      arguments = [least, BufPool.integer(most, "max_buffers"), BufPool.time(timeout_us), BufPool.priority(io_priority)]
      BufPool.check_cancellable(cancellable)
      super(*arguments, cancellable, &BufPool.call_back(self, :allocate_full_finish, awaited, &block))
    end

    def try_allocate(count)
      super(BufPool.integer(count, "n_buffers"))
    end

    # The block is called with the pool and a result, for allocate_finish.
    def allocate_async(count, io_priority = GLib::PRIORITY_DEFAULT, cancellable = nil, &block)
      awaited = self if BufPool.integer(count, "n_buffers") * buffer_size > available_memory || waiting.positive?
      BufPool.priority(io_priority)
      BufPool.check_cancellable(cancellable)
      super(count, io_priority, cancellable, &BufPool.call_back(self, :allocate_finish, awaited, &block))
    end

    def drain(cancellable = nil, timeout: nil)
      drain_timeout(BufPool.microseconds(timeout), cancellable)
    end

    def drain_timeout(timeout_us, cancellable = nil)
      BufPool.time(timeout_us)
      BufPool.check_cancellable(cancellable)
      BufPool.wait(self, cancellable) { |stop| super(timeout_us, stop) }
    end

    def drain_async(io_priority = GLib::PRIORITY_DEFAULT, cancellable = nil, &block)
      awaited = self if active_allocations.positive?
      BufPool.priority(io_priority)
      BufPool.check_cancellable(cancellable)
      super(io_priority, cancellable, &BufPool.call_back(self, :drain_finish, awaited, &block))
    end

    %i[max_cached_memory= set_max_cached_memory].each do |name|
      define_method(name) { |maximum| super(BufPool.integer(maximum, "max_cached_memory", -1, 2**63 - 1)) }
    end

    def trim(target)
      super(BufPool.integer(target, "target"))
    end

    private

    # A call that does not wait needs no other thread.
    def take(count, cancellable)
      BufPool.check_cancellable(cancellable)
      begin
        return try_allocate(count) unless cancellable&.cancelled?
      rescue IOError::WouldBlock
        nil
      end
      BufPool.wait(self, cancellable) { |stop| yield stop }
    end
  end

  module AllocationMethods
    include Enumerable

    # Each buffer as a string, which is a copy: a view would hold the memory until the collector runs.
    def each
      return to_enum { length } unless block_given?

      size = buffer_size
      length.times { |i| yield extract(i * size, size).to_s }
    end

    def fill(offset, data)
      super(BufPool.integer(offset, "offset"), BufPool.bytes_of(data))
    end

    def extract(offset, size)
      super(BufPool.integer(offset, "offset"), BufPool.integer(size, "size"))
    end

    # In C, an index that is out of range is a programming error.
    %i[get_buffer get_buffer_bytes].each do |name|
      define_method(name) do |index|
        if BufPool.integer(index, "index") >= length && length.positive?
          raise IndexError, "buffer index #{index} is out of range 0 to #{length - 1}"
        end

        length.positive? ? super(index) : nil
      end
    end

    def shrink(count)
      super(BufPool.integer(count, "n_buffers"))
    end

    # The number of bytes, without the true that C returns before it.
    %i[fill_from_stream write_to_stream].each do |name|
      define_method(name) do |stream, offset, size, cancellable = nil|
        BufPool.check_cancellable(cancellable)
        super(stream, BufPool.integer(offset, "offset"), BufPool.integer(size, "size"), cancellable).last
      end

      define_method("#{name}_async") do |stream, offset, size, priority = GLib::PRIORITY_DEFAULT, cancellable = nil, &block|
        arguments = [BufPool.integer(offset, "offset"), BufPool.integer(size, "size"), BufPool.priority(priority)]
        BufPool.check_cancellable(cancellable)
        super(stream, *arguments, cancellable, &BufPool.call_back(self, :"#{name}_finish", &block))
      end

      define_method("#{name}_finish") { |result| super(result).last }
    end
  end

  Pool.prepend(LimitMethods, PoolMethods,
               ResultMethods.for(:allocate_finish, :allocate_pinned_finish, :allocate_full_finish,
                                 :allocate_full_pinned_finish, :drain_finish))
  Pool.extend(PoolConstructors)
  Budget.prepend(LimitMethods, BudgetMethods, ResultMethods.for(:acquire_finish))
  Budget.extend(BudgetConstructors)
  Permit.prepend(PermitMethods)
  PoolAllocation.prepend(AllocationMethods, ResultMethods.for(:fill_from_stream_finish, :write_to_stream_finish))

  # A block is a GLib::Bytes, whose memory is freed when the collector finds it. So garbage is collected when
  # the pool has no block.
  module ReaderMethods
    include Enumerable

    def initialize(stream, pool, count)
      super(stream, pool, BufPool.integer(count, "n_buffers"))
    end

    # The next block, or nil at the end.
    def next_block(cancellable = nil)
      BufPool.check_cancellable(cancellable)
      blocks = [] # emptied, because the thread that waited may keep the last value of its block
      BufPool.wait(pool, cancellable) { |stop| blocks << super(stop) }
      blocks.pop
    end

    def next_block_async(io_priority = GLib::PRIORITY_DEFAULT, cancellable = nil, &block)
      BufPool.priority(io_priority)
      BufPool.check_cancellable(cancellable)
      awaited = pool if n_buffers * pool.buffer_size > pool.available_memory
      COLLECTOR.run_for(awaited) if awaited
      super(io_priority, cancellable, &BufPool.call_back(self, :next_block_finish, awaited, &block))
    end

    def splice_async(target, flags, io_priority = GLib::PRIORITY_DEFAULT, cancellable = nil, &block)
      BufPool.priority(io_priority)
      BufPool.check_cancellable(cancellable)
      super(target, flags, io_priority, cancellable, &BufPool.call_back(self, :splice_finish, &block))
    end

    def splice(target, flags, cancellable = nil)
      BufPool.check_cancellable(cancellable)
      BufPool.wait(pool, cancellable) { |stop| super(target, flags, stop) }
    end

    def each
      return to_enum unless block_given?

      while (block = next_block)
        yield block
      end
      self
    end

    %i[read_ahead= set_read_ahead].each do |name|
      define_method(name) { |blocks| super(BufPool.integer(blocks, "read_ahead")) }
    end
  end

  Reader.prepend(ReaderMethods, ResultMethods.for(:next_block_finish, :splice_finish))
end
