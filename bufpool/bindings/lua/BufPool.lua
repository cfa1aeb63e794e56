-- SPDX-FileCopyrightText: The libbufpool authors
-- SPDX-License-Identifier: LGPL-2.1-or-later

-- Makes BufPool idiomatic in Lua with lgi: checked numbers, integers, coroutines even for streams, and a
-- synchronous allocate() that does not wait for memory that only this thread could free.

local lgi = require 'lgi'
local gi = require('lgi.core').gi
local GLib, Gio, GObject = lgi.GLib, lgi.Gio, lgi.GObject
local BufPool = lgi.BufPool
local Pool, PoolAllocation = BufPool.Pool, BufPool.PoolAllocation

-- Above this, lgi cannot represent all integers, and it converts 2^64 to 0.
local GREATEST = 2 ^ 53

-- Raises an error that points to the caller: the first function that is in neither this file nor lgi.
local function fail(message)
   local here, level = debug.getinfo(1, 'S').source, 2
   local info = debug.getinfo(level, 'S')
   while info and (info.source == here or info.what == 'C' or info.source:find('/lgi/[%w-]+%.lua$')) do
      level = level + 1
      info = debug.getinfo(level, 'S')
   end
   error(message, level)
end

local function integer(value, name, least)
   least = least or 0
   if type(value) ~= 'number' or value % 1 ~= 0 or math.abs(value) > GREATEST then
      fail(('%s must be an integer, not %s'):format(name, tostring(value)))
   elseif value < least then
      fail(('%s must be %s, not %s'):format(
         name, least == 0 and 'a non-negative integer' or 'at least ' .. least, tostring(value)))
   end
   return math.tointeger(value) or value
end

-- In microseconds; a negative value means no limit.
local function time(timeout_us)
   return integer(timeout_us, 'timeout_us', -GREATEST)
end

local function priority(io_priority)
   if io_priority == nil then return GLib.PRIORITY_DEFAULT end
   if integer(io_priority, 'io_priority', -(2 ^ 31)) >= 2 ^ 31 then
      fail(('io_priority must be less than 2^31, not %s'):format(tostring(io_priority)))
   end
   return io_priority
end

local function as_integer(value)
   return type(value) == 'number' and math.tointeger(value) or value
end

-- The original functions, which are replaced below.
local original = { Budget = {}, Permit = {}, Pool = {}, PoolAllocation = {}, Reader = {} }
for class_name, methods in pairs(original) do
   for i = 1, #gi.BufPool[class_name].methods do
      local name = gi.BufPool[class_name].methods[i].name
      methods[name] = BufPool[class_name][name]
   end
end
local pool_methods, allocation_methods = original.Pool, original.PoolAllocation
local Budget, budget_methods = BufPool.Budget, original.Budget
local Permit, permit_methods = BufPool.Permit, original.Permit

-- lgi converts each number that may have 64 bits to a float.
local function return_integers(class, methods)
   for name, method in pairs(methods) do
      if name:find('^get_') then
         class[name] = function(...) return as_integer(method(...)) end
      end
   end
end
for class_name, methods in pairs(original) do return_integers(BufPool[class_name], methods) end
rawset(BufPool, 'POOL_UNLIMITED', as_integer(BufPool.POOL_UNLIMITED))

local get_memory_limit = BufPool.get_memory_limit
rawset(BufPool, 'get_memory_limit', function() return as_integer(get_memory_limit()) end)

BufPool.PoolStats._attribute = {}
for i = 1, #gi.BufPool.PoolStats.fields do
   local field = gi.BufPool.PoolStats.fields[i]
   BufPool.PoolStats._attribute[field.name] = {
      get = function(self) return as_integer(require('lgi.core').record.field(self, field)) end,
   }
end

-- The writable properties and their minimum values.
local LEAST = { max_memory = 0, reserved_memory = 0, max_waiting = -1, max_cached_memory = -1 }

local function override_limits(class, methods)
   for name, least in pairs(LEAST) do
      local set = methods['set_' .. name]
      if set then class['set_' .. name] = function(self, value) set(self, integer(value, name, least)) end end
   end
end
override_limits(Pool, pool_methods)
override_limits(Budget, budget_methods)

function Pool:trim(target)
   return as_integer(pool_methods.trim(self, integer(target, 'target')))
end

function Pool.trim_all()
   return as_integer(pool_methods.trim_all())
end

