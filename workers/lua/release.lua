-- A worker that shuts down gives a unit back; the attempt does not count.
local id, name = args.id, args.unit
local unit = held(id, name, args.token)
if not unit then return answer({outcome = 'lost'}) end
stop_running(id, name, unit)
set_progress(id, unit, {done = 0, valid = 0, steps = 0, steps_total = 0})
unit.attempt = unit.attempt - 1
if get(id, 'stop') ~= '' and name ~= 'final' then
  drop_unit(id, name, unit)
  return answer({outcome = 'accepted', next = settle(id)})
end
queue_unit(id, name, unit, now)
return answer({outcome = 'accepted', next = 'queued'})
