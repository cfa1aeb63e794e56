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

-- Runs the function in a coroutine of Gio.Async, until it returns.
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

test('more than the budget is read', function()
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

test('it fails where it would wait for memory', function()
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

test('an error is raised, and the position stays', function()
   local reader = new_reader()
   assert(reader:next_block())
   reader.stream:close()
   local passed, problem = pcall(read_all, reader:blocks())
   assert(not passed and problem:matches(Gio.IOErrorEnum, 'CLOSED'))
   assert(reader.position == 8)
end)

test('numbers are checked', function()
   for _, number in ipairs { 1.5, -1, 1 / 0, '1' } do
      assert(not pcall(BufPool.Reader.new, Gio.MemoryInputStream(), BufPool.Pool.new(8, 8), number))
   end
end)

test('an allocation tells how far a failed transfer came', function()
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
