-- SPDX-FileCopyrightText: The libbufpool authors
-- SPDX-License-Identifier: LGPL-2.1-or-later

-- BufPool from Lua. Usage: lua5.3 test-lua.lua, with the paths to the library and the overrides set.

local lgi = require 'lgi'
local BufPool = lgi.require('BufPool', '1.0')
local GLib, Gio = lgi.GLib, lgi.Gio

local ENDINGS = {
   { 'pool first', 'pool = nil; collectgarbage(); a = nil; collectgarbage()' },
   { 'allocation first', 'a = nil; collectgarbage(); pool = nil; collectgarbage()' },
   { 'both at the end', '' },
   { 'global', 'P, A = pool, a' },
   { 'in a cycle', 'local c = { pool, a }; c.c = c; pool, a = nil' },
   { 'in a closure', 'f = function() return pool, a end' },
   { 'closed state', 'P, A = pool, a; os.exit(0, true)' },
   { 'with a view', 'v = a:get_bytes(); pool, a = nil; collectgarbage()' },
   { 'with a pending request', 'pool:allocate_async(8, 0, nil, function() end); pool = nil; collectgarbage()' },
   { 'with a waiting coroutine',
     'lgi.Gio.Async.start(function() pool:async_allocate(8) end)(); pool = nil; collectgarbage()' },
   { 'released', 'a:release(); pool = nil; collectgarbage()' },
   { 'exit', 'os.exit(0)' },
}
local PROGRAM = [[
local lgi = require 'lgi'
local BufPool = lgi.require('BufPool', '1.0')
local pool = BufPool.Pool.new(16, 128)
local a = pool:allocate(8)
]]
local BAD_NUMBERS = { -1, 2 ^ 64, 1.5, 0 / 0, 1 / 0, '8', {}, false, print }

