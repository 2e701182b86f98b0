/**
 * The Redis budget's operations in Lua, each one atomic step on the server's clock. A script reads all it needs before
 * it writes anything: a write that Redis turns away (memory, a read-only replica, a slot on the move) is then the
 * first one, and nothing is half done.
 *
 * What is kept, every name behind the ledger's prefix:
 * - `hold:<id>`, a hash: `state`, and while it is pending `lapsesAt`, `lines` (JSON), `births` (JSON) and `once`.
 * - `once:<key>`, a hash that answers look-ups by itself: `fingerprint`, `state`, `lapsesAt`, `outcome` (JSON).
 * - `bucket:<key>`, a hash: `spent`, `held`, `keptUntil`, `birth`.
 * - `pending:<key>`, the bucket's holds as `<amount>:<id>`, sorted by when they lapse. `held` is their sum. A lapsed
 *   one counts as spent from that instant, and is moved to `spent` when the next call changes the bucket.
 *
 * A bucket that somebody deleted, or the server evicted, may be made anew while holds on the old one are pending: what
 * is not in it must not be taken out of it, or it would grant too much. Its `birth`, the id of the hold it was made
 * for, tells the two apart; holds of versions before have none, and fit any.
 *
 * Every key expires. A bucket outlives the holds on it, whatever `expiresAt` said, so a settlement always finds it, and
 * an app server whose clock is behind cannot have a bucket purged that is still drawn on.
 *
 * Lua's numbers are doubles like JavaScript's: exact up to 2^53 - 1, where sums stop. Only `text` writes them out,
 * because Lua's own conversion keeps 14 digits.
 */
import { hash } from 'node:crypto';

/** A script and the name the server knows it by once it has seen it. */
export interface Script {
  /** Its source. */
  readonly text: string;
  /** The SHA-1 of the source, in hexadecimal. */
  readonly sha1: string;
}

const HOUR_MS = 3_600_000;

const SHARED = `
local KEEP_CLOSED_MS = ${24 * HOUR_MS}
local KEEP_RELEASED_MS = ${HOUR_MS}
local LARGEST = ${Number.MAX_SAFE_INTEGER}

local prefix = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function text(number)
  return string.format('%.0f', number)
end

local function bucketOf(key)
  local bucket = { name = prefix .. 'bucket:' .. key, pending = prefix .. 'pending:' .. key }
  local fields = redis.call('HMGET', bucket.name, 'spent', 'held', 'keptUntil', 'birth')
  bucket.isNew = not fields[1]
  bucket.birth = fields[4]
  bucket.spent = tonumber(fields[1] or 0)
  bucket.held = tonumber(fields[2] or 0)
  bucket.keptUntil = tonumber(fields[3] or 0)
  if bucket.isNew then return bucket end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', bucket.pending, '-inf', text(now))) do
    local amount = tonumber(string.match(member, '^%d+'))
    bucket.held = bucket.held - amount
    bucket.spent = math.min(bucket.spent + amount, LARGEST)
    bucket.lapsed = true
  end
  return bucket
end

local function save(bucket)
  redis.call('HSET', bucket.name, 'spent', text(bucket.spent), 'held', text(bucket.held))
  if bucket.lapsed then redis.call('ZREMRANGEBYSCORE', bucket.pending, '-inf', text(now)) end
end

local function holdOf(id)
  local name = prefix .. 'hold:' .. id
  local fields = redis.call('HMGET', name, 'state', 'lapsesAt', 'lines', 'once', 'births')
  if not fields[1] then return { name = name } end
  local hold = { name = name, state = fields[1] }
  if hold.state == 'pending' then
    hold.text = fields[3]
    hold.lines = cjson.decode(fields[3])
    hold.births = fields[5] and cjson.decode(fields[5])
    hold.once = fields[4] and prefix .. 'once:' .. fields[4]
    if tonumber(fields[2]) <= now then hold.state = 'lapsed' end
  end
  return hold
end

local function lookUp(once, fingerprint)
  local fields = redis.call('HMGET', prefix .. 'once:' .. once, 'fingerprint', 'state', 'lapsesAt', 'outcome')
  if not fields[1] then return nil end
  if fields[1] ~= fingerprint then return { 'seen', 'conflict' } end
  if fields[2] == 'pending' and tonumber(fields[3]) <= now then return { 'seen', 'lapsed' } end
  return { 'seen', fields[2], fields[4] or '' }
end

local function settle(id, hold, to)
  local buckets = {}
  for index, line in ipairs(hold.lines) do buckets[index] = bucketOf(line.key) end
  local once = hold.once and redis.call('EXISTS', hold.once) == 1 and hold.once
  -- First, because Redis takes this one also when its memory is full, and then the rest: settling frees more.
  redis.call('PEXPIREAT', hold.name, text(now + to.keepMs))
  redis.call('HDEL', hold.name, 'lapsesAt', 'lines', 'once', 'births')
  redis.call('HSET', hold.name, 'state', to.state)
  for index, line in ipairs(hold.lines) do
    local bucket = buckets[index]
    -- Made here, one that is gone would never expire.
    if not bucket.isNew and (not hold.births or hold.births[index] == bucket.birth) then
      if hold.state == 'lapsed' then
        bucket.spent = bucket.spent - line.amount
      else
        bucket.held = bucket.held - line.amount
        redis.call('ZREM', bucket.pending, text(line.amount) .. ':' .. id)
      end
      bucket.spent = math.min(bucket.spent + (to.amounts[line.key] or 0), LARGEST)
      save(bucket)
    end
  end
  if once and to.state == 'released' then redis.call('DEL', once) end
  if once and to.state == 'settled' then
    redis.call('HSET', once, 'state', 'settled', 'outcome', to.outcome)
    redis.call('PEXPIREAT', once, text(now + to.keepMs))
  end
end
`;

