-- Creates a job and its units, unless the idempotency key, the queue's bounds or the owner's share say otherwise.
local id, owner, settings = args.id, args.job.owner, args.settings
if args.idempotency then
  local known = redis.call('GET', key('idempotency:' .. args.idempotency))
  if known then
    known = cjson.decode(known)
    if exists(known.id) then
      if known.hash == args.job.request_hash then return answer({outcome = 'existing', id = known.id}) end
      return answer({outcome = 'conflict', id = known.id})
    end
  end
end
for _, scope in ipairs({'queue', 'owner'}) do
  local where = scope == 'queue' and key('load') or key('load:' .. owner)
  for what, limit in pairs(args.bounds[scope]) do
    local current = tonumber(redis.call('HGET', where, what) or 0)
    local wanted = what == 'jobs' and 1 or args.load[what]
    if wanted > 0 and current + wanted > limit then
      return answer({outcome = scope, what = what, current = current, wanted = wanted, limit = limit})
    end
  end
end
for field, value in pairs(args.job) do set(id, field, value) end
set(id, 'id', id, 'status', 'queued', 'stop', '', 'created', now, 'total', args.load.molecules,
    'left_molecules', args.load.molecules, 'left_evaluations', args.load.evaluations,
    'shards', #args.shards, 'open', #args.shards)
if args.deadline then
  set(id, 'deadline', now + args.deadline)
  redis.call('ZADD', key('deadlines'), now + args.deadline, id)
end
for i, shard in ipairs(args.shards) do
  shard.attempt, shard.token = 0, 0
  queue_unit(id, tostring(i - 1), shard, now)
end
save_unit(id, 'final', {start = 0, count = 0, attempt = 0, token = 0, status = 'waiting'})
redis.call('ZADD', key('active'), now, id)
redis.call('ZADD', key('jobs'), 0, id)
redis.call('ZADD', key('jobs:' .. owner), 0, id)
load_changes(owner, 1, args.load.molecules, args.load.evaluations)
if args.idempotency then
  redis.call('SET', key('idempotency:' .. args.idempotency), cjson.encode({id = id, hash = args.job.request_hash}),
             'PX', settings.idempotency)
  set(id, 'idempotency', args.idempotency)
end
emit(id, 'status', {status = 'queued'})
if #args.shards == 0 then return answer({outcome = 'created', next = settle(id)}) end
return answer({outcome = 'created', next = ''})
