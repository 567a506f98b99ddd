import { createHash } from "node:crypto";
import {
  BEGIN,
  CHANGES,
  COMPLETE,
  KIND,
  MEASURE,
  MOVE,
  READINGS,
  REMEMBER,
  ROOM,
  SAVE,
  SERIES,
  SHORTAGE,
  SLICE,
  STATE,
  UNHOLD,
} from "./redis-lua.js";
import { GRANULE_MS } from "./series.js";
import { REMEMBER_MS } from "./shelf.js";

/** One operation of the ledger as a script: sent by its digest, and whole where the server does not know it yet. */
export interface RedisScript {
  readonly text: string;
  readonly sha: string;
}

/** Where memory is short, what is owed still gets through: these scripts may pass `maxmemory`, which Redis allows by a flag. */
const URGENT = "#!lua flags=allow-oom";
/** Not run when memory is short: it would only hold more. */
const PATIENT = "#!lua";

/** An account's state as names and values; series have longer names. */
const STATE_OF = `
local function stateOf(key)
  local all, list = call('HGETALL', key), {}
  for n = 1, #all, 2 do
    if (#all[n] <= 2 and all[n] ~= 'x') or string.sub(all[n], 1, 2) == 'n:' then
      list[#list + 1] = all[n]
      list[#list + 1] = all[n + 1]
    end
  end
  return list
end
`;

/**
 * R[7 … 10]: see ROOM. R[11] the first claim of each series, R[12] take the largest, R[13] lease ms, R[14] charges, R[15] named,
 * R[16] not after, R[17] most accounts, R[18] [account, version] of each state that was seen,
 * R[19] the attempt, of a chosen id, or false.
 */
const RESERVE = `
if R[16] and now > R[16] then return { 'late', now, ARGV[2] } end
local stale
for at = 1, #R[18] do
  local seen = R[18][at]
  local key = KEYS[1 + ids + seen[1]]
  if tonumber(call('HGET', key, 'v') or 0) ~= seen[2] then
    ${STATE_OF}
    stale = stale or { 'stale', now, ARGV[2] }
    stale[#stale + 1] = { at - 1, stateOf(key) }
  end
end
if stale then return stale end
if found[2] then
  local _, expiresAt = cmsgpack.unpack(found[2])
  if now < expiresAt + ${REMEMBER_MS} then return { 'duplicate', now, ARGV[2] } end
end
${SERIES}${ROOM}
if R[10] then
  ${SLICE}
  slice = openSlice()
end
local n, refused, shadowed = want, false, {}
for at = 1, #claims do
  local claim = claims[at]
  if claim[2] then
    local most = roomOf(claim)
    if most < want then
      if claim[8] == 1 then
        ${SHORTAGE}
        shadowed[#shadowed + 1] = shortage(at)
      elseif most < R[9] or not R[12] then refused = true
      elseif most < n then n = most end
    end
  end
end
if refused then
  ${SHORTAGE}
  local short = shortages(R[12] and R[9] or want, false)
  ${COMPLETE}
  return { 'short', now, ARGV[2], short }
end
if R[17] then
  local fresh = 0
  for a = 1, #accounts do
    if not forgetOn[a] then fresh = fresh + 1 end
  end
  if fresh > 0 then
    local counts, today = call('HGETALL', KEYS[#KEYS]), floor(now / 86400000)
    for at = 1, #counts, 2 do
      local day = tonumber(counts[at])
      if day == 0 or day > today then fresh = fresh + counts[at + 1] end
    end
    if fresh > R[17] then return { 'full', now, ARGV[2] } end
  end
end
${CHANGES}
local expiresAt, charges, amounts, drawn = now + R[13], R[14], {}, nil
for i = 1, #meters do amounts[i] = amountOf(claims[R[11][i]], n) end
if slice then
  ${UNHOLD}${MOVE}
  drawn = {}
  for i, amount in ipairs(amounts) do drawn[i] = R[10][i] > 0 and min(slice[3][R[10][i]], amount) or 0 end
  move(slice, R[10], drawn)
end
for i = 1, #amounts do
  local amount = amounts[i]
  open(i, expiresAt)
  if meters[i][3] == ${MEASURE.calls} then charge(i, amount, now) else hold(i, amount, expiresAt, charges) end
end
${COMPLETE}
${REMEMBER}
if #claims > 0 or R[15] then remember(KEYS[2], ${STATE.open}, expiresAt, charges, amounts, R[19] or nil) end
if slice then remember(KEYS[3], ${STATE.open}, unpack(slice)) end
${SAVE}
return { 'held', now, ARGV[2], n, shadowed, drawn }
`;