function script(body: string): Script {
  const text = SHARED + body;
  return { text, sha1: hash('sha1', text) };
}

/**
 * Arguments: prefix, id, lines (JSON of key and amount), terms (JSON of limit and expiresAt, of each line), lease in
 * milliseconds, once key or nothing, fingerprint. Answers `held`, the lines and spent and held of each; `refused` and
 * key and left of each line that does not fit; what `recall` answers; or `closed`.
 */
export const RESERVE: Script = script(`
local id, lines, terms, once, fingerprint = ARGV[2], ARGV[3], cjson.decode(ARGV[4]), ARGV[6], ARGV[7]
local lapsesAt = now + tonumber(ARGV[5])

local function granted(held, buckets)
  local answer = { 'held', held }
  for _, bucket in ipairs(buckets) do
    table.insert(answer, text(bucket.spent))
    table.insert(answer, text(bucket.held))
  end
  return answer
end

local hold = holdOf(id)
local buckets = {}
if hold.state == 'pending' then
  for index, line in ipairs(hold.lines) do buckets[index] = bucketOf(line.key) end
  return granted(hold.text, buckets)
end
if hold.state then return { 'closed' } end

local seen = once ~= '' and lookUp(once, fingerprint)
if seen then return seen end

local decoded = cjson.decode(lines)
local refused = { 'refused' }
for index, line in ipairs(decoded) do
  local bucket = bucketOf(line.key)
  local left = terms[index].limit - bucket.spent - bucket.held
  if line.amount > left then
    table.insert(refused, line.key)
    table.insert(refused, text(math.max(left, 0)))
  end
  buckets[index] = bucket
end
if #refused > 1 then
  -- What has lapsed is moved here too: a bucket that is full of it would be added up for every refusal.
  for _, bucket in ipairs(buckets) do
    if bucket.lapsed then save(bucket) end
  end
  return refused
end

local births = {}
for index, bucket in ipairs(buckets) do
  if not bucket.birth then bucket.birth = id end
  births[index] = bucket.birth
end
local keptUntil = lapsesAt + KEEP_CLOSED_MS
redis.call('HSET', hold.name, 'state', 'pending', 'lapsesAt', text(lapsesAt), 'lines', lines,
  'births', cjson.encode(births))
redis.call('PEXPIREAT', hold.name, text(keptUntil))
if once ~= '' then
  local name = prefix .. 'once:' .. once
  redis.call('HSET', hold.name, 'once', once)
  redis.call('HSET', name, 'fingerprint', fingerprint, 'state', 'pending', 'lapsesAt', text(lapsesAt))
  redis.call('PEXPIREAT', name, text(keptUntil))
end
for index, line in ipairs(decoded) do
  local bucket = buckets[index]
  bucket.held = bucket.held + line.amount
  bucket.keptUntil = math.max(bucket.keptUntil, terms[index].expiresAt, keptUntil)
  -- What is left of a bucket that is gone.
  if bucket.isNew then redis.call('DEL', bucket.pending) end
  save(bucket)
  redis.call('HSET', bucket.name, 'keptUntil', text(bucket.keptUntil), 'birth', bucket.birth)
  redis.call('ZADD', bucket.pending, text(lapsesAt), text(line.amount) .. ':' .. id)
  redis.call('PEXPIREAT', bucket.name, text(bucket.keptUntil))
  redis.call('PEXPIREAT', bucket.pending, text(bucket.keptUntil))
end
return granted(lines, buckets)
`);

/** Arguments: prefix, once key, fingerprint. Answers `seen`, the state and the outcome or nothing; or `unknown`. */
export const RECALL: Script = script(`
return lookUp(ARGV[2], ARGV[3]) or { 'unknown' }
`);

/**
 * Arguments: prefix, id, lines (JSON of key and amount), outcome (JSON) or nothing. Answers `settled`, `already` or
 * `unknown`; or `foreign` and the lines of the hold, when one of those given is not among them.
 */
export const COMMIT: Script = script(`
local hold = holdOf(ARGV[2])
if not hold.state then return { 'unknown' } end
if not hold.lines then return { 'already' } end
local amounts, isHeld = {}, {}
for _, line in ipairs(hold.lines) do isHeld[line.key] = true end
for _, line in ipairs(cjson.decode(ARGV[3])) do
  if not isHeld[line.key] then return { 'foreign', hold.text } end
  amounts[line.key] = line.amount
end
settle(ARGV[2], hold, { state = 'settled', keepMs = KEEP_CLOSED_MS, amounts = amounts, outcome = ARGV[4] })
return { 'settled' }
`);

/** Arguments: prefix, id. Answers `released`, `already` or `unknown`. */
export const RELEASE: Script = script(`
local hold = holdOf(ARGV[2])
if not hold.state then
  redis.call('HSET', hold.name, 'state', 'released')
  redis.call('PEXPIREAT', hold.name, text(now + KEEP_RELEASED_MS))
  return { 'unknown' }
end
if not hold.lines then return { 'already' } end
settle(ARGV[2], hold, { state = 'released', keepMs = KEEP_RELEASED_MS, amounts = {} })
return { 'released' }
`);

/** Arguments: prefix, keys. Answers spent and held of each key. Writes nothing. */
export const READ: Script = script(`
local answer = {}
for index = 2, #ARGV do
  local bucket = bucketOf(ARGV[index])
  table.insert(answer, text(bucket.spent))
  table.insert(answer, text(bucket.held))
end
return answer
`);
