-- POST, and what came of it: one line.
wrk.method = "POST"
local threads = {}
function setup(thread) table.insert(threads, thread) end
function response(status)
  total = (total or 0) + 1
  if status ~= 200 then failed = (failed or 0) + 1 end
end
function done(summary, latency)
  local n, f = 0, 0
  for _, thread in ipairs(threads) do
    n = n + (thread:get("total") or 0)
    f = f + (thread:get("failed") or 0)
  end
  io.write(string.format("result: %6.0f requests/s, %d failed, p50 %.1f ms, p99 %.1f ms\n", n / summary.duration * 1e6, f,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
