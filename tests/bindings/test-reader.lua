-- SPDX-FileCopyrightText: The libbufpool authors
-- SPDX-License-Identifier: LGPL-2.1-or-later

-- Readers from Lua. Usage: lua5.3 test-reader.lua, with the paths to the library and the overrides set.

local lgi = require 'lgi'
local BufPool = lgi.require('BufPool', '1.0')
local GLib, Gio = lgi.GLib, lgi.Gio

local TEXT = 'The quick brown fox jumps over the lazy dog.'
local TESTS = {}

local function new_reader(blocks, text)
   local stream = Gio.MemoryInputStream.new_from_bytes(GLib.Bytes.new(text or TEXT))
   return BufPool.Reader.new(stream, assert(BufPool.Pool.new(8, 8 * (blocks or 4))), 1)
end

local function file_reader(blocks, text)
   local path = os.tmpname()
   local file = assert(io.open(path, 'w'))
   file:write(text or TEXT)
   file:close()
   local stream = assert(Gio.File.new_for_path(path):read())
   os.remove(path)
   return BufPool.Reader { stream = stream, pool = assert(BufPool.Pool.new(8, 8 * (blocks or 4))), n_buffers = 1 }
end

local function read_all(blocks)
   local parts = {}
   for block in blocks do parts[#parts + 1] = block.data end
   return table.concat(parts)
end

-- Runs the function in a coroutine of Gio.Async until it returns.
local function in_coroutine(func)
   local loop, passed, problem = GLib.MainLoop(), nil, nil
   Gio.Async.start(function()
      passed, problem = xpcall(func, debug.traceback)
      loop:quit()
   end)()
   if passed == nil then loop:run() end
   assert(passed, problem)
end

local function test(name, func)
   TESTS[#TESTS + 1] = { name, func }
end

test('blocks', function()
   for _, reader in ipairs { new_reader(), file_reader() } do
      assert(read_all(reader:blocks()) == TEXT)
      assert(reader.position == #TEXT)
   end
end)

test('more data than the limit is read', function()
   local text = TEXT:rep(50)
   for _, reader in ipairs { new_reader(2, text), file_reader(2, text) } do
      assert(read_all(reader:blocks()) == text)
   end
end)

test('in a coroutine', function()
   in_coroutine(function()
      local text = TEXT:rep(50)
      for _, reader in ipairs { new_reader(2, text), file_reader(2, text) } do
         assert(read_all(reader:async_blocks()) == text)
      end
   end)
end)

test('it fails instead of waiting for memory', function()
   local reader = new_reader(1)
   local allocation = assert(reader.pool:allocate(1))
   local block, problem = reader:next_block()
   assert(not block and problem:matches(Gio.IOErrorEnum, 'WOULD_BLOCK'))
   allocation:release()
   assert(reader:next_block().data == TEXT:sub(1, 8))
end)

test('splice', function()
   local reader = file_reader()
   local target = Gio.MemoryOutputStream.new_resizable()
   assert(reader:splice(target, { 'CLOSE_TARGET' }))
   assert(target:steal_as_bytes().data == TEXT)
end)

test('splice in a coroutine', function()
   in_coroutine(function()
      local target = Gio.MemoryOutputStream.new_resizable()
      assert(file_reader():async_splice(target, { 'CLOSE_TARGET' }))
      assert(target:steal_as_bytes().data == TEXT)
   end)
end)

-- Calls start(callback) and returns the arguments of the callback, or fails after a minute.
local function call_back(start)
   local loop, arguments = GLib.MainLoop(), nil
   local watch = GLib.timeout_add_seconds(GLib.PRIORITY_DEFAULT, 60, function() loop:quit() return true end)
   start(function(...)
      arguments = table.pack(...)
      loop:quit()
   end)
   if not arguments then loop:run() end
   GLib.source_remove(watch)
   return table.unpack(arguments, 1, arguments.n)
end

test('callbacks, with and without the optional parameters', function()
   for _, priority in ipairs { 'none', GLib.PRIORITY_HIGH } do
      local io_priority = math.type(priority) and priority or nil
      local reader, target = file_reader(), Gio.MemoryOutputStream.new_resizable()
      local source, result = call_back(function(callback) reader:next_block_async(io_priority, nil, callback) end)
      assert(source == reader and reader:next_block_finish(result).data == TEXT:sub(1, 8))
      source, result = call_back(function(callback)
         reader:splice_async(target, { 'CLOSE_TARGET' }, io_priority, nil, callback)
      end)
      assert(source == reader and reader:splice_finish(result))
      assert(target:steal_as_bytes().data == TEXT:sub(9))
      _, result = call_back(function(callback) reader:next_block_async(io_priority, nil, callback) end)
      assert(select('#', reader:next_block_finish(result)) <= 2)
   end
end)

test('priorities and callbacks are checked', function()
   local function message(call, ...)
      local passed, problem = pcall(call, ...)
      assert(not passed, 'not refused')
      return tostring(problem)
   end
   local reader, target = new_reader(), Gio.MemoryOutputStream.new_resizable()
   for _, bad in ipairs { 1.5, 2 ^ 31, -2 ^ 31 - 1, '1', {}, false } do
      local problems = {
         message(reader.next_block_async, reader, bad, nil, print),
         message(reader.splice_async, reader, target, {}, bad, nil, print),
         message(reader.pool.allocate_async, reader.pool, 1, bad, nil, print),
      }
      for _, problem in ipairs(problems) do assert(problem:find('io_priority must be', 1, true), problem) end
   end
   for _, bad in ipairs { 5, 'print', {} } do
      assert(message(reader.next_block_async, reader, 0, nil, bad):find('callback must be', 1, true))
      assert(message(reader.splice_async, reader, target, {}, 0, nil, bad):find('callback must be', 1, true))
   end
   local _, line = pcall(function() reader:next_block_async(1.5, nil, print) end)
   assert(line:find('test-reader.lua', 1, true), line)
   assert(reader:next_block().data == TEXT:sub(1, 8))
end)

test('a callback that waits for memory gets what garbage holds', function()
   local reader = file_reader(1)
   assert(reader:next_block()) -- garbage now
   -- A collection is allowed only in about 300 ms.
   BufPool._collector.credit, BufPool._collector.at = -10, BufPool._collector.now()
   local _, result = call_back(function(callback) reader:next_block_async(nil, nil, callback) end)
   assert(reader:next_block_finish(result).data == TEXT:sub(9, 16))
end)

test('an error is raised, and the position stays correct', function()
   local reader = new_reader()
   assert(reader:next_block())
   reader.stream:close()
   local passed, problem = pcall(read_all, reader:blocks())
   assert(not passed and problem:matches(Gio.IOErrorEnum, 'CLOSED'))
   assert(reader.position == 8)
end)

test('numbers are checked', function()
   local reader = BufPool.Reader.new(Gio.MemoryInputStream(), BufPool.Pool.new(8, 8), 1)
   for _, number in ipairs { 1.5, -1, 1 / 0, '1' } do
      assert(not pcall(BufPool.Reader.new, Gio.MemoryInputStream(), BufPool.Pool.new(8, 8), number))
      assert(not pcall(function() reader.read_ahead = number end))
   end
end)

test('numbers are integers', function()
   local reader = BufPool.Reader { stream = Gio.MemoryInputStream(), pool = BufPool.Pool.new(8, 8), n_buffers = 3 }
   reader.read_ahead = 2
   local numbers = { reader.position, reader:get_position(), reader.n_buffers, reader.read_ahead }
   for i, number in ipairs(numbers) do assert(math.type(number) == 'integer', i) end
   assert(reader.n_buffers == 3 and reader.read_ahead == 2 and reader.pool and reader.stream)
end)

test('an allocation knows how far a failed transfer came', function()
   local allocation = assert(BufPool.Pool.new(8, 16)):allocate(2)
   local path = os.tmpname()
   local stream = assert(Gio.File.new_for_path(path):replace(nil, false, {}))
   os.remove(path)
   assert(allocation:write_to_stream(stream, 0, 10))
   assert(allocation:get_transferred_bytes() == 10)
   stream:close()
   local done, problem = allocation:write_to_stream(stream, 0, 10)
   assert(not done and problem)
   assert(allocation:get_transferred_bytes() == 0)
end)

local failed = 0
io.stdout:setvbuf('line')
print('1..' .. #TESTS)
for number, case in ipairs(TESTS) do
   local passed, problem = xpcall(case[2], debug.traceback)
   if not passed then
      failed = failed + 1
      print('# ' .. tostring(problem):gsub('\n', '\n# '))
   end
   print((passed and 'ok ' or 'not ok ') .. number .. ' ' .. case[1])
end
os.exit(failed == 0 and 0 or 1)