-- Properties are attributes, so that they are integers and checked. Construction also checks numbers.
local function override_properties(class, class_name, methods)
   local properties = {}
   class._attribute = {}
   for i = 1, #gi.BufPool[class_name].properties do
      local property = gi.BufPool[class_name].properties[i]
      local name = property.name:gsub('-', '_')
      properties[name] = property
      if methods['get_' .. name] then
         class._attribute[name] = { get = class['get_' .. name], set = class['set_' .. name] }
      end
   end

   function class:_new(given, ...)
      if type(given) == 'table' then
         for _, name in pairs { 'buffer_size', 'alignment', 'max_memory', 'reserved_memory', 'max_waiting',
                                'max_cached_memory', 'n_buffers', 'read_ahead' } do
            if given[name] ~= nil then integer(given[name], name, LEAST[name]) end
         end
      end

      -- lgi sets attributes only after the configuration is checked. So here it sees the properties.
      local surrogate = setmetatable({}, { __index = function(_, key) return properties[key] or self[key] end })
      return GObject.Object._construct(surrogate, self._gtype, given, ...)
   end
end

-- BufPool.Pool { buffer_size = 4096, max_memory = 1024 * 1024 }
override_properties(Pool, 'Pool', pool_methods)
override_properties(Budget, 'Budget', budget_methods)

function Pool.new(buffer_size, max_memory)
   return pool_methods.new(integer(buffer_size, 'buffer_size'), integer(max_memory, 'max_memory'))
end

-- Garbage can hold the memory that a request waits for, and only a collection frees it. A collection takes
-- time in proportion to the live heap, so it is the last resort, and uses a bounded share of the time. A
-- collection that freed memory does not count, because the request needed it.
local collector = {
   BRIEF = 5, -- milliseconds that a request waits before the first collection
   INTERVAL = 100, -- milliseconds until the next look after a collection that freed nothing
   SHARE = 0.03,
   ADVANCE = 100,
   credit = 100,
   at = 0,
}
BufPool._collector = collector

function collector.now()
   return GLib.get_monotonic_time() / 1000
end

-- Twice: an object with a finalizer is freed by the collection after the one that finds it.
function collector.collect()
   collectgarbage()
   collectgarbage()
end

-- Milliseconds until a collection is allowed.
function collector:get_pause()
   local now = self.now()
   self.credit = math.min(self.credit + (now - self.at) * self.SHARE, self.ADVANCE)
   self.at = now
   return self.credit > 0 and 0 or math.ceil(-self.credit / self.SHARE) + 1
end

-- Collects if that is allowed. Returns whether memory of this pool or budget was freed, even if a waiter
-- has got it.
function collector:run(source)
   if self:get_pause() > 0 then return false end
   local allocated, waiting, begin = source:get_allocated_memory(), source:get_waiting(), self.now()
   self.collect()
   local helped = source:get_allocated_memory() ~= allocated or source:get_waiting() ~= waiting
   if not helped then self.credit = self.credit - (self.now() - begin) end
   return helped
end

-- lgi returns nil for the data of an empty GLib.Bytes, such as extract(0, 0).
local get_data = GLib.Bytes._attribute.data.get
GLib.Bytes._attribute.data = { get = function(bytes) return get_data(bytes) or '' end }

-- How many asynchronous requests of this program wait for a pool or budget. While some do, garbage is
-- collected occasionally.
local waits = setmetatable({}, { __mode = 'k' })

local function look_later(source, delay)
   GLib.timeout_add(GLib.PRIORITY_DEFAULT, delay, function()
      if waits[source] == 0 then
         waits[source] = nil
      elseif collector:run(source) then
         look_later(source, collector.BRIEF)
      else
         look_later(source, math.max(collector.INTERVAL, collector:get_pause()))
      end
      return false
   end)
end

local function begin_to_wait(source)
   if not waits[source] then
      waits[source] = 0
      look_later(source, collector.BRIEF)
   end
   waits[source] = waits[source] + 1
end

local function end_to_wait(source)
   waits[source] = waits[source] - 1
end

-- Calls back like lgi: calls a function, or resumes a coroutine that waits.
local function call_back(callback, ...)
   if type(callback) ~= 'thread' then return callback(...) end
   local resumed, problem = coroutine.resume(callback, ...)
   if not resumed then error(problem, 0) end
end

-- Results that were passed to callbacks and not fetched yet.
local unfetched = setmetatable({}, { __mode = 'k' })

