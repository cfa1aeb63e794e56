#!/usr/bin/env lua5.3
-- SPDX-FileCopyrightText: The libbufpool authors
-- SPDX-License-Identifier: LGPL-2.1-or-later

-- Prints the SHA-256 of files, like sha256sum, but hashes several files at once within a memory limit.
--
-- Shows the pool with lgi and coroutines, which do not block the main loop. Each worker waits for an
-- allocation, lets the stream fill it, and hashes its contents. A worker holds no allocation while it waits
-- for the next one, so one allocation is enough for any number of workers.
--
-- release() frees the memory as soon as it is hashed, because the collector does not know about the limit.
-- The checksum gets a copy, because lgi passes only strings as bytes. The collector does know about strings.
--
-- Uninstalled: meson devenv -C build -w . lua5.3 examples/digest.lua FILE...

local lgi = require 'lgi'
local BufPool = lgi.require('BufPool', '1.0')
local GLib, Gio = lgi.GLib, lgi.Gio

-- New versions of GLib have separate namespaces for Unix.
local has_unix, GioUnix = pcall(lgi.require, 'GioUnix', '2.0')
local UnixInputStream = has_unix and GioUnix.InputStream or Gio.UnixInputStream
local has_signals, GLibUnix = pcall(lgi.require, 'GLibUnix', '2.0')
local signal_add = has_signals and GLibUnix.signal_add or GLib.unix_signal_add

local UNITS = { [''] = 1, K = 1 << 10, M = 1 << 20, G = 1 << 30 }

local USAGE = 'usage: digest.lua [--max-memory BYTES] [--buffer-size BYTES] [--buffers N] [--workers N] [--quiet] '
   .. '[--help] [--version] FILE... | --check SUMS'

