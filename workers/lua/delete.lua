-- Removes a job's record, events and units at once; whoever still works on it is refused from now on.
local id = args.id
if not exists(id) then return answer({outcome = 'gone'}) end
local owner, idempotency = get(id, 'owner'), get(id, 'idempotency')
if not ended(id) then
  load_changes(owner, -1, -number(id, 'left_molecules'), -number(id, 'left_evaluations'))
end
for _, name in ipairs(redis.call('HKEYS', shards_key(id))) do
  redis.call('ZREM', key('leases'), id .. '/' .. name)
  redis.call('ZREM', key('ready'), id .. '/' .. name)
end
for _, set_name in ipairs({'active', 'jobs', 'jobs:' .. owner, 'deadlines', 'retention'}) do
  redis.call('ZREM', key(set_name), id)
end
if idempotency then redis.call('DEL', key('idempotency:' .. idempotency)) end
redis.call('DEL', job_key(id), shards_key(id), events_key(id))
return answer({outcome = 'deleted'})
