# SPDX-FileCopyrightText: The libbufpool authors
# SPDX-License-Identifier: LGPL-2.1-or-later

# BufPool for Ruby, by way of ruby-gobject-introspection: require "bufpool". Numbers are checked, what
# waits lets other threads run and can be interrupted, and a block gives its allocation back.

require "gobject-introspection"
begin
  require "gio2"
rescue LoadError
  # Without that gem its namespace is still needed, for the errors and the cancellables.
  module Gio
    GObjectIntrospection::Loader.new(self).load("Gio")
  end
end

module BufPool
  # Runs without the lock of the interpreter what may wait.
  class Loader < GObjectIntrospection::Loader
    WAITING = %w[
      allocate allocate_timeout allocate_full acquire acquire_full drain drain_timeout
      fill_from_stream write_to_stream next_block splice
    ].freeze

    # Public, since ruby-gobject-introspection 4.2 asks respond_to? for it, and else keeps the lock.
    def should_unlock_gvl?(function_info, _klass)
      WAITING.include?(function_info.name)
    end
  end
  Loader.new(self).load("BufPool")

  # Errors of GIO, such as BufPool::IOError::WouldBlock: the gem gio2 gives their class another name.
  IOError = Gio.const_defined?(:IOErrorEnum, false) ? Gio::IOErrorEnum : Gio::IOError

  class << self
    def whole_number(value, name)
      raise TypeError, "#{name} must be a non-negative integer, not #{value.inspect}" unless value.is_a?(Integer)
      raise RangeError, "#{name} cannot be #{value}" unless value.between?(0, 2**64 - 1)

      value
    end

    # Ruby cannot interrupt a thread that waits in C, not even at its own end. So another one waits there,
    # and an interruption cancels the request, which meanwhile keeps its place in the queue.
    def wait(cancellable)
      cancellable ||= Gio::Cancellable.new
      thread = Thread.new do
        yield cancellable
      rescue StandardError => e
        e
      end
      result = thread.value
      result.is_a?(StandardError) ? raise(result) : result
    ensure
      unless result
        cancellable.cancel
        late = thread.value
        late.release if late.is_a?(PoolAllocation)
      end
    end
  end

  # In front of the methods that come from C.
  module PoolMethods
    def initialize(size = BufferSize::S4096.to_i, maximum = POOL_UNLIMITED, buffer_size: size, max_memory: maximum)
      super(BufPool.whole_number(buffer_size, "the buffer size"), BufPool.whole_number(max_memory, "the maximum"))
    end

    # With a block, the allocation is given to it, and released at its end.
    def allocate(count, cancellable = nil)
      allocation = take(count, cancellable) { |stop| super(count, stop) }
      return allocation unless block_given?

      begin
        yield allocation
      ensure
        allocation.release
      end
    end

    def allocate_timeout(count, timeout, cancellable = nil)
      BufPool.whole_number(count, "the number of buffers")
      raise TypeError, "the timeout must be an integer, not #{timeout.inspect}" unless timeout.is_a?(Integer)

      BufPool.wait(cancellable) { |stop| super(count, timeout, stop) }
    end

    def try_allocate(count)
      super(BufPool.whole_number(count, "the number of buffers"))
    end

    def allocate_async(count, *others, &block)
      super(BufPool.whole_number(count, "the number of buffers"), *others, &block)
    end

    def drain(cancellable = nil)
      BufPool.wait(cancellable) { |stop| super(stop) }
    end

    %i[max_memory= set_max_memory].each do |name|
      define_method(name) { |maximum| super(BufPool.whole_number(maximum, "the maximum")) }
    end

    private

    # What is garbage may hold the budget. So before the block waits, it is collected.
    def take(count, cancellable)
      raise ArgumentError, "not a cancellable" unless cancellable.nil? || cancellable.is_a?(Gio::Cancellable)

      [-> {}, -> { GC.start }].each do |prepare|
        prepare.call
        return try_allocate(count) unless cancellable&.cancelled?
      rescue IOError::WouldBlock
        next
      end
      BufPool.wait(cancellable) { |stop| yield stop }
    end
  end

  module AllocationMethods
    include Enumerable

    # Each buffer as a string: a copy, since a view would keep the budget until the collector runs.
    def each
      return to_enum { length } unless block_given?

      size = buffer_size
      length.times { |i| yield extract(i * size, size).to_s }
    end

    def fill(offset, data)
      super(BufPool.whole_number(offset, "the offset"), data)
    end

    def extract(offset, size)
      super(BufPool.whole_number(offset, "the offset"), BufPool.whole_number(size, "the size"))
    end

    # For C an index out of range is a bug of the program, and not an error.
    %i[get_buffer get_buffer_bytes].each do |name|
      define_method(name) do |index|
        if BufPool.whole_number(index, "the index") >= length && length.positive?
          raise IndexError, "buffer index #{index} is out of range 0 to #{length - 1}"
        end

        length.positive? ? super(index) : nil
      end
    end

    %i[fill_from_stream write_to_stream fill_from_stream_async write_to_stream_async].each do |name|
      define_method(name) do |stream, offset, size, *others, &block|
        super(stream, BufPool.whole_number(offset, "the offset"), BufPool.whole_number(size, "the size"),
              *others, &block)
      end
    end
  end

  Pool.prepend(PoolMethods)
  PoolAllocation.prepend(AllocationMethods)

  # A block is a GLib::Bytes, whose memory comes back when the collector has found it. So what is garbage is
  # collected when the pool has no block.
  module ReaderMethods
    include Enumerable

    def initialize(stream, pool, count)
      super(stream, pool, BufPool.whole_number(count, "the number of buffers"))
    end

    # The next block, or nil at the end.
    def next_block(cancellable = nil)
      GC.start if n_buffers * pool.buffer_size > pool.available_memory
      block = nil
      BufPool.wait(cancellable) { |stop| (block = super(stop)) || true }
      block
    end

    def next_block_async(*others, &block)
      GC.start if pool.waiting.zero? && n_buffers * pool.buffer_size > pool.available_memory
      super(*others, &block)
    end

    def splice(target, flags, cancellable = nil)
      BufPool.wait(cancellable) { |stop| super(target, flags, stop) }
    end

    def each
      return to_enum unless block_given?

      while (block = next_block)
        yield block
      end
      self
    end

    %i[read_ahead= set_read_ahead].each do |name|
      define_method(name) { |blocks| super(BufPool.whole_number(blocks, "the number of blocks")) }
    end
  end

  Reader.prepend(ReaderMethods)
end
