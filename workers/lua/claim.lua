-- Compare-and-set: one worker at a time holds a unit, by a fencing token that grows with every claim.
local id, name = args.id, args.unit
if not exists(id) then return answer({outcome = 'gone'}) end
if ended(id) then return answer({outcome = 'ended'}) end
local unit = load_unit(id, name)
if not unit then return answer({outcome = 'gone'}) end
if unit.status == 'running' then
  -- A worker process has one child: when it asks again for what it holds, its former child is dead.
  if unit.lease > now and unit.worker ~= args.worker then return answer({outcome = 'busy'}) end
  local what = attempt_lost(id, name, unit, args.problem, now)
  if what ~= 'queued' then return answer({outcome = 'given-up', next = what}) end
end
if unit.status ~= 'queued' then return answer({outcome = 'not-needed'}) end
local deadline = tonumber(get(id, 'deadline') or '')
if deadline and now >= deadline and name ~= 'final' then
  return answer({outcome = 'expired', next = stop_job(id, 'expired', args.expired)})
end
unit.attempt = unit.attempt + 1
unit.token = redis.call('HINCRBY', job_key(id), 'tokens', 1)
unit.status, unit.worker, unit.lease = 'running', args.worker, now + args.settings.lease
save_unit(id, name, unit)
redis.call('ZREM', key('ready'), id .. '/' .. name)
redis.call('ZADD', key('leases'), unit.lease, id .. '/' .. name)
if name ~= 'final' then add(id, 'running', 1) end
if unit.attempt > number(id, 'attempts') then set(id, 'attempts', unit.attempt) end
if get(id, 'status') == 'queued' then
  set(id, 'status', 'running', 'started', now)
  emit(id, 'status', {status = 'running'})
  measure('queue_seconds_sum|' .. get(id, 'queue'), (now - number(id, 'created')) / 1000)
  measure('queue_seconds_count|' .. get(id, 'queue'), 1)
end
return answer({outcome = 'claimed', token = unit.token, attempt = unit.attempt, unit = unit})
