-- Renews a lease, records progress, and tells the holder whether to stop.
local id, name = args.id, args.unit
local unit = held(id, name, args.token)
if not unit then return answer({outcome = 'lost'}) end
unit.lease = now + args.settings.lease
redis.call('ZADD', key('leases'), unit.lease, id .. '/' .. name)
if args.progress then
  set_progress(id, unit, args.progress)
  emit(id, 'progress', progress_of(id))
end
save_unit(id, name, unit)
return answer({outcome = 'held', stop = get(id, 'stop') or ''})
