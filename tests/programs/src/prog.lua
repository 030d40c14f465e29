-- Lua: coroutines, tables and string buffers, checked at every step.
local stop, t, sum = arg[1], {}, 0
local co = coroutine.wrap(function() local i = 0 while true do i = i + 1 coroutine.yield(i * i) end end)
io.stdout:setvbuf("line")
local function exists(p) local f = io.open(p) if f then f:close() end return f ~= nil end
print("ready")
local n = 0
while not exists(stop) do
  n = n + 1
  print("step " .. n)
  local v = co()
  assert(v == n * n, "FAIL coroutine")
  t[#t + 1] = v
  sum = sum + v
  local got = 0
  for _, x in ipairs(t) do got = got + x end
  assert(got == sum and sum == n * (n + 1) * (2 * n + 1) // 6, "FAIL table")
  local until_ = os.clock() + 0.01
  while os.clock() < until_ do end
end
print("PASS")
