-- SPDX-FileCopyrightText: The libbufpool authors
-- SPDX-License-Identifier: LGPL-2.1-or-later

-- What makes BufPool natural in Lua, with lgi: numbers that are checked, coroutines also for streams,
-- and a synchronous allocate() that does not wait for what only this thread could give back.

local lgi = require 'lgi'
local Gio, GObject = lgi.Gio, lgi.GObject
local BufPool = lgi.BufPool
local Pool, PoolAllocation = BufPool.Pool, BufPool.PoolAllocation

-- Above this, not all whole numbers are numbers of Lua; and lgi takes 2^64 for 0.
local GREATEST = 2 ^ 53

local function whole_number(value, name)
   if type(value) ~= 'number' or value < 0 or value > GREATEST or value % 1 ~= 0 then
      error(('%s must be a non-negative integer, not %s'):format(name, tostring(value)), 3)
   end
   return value
end

local function check_timeout(value)
   if type(value) ~= 'number' or math.abs(value) > GREATEST or value % 1 ~= 0 then
      error(('the timeout must be an integer, not %s'):format(tostring(value)), 3)
   end
   return value
end

-- The originals, before they are replaced.
local new, try_allocate = Pool._method.new, Pool._method.try_allocate
local allocate_timeout, allocate_async = Pool._method.allocate_timeout, Pool._method.allocate_async
local set_max_memory = Pool._method.set_max_memory
local fill, extract = PoolAllocation._method.fill, PoolAllocation._method.extract
local transfers = {}
for _, name in pairs { 'fill_from_stream', 'write_to_stream' } do
   transfers[name] = PoolAllocation._method[name]
   transfers[name .. '_async'] = PoolAllocation._method[name .. '_async']
end

function Pool.new(buffer_size, max_memory)
   return new(whole_number(buffer_size, 'the buffer size'), whole_number(max_memory, 'the maximum'))
end

-- BufPool.Pool { buffer_size = 4096, max_memory = 1024 * 1024 }
function Pool:_new(properties, ...)
   for _, name in pairs { 'buffer_size', 'max_memory', 'alignment' } do
      if type(properties) == 'table' and properties[name] ~= nil then whole_number(properties[name], name) end
   end
   return GObject.Object._new(self, properties, ...)
end

function Pool:set_max_memory(max_memory)
   set_max_memory(self, whole_number(max_memory, 'the maximum'))
end

Pool._attribute = {
   max_memory = { get = Pool._method.get_max_memory, set = Pool.set_max_memory },
}

function Pool:try_allocate(count)
   return try_allocate(self, whole_number(count, 'the number of buffers'))
end

function Pool:allocate_timeout(count, timeout, cancellable)
   return allocate_timeout(self, whole_number(count, 'the number of buffers'),
                           check_timeout(timeout), cancellable)
end

function Pool:allocate_async(count, ...)
   return allocate_async(self, whole_number(count, 'the number of buffers'), ...)
end

-- lgi makes this one of the original, but not of a function of Lua.
function Pool:async_allocate(count)
   self:allocate_async(count, Gio.Async.io_priority, Gio.Async.cancellable, coroutine.running())
   local _, result = coroutine.yield()
   return self:allocate_finish(result)
end

-- A program has one thread that runs Lua: while it waited, nothing that Lua holds could come back,
-- and it would wait for ever. So it collects what is garbage, and if that is not enough it fails. Who
-- wants to wait has async_allocate().
function Pool:allocate(count, cancellable)
   if cancellable and cancellable:is_cancelled() then
      return allocate_timeout(self, whole_number(count, 'the number of buffers'), 0, cancellable)
   end
   local allocation, problem = self:try_allocate(count)
   if not allocation and problem:matches(Gio.IOErrorEnum, 'WOULD_BLOCK') then
      -- Twice: an object with a finalizer is freed by the collection after that which finds it.
      collectgarbage()
      collectgarbage()
      allocation, problem = self:try_allocate(count)
   end
   return allocation, problem
