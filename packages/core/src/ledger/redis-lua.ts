import { PICO_PER_NANO } from "../domain/money.js";
import { GRANULE_MS } from "./series.js";
import { REMEMBER_MS } from "./shelf.js";
import { MIN_DAYS_KEPT, SUB_BUCKETS } from "./window.js";

/**
 * The ledger's arithmetic once more, in Lua, for a store that has to do it by itself: `book.ts`, `room.ts`, `series.ts` and
 * `window.ts` line by line, proven equal by the same suite and the same model. Lua 5.1 as in Redis ≥ 7; amounts are integers in
 * doubles. A function costs its making at every call of a script, so what is used once stands where it is used, and what only a
 * refusal needs is made there.
 *
 * KEYS: the head, the holds, the accounts, the counts of accounts. ARGV[2] is answered in the third place. ARGV[1] is one JSON
 * array (redis-sheet.ts):
 * 1. what the head must hold
 * 2. the time instead of the server's (tests only), or false
 * 3. the number of holds
 * 4. of each account the fields to read: "x" (the day on which it is forgotten; 0: never), then its series
 * 5. of each series [account, field, measure, kind, size, kept ms (−1: for ever), zone (UTC: nothing)]
 * 6. of each other zone [first day, its first ms, the first ms of the next day, …]
 *
 * and from the 7th on what the operation needs. A series is stored as MessagePack of held, buckets kept, { bucket, settled, … },
 * { granule, charged, released, … } and, on lifetime money, count, mean and variance.
 */
export const KIND = { lifetime: 0, clock: 1, sliding: 2, days: 3, week: 4, month: 5 } as const;
export const MEASURE = { usd: 0, tokens: 1, calls: 2, "in-flight": 3 } as const;
/** States of a remembered hold, which is stored as MessagePack of state, expiresAt, charges (1 or 0), amounts, attempt. */
export const STATE = { open: 1, settled: 2, released: 3, refused: 4 } as const;
const DAY_MS = 86_400_000;

/** What every script begins with: the time, the head and the holds. Nothing is written when the head is not the one expected. */
export const BEGIN = `
local R = cjson.decode(ARGV[1])
local floor, ceil, max, min = math.floor, math.ceil, math.max, math.min
local call, pack = redis.call, cmsgpack.pack
local now, ids, zones = R[2], R[3], R[6]
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + floor(time[2] / 1000)
end
local found = call('MGET', unpack(KEYS, 1, 1 + ids))
if found[1] ~= R[1] then return { 'lost', now, ARGV[2], found[1] } end
`;

/** `spanAt` of window.ts. The first day of a month is Howard Hinnant's civil_from_days, counting from 0000-03-01. */
const WINDOWS = `
local far = false
local function spanAt(kind, size, zone, at)
  if kind == ${KIND.lifetime} then return 0, 0, 0 end
  if kind == ${KIND.sliding} then
    local bucket = floor(at * ${SUB_BUCKETS} / size)
    return bucket - ${SUB_BUCKETS}, bucket, bucket - ${SUB_BUCKETS}
  end
  if kind == ${KIND.clock} then
    local bucket = floor(at / size)
    return bucket, bucket, bucket
  end
  local day
  if not zone then
    day = floor(at / ${DAY_MS})
  else
    local starts = zones[zone]
    local i = #starts
    if at < starts[2] or at >= starts[i] then
      if not far or at < far then far = at end
      return 0, 0, 0
    end
    repeat i = i - 1 until at >= starts[i]
    day = starts[1] + i - 2
  end
  if kind == ${KIND.days} then return day - size + 1, day, day - max(size, ${MIN_DAYS_KEPT}) end
  if kind == ${KIND.week} then return day - (day + 3) % 7, day, day - ${MIN_DAYS_KEPT} end
  local ofEra = (day + 719468) % 146097
  local year = floor((ofEra - floor(ofEra / 1460) + floor(ofEra / 36524) - floor(ofEra / 146096)) / 365)
  local ofYear = ofEra - (365 * year + floor(year / 4) - floor(year / 100))
  return day - ofYear + floor((153 * floor((5 * ofYear + 2) / 153) + 2) / 5), day, day - ${MIN_DAYS_KEPT}
end
`;