-- An error in the style of lgi: nil or false, and an error with its domain and code.
local function fails(domain, code, result, problem)
   assert(not result, 'it did not fail')
   assert(problem:matches(domain, code), tostring(problem))
   assert(problem.domain == domain and problem.code == code and #problem.message > 0)
   return problem
end

local function refuses(func, ...)
   assert(not pcall(func, ...), 'not refused')
end

local function new_pool(count)
   return assert(BufPool.Pool.new(16, 16 * count))
end

local function bytes_stream(text)
   return Gio.MemoryInputStream.new_from_bytes(GLib.Bytes.new(text))
end

-- Runs in a coroutine, and propagates its error.
local function in_main_loop(func)
   local results
   Gio.Async.call(function() results = table.pack(xpcall(func, debug.traceback)) end)()
   assert(table.unpack(results, 1, 2))
end

local TESTS = {}
local function test(name, func)
   TESTS[#TESTS + 1] = { name, func }
end

test('first example', function()
   local pool = new_pool(64)
   local a = assert(pool:allocate(48))
   assert(#a == 48 and a:get_buffer_size() == 16 and a:get_allocated_bytes() == 768)
   for i = 0, 47 do assert(a:fill(i * 16, string.char(i):rep(16))) end
   local n = 0
   for buffer in a:buffers() do
      assert(buffer == string.char(n):rep(16))
      n = n + 1
   end
   assert(n == 48 and pool.allocated_memory == 768 and pool.active_allocations == 1)
end)

test('out of range', function()
   local a = assert(new_pool(8):allocate(8))
   assert(#a:get_buffer_bytes(7) == 16 and a:get_buffer(7))
   for _, get in pairs { a.get_buffer, a.get_buffer_bytes } do
      for _, bad in pairs(BAD_NUMBERS) do refuses(get, a, bad) end
      local _, message = pcall(get, a, 8)
      assert(message:find('buffer index 8 is out of range 0 to 7', 1, true), message)
   end
   a:release()
   assert(a:get_buffer(8) == nil and a:get_buffer_bytes(0) == nil)
end)

test('configuration', function()
   fails(BufPool.PoolError, 'INVALID_CONFIG', BufPool.Pool.new(64, 63))
   fails(BufPool.PoolError, 'INVALID_CONFIG', BufPool.Pool { buffer_size = 0 })
   fails(BufPool.PoolError, 'INVALID_CONFIG', BufPool.Pool { buffer_size = 24, alignment = 16 })
   assert(BufPool.Pool { buffer_size = 48, alignment = 16 }.alignment == 16)
   assert(BufPool.Pool {}.max_memory == 2 ^ 53 - 1 and BufPool.POOL_UNLIMITED == 2 ^ 53 - 1)
   local pool = BufPool.Pool { buffer_size = 16, max_memory = 32 }
   assert(pool.buffer_size == 16 and pool.max_memory == 32)
   for _, bad in pairs(BAD_NUMBERS) do
      refuses(BufPool.Pool.new, bad, 1024)
      refuses(BufPool.Pool.new, 16, bad)
      refuses(BufPool.Pool, { buffer_size = bad })
      refuses(function() pool.max_memory = bad end)
      refuses(pool.set_max_memory, pool, bad)
   end
   refuses(BufPool.Pool.new, 16, nil)
   assert(pool.max_memory == 32)
   pool.max_memory = 64
   assert(pool.max_memory == 64)
end)

test('errors', function()
   local pool = new_pool(8)
   local kinds = {
      pool.allocate, pool.try_allocate, function(self, n) return self:allocate_timeout(n, 1000) end,
   }
   for _, allocate in pairs(kinds) do
      fails(BufPool.PoolError, 'INVALID_COUNT', allocate(pool, 0))
      assert(tostring(fails(BufPool.PoolError, 'INVALID_COUNT', allocate(pool, 65536))):find('65536'))
      fails(BufPool.PoolError, 'TOO_LARGE', allocate(pool, 9))
      for _, bad in pairs(BAD_NUMBERS) do refuses(allocate, pool, bad) end
      refuses(allocate, pool, nil)
   end
   local a = assert(pool:allocate(8))
   fails(Gio.IOErrorEnum, 'WOULD_BLOCK', pool:try_allocate(1))
   fails(Gio.IOErrorEnum, 'WOULD_BLOCK', pool:allocate(1))
   fails(Gio.IOErrorEnum, 'TIMED_OUT', pool:allocate_timeout(1, 1000))
   for _, bad in pairs { '0', 1.5, 1 / 0, 0 / 0 } do refuses(pool.allocate_timeout, pool, 1, bad) end
   local cancelled = Gio.Cancellable.new()
   cancelled:cancel()
   fails(Gio.IOErrorEnum, 'CANCELLED', pool:allocate(1, cancelled))
   fails(BufPool.PoolError, 'OUT_OF_RANGE', a:fill(125, '1234'))
   fails(BufPool.PoolError, 'OUT_OF_RANGE', a:extract(0, 129))
   for _, bad in pairs(BAD_NUMBERS) do
      refuses(a.fill, a, bad, 'x')
      refuses(a.extract, a, 0, bad)
      refuses(a.fill_from_stream, a, bytes_stream 'x', bad, 1)
   end
   pool:close()
   fails(BufPool.PoolError, 'CLOSED', pool:allocate(1))
   refuses(BufPool.PoolAllocation)
end)

test('release', function()
   local pool = new_pool(1)
   local a = assert(pool:allocate(1))
   a:fill(0, ('x'):rep(16))
   local view = a:get_bytes()
   a:release()
   a:release()
   assert(a:is_released() and #a == 0 and a:get_bytes() == nil and a:buffers()() == nil)
   fails(BufPool.PoolError, 'RELEASED', a:fill(0, 'x'))
   fails(BufPool.PoolError, 'RELEASED', a:extract(0, 1))
   assert(view.data == ('x'):rep(16) and pool.allocated_memory == 16)
   view = nil
   collectgarbage()
   collectgarbage()
   assert(pool.allocated_memory == 0)
end)

test('numbers are integers', function()
   local pool = new_pool(8)
   local a = assert(pool:allocate(8))
   local numbers = {
      #a, a:get_length(), a:get_buffer_size(), a:get_allocated_bytes(), pool.buffer_size, pool.max_memory,
      pool.allocated_memory, pool.available_memory, pool.waiting, pool.active_allocations, pool.cached_memory,
      pool.max_cached_memory, pool:get_max_memory(), pool:trim(0), pool:get_stats().max_memory,
      pool:get_stats().n_waits, BufPool.POOL_UNLIMITED, a:fill_from_stream(bytes_stream 'text', 0, 8),
      BufPool.Pool.trim_all(), BufPool.get_memory_limit(),
   }
   for i, number in ipairs(numbers) do assert(math.type(number) == 'integer', i) end
   assert(#numbers == 20 and tostring(#a) == '8')
end)

test('fill and extract', function()
   local a = assert(new_pool(1):allocate(1))
   assert(a:fill(0, GLib.Bytes.new('bytes')) and a:extract(0, 5).data == 'bytes')
   assert(a:extract(0, 0).data == '' and a:extract(16, 0).data == '')
   assert(a:fill(0, 'zero\0s') and a:extract(0, 6).data == 'zero\0s')
   assert(a:fill(16, '') and a:fill(16, GLib.Bytes.new('')))
   for _, bad in pairs { 5, true, {}, print, a } do refuses(a.fill, a, 0, bad) end
   refuses(a.fill, a, 0, nil)
end)

test('properties are checked when a pool is made', function()
   fails(BufPool.PoolError, 'INVALID_CONFIG', BufPool.Pool { max_memory = 1 })
   fails(BufPool.PoolError, 'INVALID_CONFIG', BufPool.Pool { buffer_size = 16, max_memory = 15 })
   local pool = BufPool.Pool { buffer_size = 16, max_memory = 16, max_cached_memory = 0, name = 'named' }
   assert(pool.max_cached_memory == 0 and pool.name == 'named')
   refuses(BufPool.Pool, { max_cached_memory = -2 })
   refuses(function() pool.max_cached_memory = 0.5 end)
   pool.max_cached_memory = -1
   assert(pool.max_cached_memory == -1)
end)

test('errors point to the caller, and name the parameter', function()
   local pool = new_pool(1)
   local a = assert(pool:allocate(1))
   local this = debug.getinfo(1, 'S').short_src
   local calls = {
      n_buffers = function() pool:allocate(1.5) end,
      timeout_us = function() pool:allocate_timeout(1, 0.5) end,
      max_memory = function() pool.max_memory = 1 / 0 end,
      offset = function() a:fill(-1, 'x') end,
      size = function() a:extract(0, 2 ^ 64) end,
      index = function() a:get_buffer_bytes(-1) end,
      buffer_size = function() BufPool.Pool { buffer_size = 1.5 } end,
      callback = function() pool:drain_async(0, nil, nil) end,
      allocations = function() BufPool.PoolAllocation() end,
   }
   for name, call in pairs(calls) do
      local _, message = pcall(call)
      assert(message:sub(1, #this + 1) == this .. ':' and message:find(name, 1, true), message)
   end
   local _, message = pcall(function() pool:allocate(1 / 0) end)
   assert(message:find('n_buffers must be an integer, not inf', 1, true), message)
end)

-- A simulated clock and collector.
local function with_heap(cost, func)
   local collector, saved = BufPool._collector, {}
   for key, value in pairs(collector) do saved[key] = value end
   local heap = { now = 1e6, n = 0 }
   collector.at, collector.now = heap.now, function() return heap.now end
   collector.collect = function()
      heap.n, heap.now = heap.n + 1, heap.now + cost
   end
   local succeeded, problem = pcall(func, heap)
   for key, value in pairs(saved) do collector[key] = value end
   assert(succeeded, problem)
end

test('a refusal does not collect garbage', function()
   local pool = new_pool(1)
   local a = assert(pool:allocate(1))
   with_heap(10, function(heap)
      local begin = heap.now
      for _ = 1, 100000 do
         fails(Gio.IOErrorEnum, 'WOULD_BLOCK', pool:allocate(1))
         heap.now = heap.now + 0.1
      end
      local share = heap.n * 10 / (heap.now - begin)
      assert(heap.n > 10 and share < 0.05, share)
   end)
   assert(#a == 1)
end)

test('timed and asynchronous requests collect garbage', function()
   local pool = new_pool(4)
   local function leak() for _ = 1, 4 do assert(pool:allocate(1)) end end
   collectgarbage('stop')
   leak()
   assert(pool:allocate_timeout(1, 20000000))
   collectgarbage()
   collectgarbage()
   leak()
   assert(pool:drain())
   leak()
   Gio.Async.call(function() assert(pool:async_allocate(4)):release() end)()
   leak()
   Gio.Async.call(function() assert(pool:async_drain()) end)()
   collectgarbage('restart')
end)

test('garbage that arises late is found', function()
   local pool = new_pool(1)
   local held = { assert(pool:allocate(1)) }
   local collected = false
   collectgarbage('stop')
   setmetatable({}, { __gc = function() collected = true end })
   GLib.timeout_add(GLib.PRIORITY_DEFAULT, 1, function()
      if collected then held[1] = nil end
      return not collected
   end)
   Gio.Async.call(function() assert(pool:async_allocate(1)):release() end)()
   collectgarbage('restart')
end)

test('callbacks with defaults, and one that fails', function()
   local pool = new_pool(1)
   local loop = GLib.MainLoop()
   local got
   local a = assert(pool:allocate(1))
   pool:allocate_async(1, nil, nil, function(self, result)
      got = assert(self:allocate_finish(result))
      loop:quit()
   end)
   a:release()
   loop:run()
   got:release()
   pool:allocate_async(1, nil, nil, function() error 'a bug in the program' end)
   local context = GLib.MainContext.default()
   local succeeded, problem = true, nil
   while succeeded and pool.active_allocations > 0 do
      succeeded, problem = pcall(context.iteration, context, true)
   end
   assert(pool.allocated_memory == 0, problem)
end)

test('budgets and permits', function()
   local budget = BufPool.Budget { max_memory = 100, name = 'shared' }
   local permit = assert(budget:acquire(60))
   assert(budget.allocated_memory == 60 and math.type(permit:get_size()) == 'integer' and budget.name == 'shared')
   fails(Gio.IOErrorEnum, 'WOULD_BLOCK', budget:acquire(60))
   fails(Gio.IOErrorEnum, 'TIMED_OUT', budget:acquire_full(60, 1000))
   fails(BufPool.PoolError, 'TOO_LARGE', budget:acquire(101))
   in_main_loop(function()
      GLib.idle_add(GLib.PRIORITY_DEFAULT, function() permit:release() return false end)
      local second = assert(budget:async_acquire(60))
      assert(second:shrink(10) and budget.allocated_memory == 10)
      second:release()
      budget:acquire(100)
      assert(budget:async_acquire(100)):release()
   end)
   local pool = assert(BufPool.Pool.new_with_budget(16, budget))
   local a = assert(pool:allocate_full(1, 4))
   assert(#a == 4 and a:shrink(2) and #a == 2 and pool.budget == budget and budget.allocated_memory == 32)
   in_main_loop(function() assert(#assert(pool:async_allocate_full(1, 2)) == 2) end)
   a:release()
   for _, bad in pairs(BAD_NUMBERS) do
      refuses(budget.acquire, budget, bad)
      refuses(BufPool.Budget.new, bad)
      refuses(BufPool.Pool.new_with_budget, 16, bad)
      if bad ~= -1 then refuses(function() budget.max_waiting = bad end) end
   end
   -- What a callback did not fetch before it failed is freed.
   collectgarbage()
   collectgarbage()
   budget:acquire_async(100, nil, nil, function() error 'a bug in the program' end)
   local context = GLib.MainContext.default()
   local succeeded = true
   while succeeded and budget.allocated_memory > 0 do succeeded = pcall(context.iteration, context, true) end
   assert(budget.allocated_memory == 0)
end)

test('100,000 with release', function()
   local pool = new_pool(4)
   for _ = 1, 100000 do assert(pool:allocate(2)):release() end
   assert(pool.allocated_memory == 0)
end)

test('10,000 without release', function()
   local pool = new_pool(200)
   for _ = 1, 10000 do assert(pool:allocate(2)) end
end)

test('copies are freed once', function()
   local pool = new_pool(100)
   for _ = 1, 1000 do
      local a = assert(pool:allocate(1))
      local value = lgi.GObject.Value(BufPool.PoolAllocation, a)
      local copies = { value.value, value.value }
      local views = { a:get_bytes(), copies[1]:get_bytes() }
      a:release()
      assert(copies[1]:is_released() and copies[2]:is_released() and #views[2] == 16)
   end
   collectgarbage()
   collectgarbage()
   assert(pool.allocated_memory == 0, pool.allocated_memory)
end)

test('coroutines', function()
   local pool = new_pool(1)
   in_main_loop(function()
      local a = assert(pool:async_allocate(1))
      GLib.idle_add(GLib.PRIORITY_DEFAULT, function()
         assert(pool.waiting == 1)
         a:release()
         return false
      end)
      local b = assert(pool:async_allocate(1))
      assert(a:is_released() and #b == 1)
      fails(BufPool.PoolError, 'TOO_LARGE', pool:async_allocate(2))
      refuses(pool.async_allocate, pool, -1)
      GLib.idle_add(GLib.PRIORITY_DEFAULT, function() b:release() return false end)
      assert(pool:async_drain())
   end)
end)

test('a cancelled coroutine', function()
   local pool = new_pool(1)
   local a = assert(pool:allocate(1))
   in_main_loop(function()
      Gio.Async.cancellable = Gio.Cancellable.new()
      local cancellable = Gio.Async.cancellable
      GLib.idle_add(GLib.PRIORITY_DEFAULT, function() cancellable:cancel() return false end)
      fails(Gio.IOErrorEnum, 'CANCELLED', pool:async_allocate(1))
   end)
   assert(pool.waiting == 0 and #a == 1)
end)

test('streams', function()
   local a = assert(new_pool(1):allocate(1))
   assert(a:fill_from_stream(bytes_stream 'Hello', 2, 14) == 5)
   in_main_loop(function()
      local output = Gio.MemoryOutputStream.new_resizable()
      assert(a:async_fill_from_stream(bytes_stream 'Yellow', 2, 5) == 5)
      fails(BufPool.PoolError, 'OUT_OF_RANGE', a:async_fill_from_stream(bytes_stream 'x', 16, 1))
      refuses(a.async_fill_from_stream, a, bytes_stream 'x', -1, 1)
      assert(a:async_write_to_stream(output, 3, 4) == 4)
      output:close()
      assert(output:steal_as_bytes().data == 'ello')
   end)
end)

for _, ending in ipairs(ENDINGS) do
   test('ends by itself: ' .. ending[1], function()
      local path = os.tmpname()
      local file = assert(io.open(path, 'w'))
      file:write(PROGRAM, ending[2], '\n')
      file:close()
      local ended, _, status = os.execute(("timeout 60 '%s' %s"):format(arg[-1], path))
      os.remove(path)
      assert(ended, status)
   end)
end

local failed = 0
io.stdout:setvbuf('line')
print('1..' .. #TESTS)
for number, case in ipairs(TESTS) do
   -- Independent of what the last test holds.
   BufPool._collector.credit = BufPool._collector.ADVANCE
   local passed, problem = xpcall(case[2], debug.traceback)
   if not passed then
      failed = failed + 1
      print('# ' .. tostring(problem):gsub('\n', '\n# '))
   end
   print((passed and 'ok ' or 'not ok ') .. number .. ' ' .. case[1])
end
os.exit(failed == 0 and 0 or 1)