const CHECK = `
${SERIES}${ROOM}${SLICE}${SHORTAGE}
slice = R[10] and openSlice()
local short = shortages(want, true)
${COMPLETE}
return { 'short', now, ARGV[2], short }
`;

const READ = `
${SERIES}${READINGS}
${COMPLETE}
return { 'read', now, ARGV[2], readings }
`;

/**
 * `settle` and `release` of book.ts. R[7] the views; of the hold, whose series come first: R[8] amounts, R[9] expiresAt,
 * R[10] charges, R[11] named, R[12] it is of this life, R[13] it was made without the ledger. R[14] settles, with R[15] nano-USD,
 * R[16] tokens, R[17] known; a release has zeros. R[18] where its series are in the slice it drew from, and R[19] how much, or false.
 * R[20] its attempt, or false.
 */
const CLOSE = `
local state, expiresAt, charges, amounts, attempt
if found[2] then
  state, expiresAt, charges, amounts, attempt = cmsgpack.unpack(found[2])
  if now >= expiresAt + ${REMEMBER_MS} then state = nil end
end
${SERIES}${CHANGES}
local given, ours, settles, slice = R[8], R[12], R[14], nil
local function average(i, used)
  if not R[17] or meters[i][3] ~= ${MEASURE.usd} or meters[i][4] ~= ${KIND.lifetime} then return end
  local one = series[i]
  local mean = one[6] or used
  local off = used - mean
  one[5], one[6], one[7] = (one[5] or 0) + 1, mean + 0.3 * off, 0.7 * ((one[7] or 0) + 0.3 * off * off)
end
local outcome, becomes = 'duplicate', nil
local isClosed = not state and ours and (R[10] == 1 or now < R[9] + ${REMEMBER_MS})
local isOthers = not ours
if R[13] then isOthers = attempt ~= (R[20] or nil) end
local isForeign = state == ${STATE.open} and isOthers
if state == ${STATE.open} and not isForeign then
  ${UNHOLD}
  local ending = ceil(expiresAt / ${GRANULE_MS}) * ${GRANULE_MS}
  local inTime = now < ending
  for i = 1, #amounts do
    local amount = amounts[i]
    local measure = meters[i][3]
    if measure ~= ${MEASURE.calls} then
      open(i, now)
      local used = measure == ${MEASURE.usd} and R[15] or measure == ${MEASURE.tokens} and R[16] or 0
      if inTime and unhold(i, amount, expiresAt, charges) then
        if used > 0 then charge(i, used, now) end
      else
        local difference = used
        if charges == 1 and measure ~= ${MEASURE["in-flight"]} then difference = used - amount end
        if difference ~= 0 then charge(i, difference, difference < 0 and ending or now) end
      end
      average(i, used)
    end
  end
  if inTime and R[18] then
    ${SLICE}${MOVE}
    slice = openSlice()
    if slice then
      local back = {}
      for i = 1, #amounts do
        local amount = amounts[i]
        local used = meters[i][3] == ${MEASURE.usd} and R[15] or meters[i][3] == ${MEASURE.tokens} and R[16] or 0
        back[i] = -max(0, R[19][i] - used - given[i] + amount)
      end
      move(slice, R[18], back)
    end
  end
  outcome = not inTime and 'corrected' or settles and 'settled' or 'released'
  becomes = settles and ${STATE.settled} or ${STATE.released}
elseif settles and (isForeign or state ~= ${STATE.settled} and not isClosed) then
  for i = 1, #given do
    local amount = given[i]
    local measure = meters[i][3]
    local used = measure == ${MEASURE.usd} and R[15] or measure == ${MEASURE.tokens} and R[16] or 0
    if measure == ${MEASURE.calls} and not ours then used = amount end
    if used ~= 0 or measure == ${MEASURE.usd} then
      open(i, now)
      if used > 0 then charge(i, used, now) end
      average(i, used)
    end
  end
  outcome = state == ${STATE.released} and 'corrected' or 'orphan'
  -- Another life's hold of the same id: the open call of this one stays open.
  becomes = not isForeign and ${STATE.settled}
elseif not settles and not state and not isClosed then
  outcome, becomes = 'released', ${STATE.refused}
end
${READINGS}
${COMPLETE}
${REMEMBER}
local outlived = R[10] == 0 and now >= R[9]
local isForgotten = outcome == 'settled' and not R[11] and not outlived
if becomes and not isForgotten then
  remember(KEYS[2], becomes, max(expiresAt or R[9], now), charges or R[10], amounts or given)
end
if slice then remember(KEYS[3], ${STATE.open}, unpack(slice)) end
${SAVE}
if isForgotten then call('DEL', KEYS[2]) end
return { outcome, now, ARGV[2], readings }
`;