/** The accounts and their series, swept in memory: nothing is stored before SAVE. */
export const SERIES = `${WINDOWS}
local accounts, meters, series = R[4], R[5], {}
local stored, forgetOn = {}, {}
local function charge(i, amount, at)
  local meter, one = meters[i], series[i]
  local kind, size, zone = meter[4], meter[5], meter[7]
  local _, current, kept = spanAt(kind, size, zone, now)
  one[2] = max(one[2], current - kept)
  local oldest, buckets, bucket = current - one[2], one[3], current
  while buckets[1] and buckets[1] < oldest do
    table.remove(buckets, 1)
    table.remove(buckets, 1)
  end
  if at ~= now then _, bucket = spanAt(kind, size, zone, at) end
  if bucket < oldest then return end
  local n = #buckets
  while n > 0 and buckets[n - 1] > bucket do n = n - 2 end
  if n > 0 and buckets[n - 1] == bucket then
    buckets[n] = buckets[n] + amount
  else
    table.insert(buckets, n + 1, bucket)
    table.insert(buckets, n + 2, amount)
  end
end
local function settledIn(i, kind, size)
  local first, current = spanAt(kind, size, meters[i][7], now)
  local buckets, sum = series[i][3], 0
  for n = #buckets, 2, -2 do
    if buckets[n - 1] < first then break end
    if buckets[n - 1] <= current then sum = sum + buckets[n] end
  end
  return sum
end
for a = 1, #accounts do
  local fields = accounts[a]
  local values = call('HMGET', KEYS[1 + ids + a], unpack(fields))
  local day = values[1] and tonumber(values[1])
  if day and day ~= 0 and day * ${DAY_MS} <= now then
    -- Only with a time of the tests': Redis itself forgets it at that moment.
    call('DEL', KEYS[1 + ids + a])
    day, values = nil, {}
  end
  stored[a], forgetOn[a] = values, day
end
for i = 1, #meters do
  local meter = meters[i]
  local packed = stored[meter[1]][meter[2]]
  local one = packed and { cmsgpack.unpack(packed) } or { 0, 0, {}, {} }
  series[i] = one
  local held = one[4]
  while held[1] and held[1] * ${GRANULE_MS} <= now do
    local ended, charged, released = held[1] * ${GRANULE_MS}, held[2], held[3]
    one[1] = one[1] - charged - released
    for _ = 1, 3 do table.remove(held, 1) end
    if charged ~= 0 then charge(i, charged, ended) end
  end
end
`;

/** What the windows reach back to must have been among the zones' days; nothing has been written so far. */
export const COMPLETE = "if far then return { 'window', now, ARGV[2], far } end";

/** About to change series: `open` notes how long their accounts must be kept; `hold` is the one of series.ts. */
export const CHANGES = `
local changed, idleOn = {}, {}
local function open(i, ending)
  changed[i] = true
  local meter = meters[i]
  local a, kept, day = meter[1], meter[6], 0
  if kept >= 0 then day = max(1, ceil((ceil(ending / ${GRANULE_MS}) * ${GRANULE_MS} + kept) / ${DAY_MS})) end
  local before = idleOn[a] or forgetOn[a]
  if before ~= 0 and (day == 0 or not before or day > before) then idleOn[a] = day end
end
local function hold(i, amount, expiresAt, charges)
  local one, granule = series[i], ceil(expiresAt / ${GRANULE_MS})
  local held = one[4]
  one[1] = one[1] + amount
  local n = #held
  while n > 0 and held[n - 2] > granule do n = n - 3 end
  if n > 0 and held[n - 2] == granule then
    n = n - 3
  else
    table.insert(held, n + 1, granule)
    table.insert(held, n + 2, 0)
    table.insert(held, n + 3, 0)
  end
  -- In-flight is never charged.
  n = n + (charges == 1 and meters[i][3] ~= ${MEASURE["in-flight"]} and 2 or 3)
  held[n] = held[n] + amount
end
`;

/**
 * The `unhold` of series.ts; true when the amount was still held. It is not where the server's time was set back behind the end
 * of a lease that had been swept: then it has been charged or given back already.
 */
export const UNHOLD = `
local function unhold(i, amount, expiresAt, charges)
  local one, granule = series[i], ceil(expiresAt / ${GRANULE_MS})
  local held = one[4]
  for n = #held - 2, 1, -3 do
    if held[n] == granule then
      one[1] = one[1] - amount
      local at = n + (charges == 1 and meters[i][3] ~= ${MEASURE["in-flight"]} and 1 or 2)
      held[at] = held[at] - amount
      if held[n + 1] == 0 and held[n + 2] == 0 then
        for _ = 1, 3 do table.remove(held, n) end
      end
      return true
    end
  end
end
`;

/**
 * A slice as { expiresAt, charges, amounts }, when it can be drawn from: it is the second of the holds. `move` takes amounts out
 * of it, negative ones put back; `at` is where each meter is in it.
 */
export const SLICE = `
local function openSlice()
  local state, expiresAt, charges, amounts, attempt
  if found[3] then state, expiresAt, charges, amounts, attempt = cmsgpack.unpack(found[3]) end
  if state ~= ${STATE.open} or now >= ceil(expiresAt / ${GRANULE_MS}) * ${GRANULE_MS} then return nil end
  return { expiresAt, charges, amounts, attempt }
end
`;
export const MOVE = `
local function move(slice, at, taken)
  for i = 1, #taken do
    local amount = taken[i]
    if amount ~= 0 then
      slice[3][at[i]] = slice[3][at[i]] - amount
      open(i, slice[1])
      if amount > 0 then unhold(i, amount, slice[1], slice[2]) else hold(i, -amount, slice[1], slice[2]) end
    end
  end
end
`;