local function override_finish(name, methods)
   return function(self, result)
      unfetched[result] = nil
      local value, problem = methods[name .. '_finish'](self, result)
      return as_integer(value), problem
   end
end

-- Starts an operation. If its callback fails before it fetches the result, the result is freed. The source is
-- the pool or budget whose memory the operation may wait for, or false.
local function start(class, methods, name, self, source, arguments, io_priority, cancellable, callback)
   if type(callback) ~= 'function' and type(callback) ~= 'thread' then
      fail(('callback must be a function or a coroutine, not %s'):format(tostring(callback)))
   end
   local function on_done(_, result)
      if source then end_to_wait(source) end
      unfetched[result] = true
      local succeeded, problem = pcall(call_back, callback, self, result)
      if succeeded then return end
      if unfetched[result] then
         local value = class[name .. '_finish'](self, result)
         if type(value) == 'userdata' and not GLib.Bytes:is_type_of(value) then value:release() end
      end
      error(problem, 0)
   end
   table.insert(arguments, priority(io_priority))
   local n = #arguments
   arguments[n + 1], arguments[n + 2] = cancellable, on_done
   methods[name .. '_async'](self, table.unpack(arguments, 1, n + 2))
   if source then begin_to_wait(source) end
end

-- In a coroutine, with the priority and the cancellable that Gio.Async has for it.
local function operate(class, name, self, ...)
   local arguments = table.pack(...)
   local n = arguments.n
   arguments[n + 1], arguments[n + 2] = Gio.Async.io_priority, Gio.Async.cancellable
   arguments[n + 3] = coroutine.running()
   class[name .. '_async'](self, table.unpack(arguments, 1, n + 3))
   local _, result = coroutine.yield()
   return class[name .. '_finish'](self, result)
end

local function would_block(problem)
   return problem and problem:matches(Gio.IOErrorEnum, 'WOULD_BLOCK')
end

function Pool:try_allocate(count)
   return pool_methods.try_allocate(self, integer(count, 'n_buffers'))
end

-- A program has one thread that runs Lua. While it waited, no memory that Lua holds could be freed, and it
-- would wait indefinitely. So this collects garbage, and fails if that is not enough. Use async_allocate()
-- to wait.
function Pool:allocate(count, cancellable)
   integer(count, 'n_buffers')
   if cancellable and cancellable:is_cancelled() then
      return pool_methods.allocate_timeout(self, count, 0, cancellable)
   end
   local allocation, problem = self:try_allocate(count)
   if not allocation and would_block(problem) and collector:run(self) then return self:try_allocate(count) end
   return allocation, problem
end

-- Waits in C, by wait(timeout_us). A negative value means no limit, but then it fails like allocate(). Other
-- threads, in C, may free memory in the meantime; no garbage is created.
local function wait_in_c(source, timeout_us, wait)
   local value, problem = wait(0)
   if value or not problem:matches(Gio.IOErrorEnum, 'TIMED_OUT') then return value, problem end

   local pause = collector:get_pause() * 1000
   if 0 < pause and pause < timeout_us then
      value = wait(pause)
      if value then return value end
      timeout_us = timeout_us - pause
   end
   collector:run(source)
   return wait(math.max(timeout_us, 0))
end

function Pool:allocate_timeout(count, timeout_us, cancellable)
   integer(count, 'n_buffers')
   if time(timeout_us) < 0 then return self:allocate(count, cancellable) end
   return wait_in_c(self, timeout_us, function(limit)
      return pool_methods.allocate_timeout(self, count, limit, cancellable)
   end)
end

function Pool:allocate_full(min_buffers, max_buffers, timeout_us, io_priority, cancellable)
   integer(min_buffers, 'min_buffers')
   integer(max_buffers, 'max_buffers')
   io_priority = priority(io_priority)
   return wait_in_c(self, time(timeout_us or -1), function(limit)
      return pool_methods.allocate_full(self, min_buffers, max_buffers, limit, io_priority, cancellable)
   end)
end

function Pool:allocate_full_async(min_buffers, max_buffers, timeout_us, io_priority, cancellable, callback)
   local bytes = integer(min_buffers, 'min_buffers') * self:get_buffer_size()
   local may_wait = bytes > self:get_available_memory() or self:get_waiting() > 0
   local arguments = { min_buffers, integer(max_buffers, 'max_buffers'), time(timeout_us or -1) }
   start(Pool, pool_methods, 'allocate_full', self, may_wait and self, arguments, io_priority, cancellable, callback)