end

-- lgi would make one of arbitrary memory.
function PoolAllocation:_new()
   error('allocations come from a pool: use BufPool.Pool.allocate()', 2)
end

function PoolAllocation:fill(offset, data)
   return fill(self, whole_number(offset, 'the offset'), data)
end

function PoolAllocation:extract(offset, size)
   return extract(self, whole_number(offset, 'the offset'), whole_number(size, 'the size'))
end

-- For C an index out of range is a bug of the program, and not an error.
for _, name in pairs { 'get_buffer', 'get_buffer_bytes' } do
   local original = PoolAllocation._method[name]
   PoolAllocation[name] = function(self, index)
      local length = self:get_length()
      if whole_number(index, 'the index') >= length and length > 0 then
         error(('buffer index %d is out of range 0 to %d'):format(index, length - 1), 2)
      end
      return length > 0 and original(self, index) or nil
   end
end

for name, transfer in pairs(transfers) do
   PoolAllocation[name] = function(self, stream, offset, size, ...)
      return transfer(self, stream, whole_number(offset, 'the offset'), whole_number(size, 'the size'), ...)
   end
end

-- Likewise; lgi does not make these of boxed types. The number of bytes, or false and an error.
for _, name in pairs { 'fill_from_stream', 'write_to_stream' } do
   PoolAllocation['async_' .. name] = function(self, stream, offset, size)
      self[name .. '_async'](self, stream, offset, size, Gio.Async.io_priority, Gio.Async.cancellable,
                             coroutine.running())
      local _, result = coroutine.yield()
      return self[name .. '_finish'](self, result)
   end
end

PoolAllocation._len = PoolAllocation.get_length

-- for buffer in allocation:buffers() do: each buffer as a string, so as a copy.
function PoolAllocation:buffers()
   local size, length, i = self:get_buffer_size(), self:get_length(), -1

   return function()
      i = i + 1
      if i < length then return self:extract(i * size, size).data end
   end
end

-- Readers. A block is a GLib.Bytes, whose memory comes back when the collector has found it. So what is
-- garbage is collected when the pool has no block.
local Reader = BufPool.Reader
local new_reader, next_block = Reader._method.new, Reader._method.next_block
local next_block_async, set_read_ahead = Reader._method.next_block_async, Reader._method.set_read_ahead

local function lacks_memory(reader)
   local pool = reader.pool
   return pool and reader.n_buffers * pool.buffer_size > pool.available_memory
end

local function collect_for(reader)
   if lacks_memory(reader) then
      collectgarbage()
      collectgarbage()
   end
end

function Reader.new(stream, pool, n_buffers)
   return new_reader(stream, pool, whole_number(n_buffers, 'the number of buffers'))
end

-- BufPool.Reader { stream = stream, pool = pool, n_buffers = 4 }
function Reader:_new(properties, ...)
   for _, name in pairs { 'n_buffers', 'read_ahead' } do
      if type(properties) == 'table' and properties[name] ~= nil then whole_number(properties[name], name) end
   end
   return GObject.Object._new(self, properties, ...)
end

function Reader:set_read_ahead(blocks)
   set_read_ahead(self, whole_number(blocks, 'the number of blocks'))
end

-- Like allocate(), it fails where it would wait for memory. Who wants to wait has async_next_block().
function Reader:next_block(cancellable)
   collect_for(self)
   if lacks_memory(self) then
      local allocation, problem = self.pool:try_allocate(self.n_buffers)
      if not allocation then return nil, problem end
      allocation:release()
   end
   return next_block(self, cancellable)
end

function Reader:next_block_async(...)
   if self.pool and self.pool.waiting == 0 then collect_for(self) end
   return next_block_async(self, ...)
end

-- lgi makes this one of the original, but not of a function of Lua.
function Reader:async_next_block()
   self:next_block_async(Gio.Async.io_priority, Gio.Async.cancellable, coroutine.running())
   local _, result = coroutine.yield()
   return self:next_block_finish(result)
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