/** Writes what has changed: one command an account, two more when the day moves on which it is forgotten. */
export const SAVE = `
local writes = {}
for i = 1, #meters do
  local meter = meters[i]
  if changed[i] then
    local a, one = meter[1], series[i]
    local list = writes[a]
    if not list then
      list = {}
      writes[a] = list
    end
    list[#list + 1] = accounts[a][meter[2]]
    list[#list + 1] = one[5] and pack(unpack(one)) or pack(one[1], one[2], one[3], one[4])
  end
end
for a, list in pairs(writes) do
  local key, day = KEYS[1 + ids + a], idleOn[a]
  if day then
    list[#list + 1] = 'x'
    list[#list + 1] = day
  end
  call('HSET', key, unpack(list))
  if day then
    local counts, today = KEYS[#KEYS], floor(now / ${DAY_MS})
    if forgetOn[a] then call('HINCRBY', counts, forgetOn[a], -1) end
    call('HINCRBY', counts, day, 1)
    if today > 0 then call('HDEL', counts, today) end
    if day == 0 then call('PERSIST', key) else call('PEXPIRE', key, ceil(day * ${DAY_MS} - now)) end
  end
end
`;

/**
 * Keeps a hold as long as its id must be known. Comes before SAVE: Redis fails at a time that is none, a script that fails keeps
 * what it has written, and a charge without its id would be made again by every retry.
 */
export const REMEMBER = `
local function remember(key, state, expiresAt, charges, amounts, attempt)
  local record = attempt and pack(state, expiresAt, charges, amounts, attempt) or pack(state, expiresAt, charges, amounts)
  call('SET', key, record, 'PX', ceil(max(expiresAt - now, 0)) + ${REMEMBER_MS})
end
`;

/**
 * `roomFor` of room.ts. A claim is [series, limit (false: none, true: stored), fixed, per token] and, where it is not the series' own
 * window, not the measure's scale, in shadow or stored, [… kind, size, scale, shadow, field of the stored limit]: parsing numbers is
 * what costs a script most. R[7] the claims, R[8] want, R[9] floor, R[10] where each series is in the slice (0: nowhere), or false.
 */
export const ROOM = `
local claims, want, slice = R[7], R[8], nil
for n = 1, #claims do
  local claim = claims[n]
  if not claim[5] then
    local meter = meters[claim[1]]
    claim[5], claim[6], claim[7], claim[8] = meter[4], meter[5], meter[3] == ${MEASURE.usd} and ${PICO_PER_NANO} or 1, 0
  end
end
local function amountOf(claim, n) return ceil((claim[3] + claim[4] * n) / claim[7]) end
local function roomOf(claim)
  local i, limit = claim[1], claim[2]
  if limit == true then limit = tonumber(stored[meters[i][1]][claim[9]] or 0) end
  local settled = settledIn(i, claim[5], claim[6])
  local available = limit - settled - series[i][1]
  if slice and R[10][i] > 0 then available = available + slice[3][R[10][i]] end
  if not (settled < limit and available >= 0) then return -1 end
  if amountOf(claim, want) <= available then return want end
  local n = -1
  if claim[4] ~= 0 then n = floor((available * claim[7] - claim[3]) / claim[4]) end
  while n >= 0 and amountOf(claim, n) > available do n = n - 1 end
  return n >= 0 and min(n, want) or -1
end
`;

/** What a claim without room saw: [claim, settled, held, stored limit, the bucket that has to leave (−1: none)]. */
export const SHORTAGE = `
local function shortage(at)
  local claim = claims[at]
  local i, limit = claim[1], claim[2]
  if limit == true then limit = tonumber(stored[meters[i][1]][claim[9]] or 0) end
  local settled, held, bucket = settledIn(i, claim[5], claim[6]), series[i][1], -1
  if slice and R[10][i] > 0 then held = held - slice[3][R[10][i]] end
  local left, amount, first = settled, amountOf(claim, want), spanAt(claim[5], claim[6], meters[i][7], now)
  if amount <= limit and limit > 0 and not (left < limit and left + amount <= limit) then
    local buckets = series[i][3]
    for n = 1, #buckets, 2 do
      if buckets[n] >= first then left = left - buckets[n + 1] end
      if left < limit and left + amount <= limit then
        bucket = buckets[n]
        break
      end
    end
  end
  return { at - 1, settled, held, claim[2] == true and limit or 0, bucket }
end
local function shortages(n, shadows)
  local list = {}
  for at = 1, #claims do
    local claim = claims[at]
    if claim[2] and (shadows or claim[8] == 0) and roomOf(claim) < n then list[#list + 1] = shortage(at) end
  end
  return list
end
`;

/** Of each view [series] or [series, kind, size]: settled, held and, of lifetimes, count, mean and variance (as text: they are no integers). */
export const READINGS = `
local readings = {}
for n = 1, #R[7] do
  local view = R[7][n]
  local i = view[1]
  local one, kind = series[i], view[2] or meters[i][4]
  readings[#readings + 1] = settledIn(i, kind, view[3] or meters[i][5])
  readings[#readings + 1] = one[1]
  if kind == ${KIND.lifetime} then
    readings[#readings + 1] = one[5] or 0
    readings[#readings + 1] = string.format('%.17g', one[6] or 0)
    readings[#readings + 1] = string.format('%.17g', one[7] or 0)
  end
end
`;