end

Pool.allocate_full_finish = override_finish('allocate_full', pool_methods)
Pool.allocate_full_pinned_finish = Pool.allocate_full_finish

function Pool:async_allocate_full(min_buffers, max_buffers, timeout_us)
   return operate(Pool, 'allocate_full', self, min_buffers, max_buffers, timeout_us or -1)
end

function Pool:allocate_async(count, io_priority, cancellable, callback)
   local bytes = integer(count, 'n_buffers') * self:get_buffer_size()
   local may_wait = bytes > self:get_available_memory() or self:get_waiting() > 0
   start(Pool, pool_methods, 'allocate', self, may_wait and self, { count }, io_priority, cancellable, callback)
end

Pool.allocate_finish = override_finish('allocate', pool_methods)
-- allocate_async() is the pinned request in C, whose own finish function is also visible.
Pool.allocate_pinned_finish = Pool.allocate_finish

function Pool:async_allocate(count)
   return operate(Pool, 'allocate', self, count)
end

-- Fails instead of waiting. Use async_drain() to wait. Draining is rare, so the collection does not count.
function Pool:drain(cancellable)
   local drained, problem = pool_methods.drain_timeout(self, 0, cancellable)
   if drained or not problem:matches(Gio.IOErrorEnum, 'TIMED_OUT') then return drained, problem end
   collector.collect()
   return pool_methods.drain_timeout(self, 0, cancellable)
end

function Pool:drain_timeout(timeout_us, cancellable)
   if time(timeout_us) < 0 then return self:drain(cancellable) end
   return wait_in_c(self, timeout_us, function(limit)
      return pool_methods.drain_timeout(self, limit, cancellable)
   end)
end

function Pool:drain_async(io_priority, cancellable, callback)
   local may_wait = self:get_active_allocations() > 0
   start(Pool, pool_methods, 'drain', self, may_wait and self, {}, io_priority, cancellable, callback)
end

Pool.drain_finish = override_finish('drain', pool_methods)

function Pool:async_drain()
   return operate(Pool, 'drain', self)
end

function Budget.new(max_memory)
   return budget_methods.new(integer(max_memory, 'max_memory'))
end

function Budget.new_child(parent, max_memory)
   return budget_methods.new_child(parent, integer(max_memory, 'max_memory'))
end

function Budget:try_acquire(n_bytes)
   return budget_methods.try_acquire(self, integer(n_bytes, 'n_bytes'))
end

-- Like Pool:allocate().
function Budget:acquire(n_bytes, cancellable)
   integer(n_bytes, 'n_bytes')
   if cancellable and cancellable:is_cancelled() then return self:acquire_full(n_bytes, 0, nil, cancellable) end
   local permit, problem = self:try_acquire(n_bytes)
   if not permit and would_block(problem) and collector:run(self) then return self:try_acquire(n_bytes) end
   return permit, problem
end

function Budget:acquire_full(n_bytes, timeout_us, io_priority, cancellable)
   integer(n_bytes, 'n_bytes')
   io_priority = priority(io_priority)
   return wait_in_c(self, time(timeout_us or -1), function(limit)
      return budget_methods.acquire_full(self, n_bytes, limit, io_priority, cancellable)
   end)
end

function Budget:acquire_async(n_bytes, io_priority, cancellable, callback)
   local arguments = { integer(n_bytes, 'n_bytes') }
   start(Budget, budget_methods, 'acquire', self, self, arguments, io_priority, cancellable, callback)
end

Budget.acquire_finish = override_finish('acquire', budget_methods)

function Budget:async_acquire(n_bytes)
   return operate(Budget, 'acquire', self, n_bytes)
end

function Permit:_new()
   fail('permits come from a budget: use BufPool.Budget.acquire()')
end

function Permit:shrink(n_bytes)
   return permit_methods.shrink(self, integer(n_bytes, 'n_bytes'))
end

-- lgi would create one from arbitrary memory.
function PoolAllocation:_new()
   fail('allocations come from a pool: use BufPool.Pool.allocate()')
end

function PoolAllocation:fill(offset, data)
   if type(data) == 'userdata' and GLib.Bytes:is_type_of(data) then data = data.data or '' end
   if type(data) ~= 'string' then fail(('data must be a string or a GLib.Bytes, not %s'):format(tostring(data))) end
   return allocation_methods.fill(self, integer(offset, 'offset'), data)
end

