-- SPDX-License-Identifier: Apache-2.0
-- wrk's script: sends the bodies of a file (one a line) in turn, and prints what happened as one line.
local requests, position, of = {}, 0, 0

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  for body in io.lines(args[1]) do
    of = of + 1
    requests[of] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  position = position % of + 1
  return requests[position]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format("WRK %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
