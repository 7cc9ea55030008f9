-- Nine transfers, then the sum, which must be 10000: one line of what came of it.
local threads, n = {}, 0
function setup(thread) table.insert(threads, thread) end
function request()
  n = n + 1
  return wrk.format(n % 10 == 0 and "GET" or "POST", nil, nil, n % 10 ~= 0 and "x" or nil)
end
function response(status, headers, body)
  if status ~= 200 then failed = (failed or 0) + 1
  elseif body == "moved" then moved = (moved or 0) + 1
  elseif body == "poor" then poor = (poor or 0) + 1
  elseif body == "sum 10000" then sums = (sums or 0) + 1
  else wrong = (wrong or 0) + 1 end
end
local function total(name)
  local sum = 0
  for _, thread in ipairs(threads) do sum = sum + (thread:get(name) or 0) end
  return sum
end
function done(summary, latency)
  io.write(string.format("result: %d moved, %d without the money, %d sums right, %d wrong, %d failed, %.0f requests/s, p99 %.1f ms\n",
    total("moved"), total("poor"), total("sums"), total("wrong"), total("failed"),
    summary.requests / summary.duration * 1e6, latency:percentile(99) / 1000))
end