function PoolAllocation:shrink(n_buffers)
   return allocation_methods.shrink(self, integer(n_buffers, 'n_buffers'))
end

function PoolAllocation:extract(offset, size)
   return allocation_methods.extract(self, integer(offset, 'offset'), integer(size, 'size'))
end

-- In C, an index that is out of range is a programming error.
for _, name in pairs { 'get_buffer', 'get_buffer_bytes' } do
   PoolAllocation[name] = function(self, index)
      local length = self:get_length()
      if integer(index, 'index') >= length and length > 0 then
         fail(('buffer index %d is out of range 0 to %d'):format(index, length - 1))
      end
      return length > 0 and allocation_methods[name](self, index) or nil
   end
end

-- The number of bytes, or false and an error. lgi does not provide coroutines for boxed types.
for _, name in pairs { 'fill_from_stream', 'write_to_stream' } do
   PoolAllocation[name] = function(self, stream, offset, size, cancellable)
      local n_bytes, problem = allocation_methods[name](
         self, stream, integer(offset, 'offset'), integer(size, 'size'), cancellable)
      return as_integer(n_bytes), problem
   end

   PoolAllocation[name .. '_async'] = function(self, stream, offset, size, io_priority, cancellable, callback)
      local arguments = { stream, integer(offset, 'offset'), integer(size, 'size') }
      start(PoolAllocation, allocation_methods, name, self, false, arguments, io_priority, cancellable, callback)
   end

   PoolAllocation[name .. '_finish'] = override_finish(name, allocation_methods)

   PoolAllocation['async_' .. name] = function(self, ...)
      return operate(PoolAllocation, name, self, ...)
   end
end

PoolAllocation._len = PoolAllocation.get_length

-- for buffer in allocation:buffers() do: each buffer is a string, which is a copy.
function PoolAllocation:buffers()
   local size, length, i = self:get_buffer_size(), self:get_length(), -1

   return function()
      i = i + 1
      if i < length then return self:extract(i * size, size).data end
   end
end

-- Readers. A block is a GLib.Bytes, whose memory is freed when the collector finds it. So garbage is
-- collected when the pool has no block.
local Reader, reader_methods = BufPool.Reader, original.Reader

local function lacks_memory(reader)
   local pool = reader.pool
   return pool and reader.n_buffers * pool.buffer_size > pool.available_memory
end

local function collect_for(reader)
   if lacks_memory(reader) then collector:run(reader.pool) end
end

function Reader.new(stream, pool, n_buffers)
   return reader_methods.new(stream, pool, integer(n_buffers, 'n_buffers'))
end

function Reader:set_read_ahead(blocks)
   reader_methods.set_read_ahead(self, integer(blocks, 'read_ahead'))
end

-- BufPool.Reader { stream = stream, pool = pool, n_buffers = 4 }
override_properties(Reader, 'Reader', reader_methods)

-- Fails instead of waiting for memory, like allocate(). Use async_next_block() to wait.
function Reader:next_block(cancellable)
   collect_for(self)
   if lacks_memory(self) then
      local allocation, problem = self.pool:try_allocate(self.n_buffers)
      if not allocation then return nil, problem end
      allocation:release()
   end
   return reader_methods.next_block(self, cancellable)
end

function Reader:next_block_async(io_priority, cancellable, callback)
   if self.pool and self.pool.waiting == 0 then collect_for(self) end
   local source = lacks_memory(self) and self.pool
   start(Reader, reader_methods, 'next_block', self, source, {}, io_priority, cancellable, callback)
end

function Reader:splice_async(target, flags, io_priority, cancellable, callback)
   start(Reader, reader_methods, 'splice', self, false, { target, flags }, io_priority, cancellable, callback)
end

Reader.next_block_finish = override_finish('next_block', reader_methods)
Reader.splice_finish = override_finish('splice', reader_methods)

-- lgi provides these for the originals, but not for Lua functions.
function Reader:async_next_block()
   return operate(Reader, 'next_block', self)
end

function Reader:async_splice(target, flags)
   return operate(Reader, 'splice', self, target, flags)
end

local function iterate(next_of)
   return function(self)
      return function()
         local block, problem = next_of(self)
         if problem then error(problem, 2) end
         return block
      end
   end
end

-- for block in reader:blocks() do; in a coroutine of Gio.Async, for block in reader:async_blocks() do
Reader.blocks = iterate(Reader.next_block)
Reader.async_blocks = iterate(Reader.async_next_block)