local function parse_options(arguments)
   local options = { ['max-memory'] = 16 << 20, ['buffer-size'] = 16384, buffers = 4, workers = 4 }
   local names, i = {}, 1

   while arguments[i] and arguments[i]:sub(1, 2) == '--' do
      if arguments[i] == '--' then i = i + 1 break end
      local option, value = arguments[i]:match('^%-%-([%a-]+)=?(.*)$')
      if option == 'quiet' or option == 'help' or option == 'version' then
         options[option] = true
         goto continue
      end
      if value == '' then
         i = i + 1
         value = arguments[i] or ''
      end
      if option == 'check' and value ~= '' then
         options.check = value
      else
         local digits, unit = value:match('^(%d+)([KMG]?)$')
         if not math.type(options[option]) or not digits then
            error(('--%s %s is not an option with a number'):format(option or '', value), 0)
         end
         options[option] = math.tointeger(digits) * UNITS[unit]
      end
      ::continue::
      i = i + 1
   end
   table.move(arguments, i, #arguments, 1, names)
   if options.help or options.version then
      print(options.help and USAGE or 'digest (libbufpool) ' .. BufPool.VERSION_S)
      os.exit(0)
   end
   if (#names == 0) == not options.check or options.workers < 1 then error(USAGE, 0) end
   return options, names
end

-- The names and the checksums in the output of digest or sha256sum.
local function read_sums(path)
   local file, problem = io.stdin, nil
   if path ~= '-' then file, problem = io.open(path) end
   if not file then return nil, problem end
   local names, sums, bad = {}, {}, 0
   for line in file:lines() do
      local mark, hexadecimal, name = line:match('^(\\?)(%x+) [ *](.+)$')
      if hexadecimal and #hexadecimal == 64 then
         if mark ~= '' then name = name:gsub('\\([\\nr])', { n = '\n', r = '\r', ['\\'] = '\\' }) end
         names[#names + 1], sums[#sums + 1] = name, hexadecimal:lower()
      elseif line ~= '' then
         bad = bad + 1
      end
   end
   if bad > 0 then
      local lines_are = bad == 1 and ' line is' or ' lines are'
      io.stderr:write('digest: WARNING: ', bad, lines_are, ' improperly formatted\n')
   end
   return names, sums
end

-- Not with new_for_path(), because lgi passes only UTF-8 as a path. In a URI, each byte can be encoded.
local function open_stream(name)
   if name == '-' then return UnixInputStream.new(0, false) end
   local uri = name:gsub('[^%w/]', function(byte) return ('%%%02X'):format(byte:byte()) end)
   local folder = name:sub(1, 1) == '/' and 'file://' or Gio.File.new_for_path('.'):get_uri() .. '/'
   return Gio.File.new_for_uri(folder .. uri):async_read()
end

-- The SHA-256 of one file, in hexadecimal; or nil and an error.
local function digest(pool, count, name)
   local checksum = GLib.Checksum.new('SHA256')
   local stream, problem = open_stream(name)
   if not stream then return nil, problem end

   repeat
      local allocation, capacity, size
      allocation, problem = pool:async_allocate(count) -- waits for memory
      if not allocation then return nil, problem end
      capacity = allocation:get_allocated_bytes()
      size, problem = allocation:async_fill_from_stream(stream, 0, capacity)
      if size then checksum:update(allocation:get_data():sub(1, math.tointeger(size))) end
      allocation:release()
      if not size then return nil, problem end
   until size < capacity
   return checksum:get_string()
end

-- Like sha256sum: one line for each file, whatever its name is.
local function escape(name)
   return (name:gsub('[\\\n\r]', { ['\\'] = '\\\\', ['\n'] = '\\n', ['\r'] = '\\r' }))
end

local function print_result(name, hexadecimal, problem)
   local escaped = escape(name)
   if hexadecimal then
      io.stdout:write(escaped == name and '' or '\\', hexadecimal, '  ', escaped, '\n')
   else
      io.stdout:flush()
      io.stderr:write('digest: ', escaped, ': ', tostring(problem), '\n')
   end
   return hexadecimal ~= nil
end

local function print_check(name, hexadecimal, problem, sum, quiet)
   local equal = hexadecimal == sum
   local shown = escape(name)
   if shown ~= name then shown = '\\' .. shown end
   if problem then io.stderr:write('digest: ', shown, ': ', tostring(problem), '\n') end
   if not equal or not quiet then
      io.stdout:write(shown, ': ', equal and 'OK' or hexadecimal and 'FAILED' or 'FAILED open or read', '\n')
   end
   return equal
end

local function run(pool, options, names, sums)
   local loop = GLib.MainLoop()
   local results, started, printed, status = {}, 0, 0, 0

   local function work()
      while started < #names do
         local number = started + 1
         started = number
         results[number] = table.pack(digest(pool, options.buffers, names[number]))
         while results[printed + 1] do
            printed = printed + 1
            local hexadecimal, problem = table.unpack(results[printed], 1, 2)
            local good
            if sums then
               good = print_check(names[printed], hexadecimal, problem, sums[printed], options.quiet)
            else
               good = print_result(names[printed], hexadecimal, problem)
            end
            if not good then status = 1 end
            results[printed] = false
         end
      end
      if printed == #names then loop:quit() end
   end

   -- An error in a coroutine is lost unless the program checks for it.
   local function work_or_fail()
      local worked, problem = xpcall(work, debug.traceback)
      if not worked then
         io.stderr:write('digest: ', problem, '\n')
         os.exit(1)
      end
   end

   GLib.idle_add(GLib.PRIORITY_DEFAULT, function()
      for _ = 1, options.workers do Gio.Async.start(work_or_fail)() end
      return false
   end)
   -- The interpreter handles a signal only while it runs Lua.
   signal_add(GLib.PRIORITY_HIGH, 2, function() os.exit(130) end)
   loop:run()
   return status
end

local parsed, options, names = pcall(parse_options, arg)
local pool, trial, problem
if parsed then
   pool, problem = BufPool.Pool.new(options['buffer-size'], options['max-memory'])
   if pool then trial, problem = pool:try_allocate(options.buffers) end
end
if not trial then
   io.stderr:write('digest: ', tostring(parsed and problem or options), '\n')
   os.exit(2)
end
trial:release() -- it fails immediately if it could never be granted

local sums
if options.check then
   names, sums = read_sums(options.check)
   if not names or #names == 0 then
      io.stderr:write('digest: ', tostring(names and 'no checksums' or sums), '\n')
      os.exit(1)
   end
end
os.exit(run(pool, options, names, sums))
