-- Called by the reconciler for a unit whose lease has run out, or for a job whose deadline has passed.
local id, name = args.id, args.unit
if not exists(id) or ended(id) then
  redis.call('ZREM', key('leases'), id .. '/' .. (name or ''))
  redis.call('ZREM', key('deadlines'), id)
  return answer({outcome = 'gone'})
end
if not name then
  local deadline = tonumber(get(id, 'deadline') or '')
  if not deadline or now < deadline then return answer({outcome = 'not-due'}) end
  redis.call('ZREM', key('deadlines'), id)
  return answer({outcome = 'expired', next = stop_job(id, 'expired', args.problem)})
end
local unit = load_unit(id, name)
if not unit or unit.status ~= 'running' then
  redis.call('ZREM', key('leases'), id .. '/' .. name)
  return answer({outcome = 'gone'})
end
if unit.lease > now then return answer({outcome = 'not-due'}) end
return answer({outcome = 'expired', next = attempt_lost(id, name, unit, args.problem, 0)})