/** R[7] the series of each hold, R[8] ms. */
const RENEW = `
${SERIES}${CHANGES}${UNHOLD}${REMEMBER}
local isOpen, kept, ending = {}, {}, now + R[8]
for at = 1, #R[7] do
  local own = R[7][at]
  local key, state, expiresAt, charges, amounts, attempt = KEYS[1 + at], nil, nil, nil, nil, nil
  if kept[key] then
    -- A hold that is named twice is renewed once.
    isOpen[at] = 1
  else
    if found[1 + at] then state, expiresAt, charges, amounts, attempt = cmsgpack.unpack(found[1 + at]) end
    if state == ${STATE.open} and now < ceil(expiresAt / ${GRANULE_MS}) * ${GRANULE_MS} then
      for n = 1, #own do
        local i = own[n]
        if meters[i][3] ~= ${MEASURE.calls} then
          open(i, ending)
          unhold(i, amounts[n], expiresAt, charges)
          hold(i, amounts[n], ending, charges)
        end
      end
      kept[key] = { charges, amounts, attempt }
    end
    isOpen[at] = kept[key] and 1 or 0
  end
end
${COMPLETE}
for key, record in pairs(kept) do remember(key, ${STATE.open}, ending, unpack(record)) end
${SAVE}
return { 'renewed', now, ARGV[2], isOpen }
`;

/**
 * R[7] something changes, R[8] is added to the limit, R[9] fields (name, value, …) set, R[10] fields removed, R[11] once-id or false,
 * R[12] once-ids kept. An account that was amended is never forgotten.
 */
const AMEND = `
${STATE_OF}
local key, counts = KEYS[2], KEYS[#KEYS]
local once = R[11] and call('HGET', key, 'once')
once = once and cmsgpack.unpack(once) or {}
local applied = R[7]
for n = 1, #once do
  local id = once[n]
  if id == R[11] then applied = false end
end
if applied then
  -- Whatever can fail comes before the first write.
  local limit = (call('HGET', key, 'l') or 0) + R[8]
  local day = tonumber(call('HGET', key, 'x') or -1)
  if day > 0 then call('HINCRBY', counts, day, -1) end
  if day ~= 0 then
    call('HINCRBY', counts, 0, 1)
    call('HSET', key, 'x', 0)
    call('PERSIST', key)
  end
  call('HINCRBY', key, 'v', 1)
  if R[8] ~= 0 then call('HSET', key, 'l', limit) end
  for n = 1, #R[9], 2 do call('HSET', key, R[9][n], R[9][n + 1]) end
  for _, field in ipairs(R[10]) do call('HDEL', key, field) end
  if R[11] then
    once[#once + 1] = R[11]
    while #once > R[12] do table.remove(once, 1) end
    call('HSET', key, 'once', pack(once))
  end
end
return { applied and 'applied' or 'unchanged', now, ARGV[2], stateOf(key) }
`;

/** Finds the life in the store, or begins the one proposed. */
const LIFE = `
local time = redis.call('TIME')
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return { 'life', time[1] * 1000 + math.floor(time[2] / 1000), ARGV[2], redis.call('GET', KEYS[1]) }
`;

/** On the server that has the head: a client of a cluster cannot ask that by itself. */
const INFO = "return { 'info', 0, ARGV[2], redis.call('INFO') }";

function script(...parts: string[]): RedisScript {
  const text = parts.join("\n");
  return { text, sha: createHash("sha1").update(text).digest("hex") };
}

export const scripts = {
  life: script(URGENT, LIFE),
  info: script(URGENT, INFO),
  reserve: script(PATIENT, BEGIN, RESERVE),
  check: script(PATIENT, BEGIN, CHECK),
  close: script(URGENT, BEGIN, CLOSE),
  renew: script(URGENT, BEGIN, RENEW),
  read: script(URGENT, BEGIN, READ),
  amend: script(URGENT, BEGIN, AMEND),
} as const;
