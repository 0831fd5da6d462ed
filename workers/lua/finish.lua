-- Accepts the result of one shard from the holder of its token, once.
local id, name = args.id, args.unit
local unit = held(id, name, args.token)
if not unit then return answer({outcome = 'lost'}) end
stop_running(id, name, unit)
set_progress(id, unit, {done = args.result.rows, valid = args.result.valid, steps = args.result.steps,
                        steps_total = args.result.steps})
for field, value in pairs(args.result) do unit[field] = value end
unit.status = 'done'
save_unit(id, name, unit)
add(id, 'open', -1)
add(id, 'shards_done', 1)
if unit.rows > 0 then add(id, 'kept', 1) end
local molecules = number(id, 'left_molecules')
local share = math.min(unit.count, molecules)
local evaluations = molecules > 0 and math.floor(number(id, 'left_evaluations') * share / molecules) or 0
unload(id, share, evaluations)
emit(id, 'shard', {unit = name, start = unit.start, rows = unit.rows, valid = unit.valid, passed = unit.passed})
emit(id, 'progress', progress_of(id))
local what = get(id, 'family') .. '|' .. get(id, 'model') .. '|' .. get(id, 'capability')
measure('molecules_total|' .. what .. '|true', unit.valid)
measure('molecules_total|' .. what .. '|false', unit.rows - unit.valid)
measure('evaluations_total|' .. what, unit.steps)
measure('shard_seconds_sum|' .. what, unit.seconds)
measure('shard_seconds_count|' .. what, 1)
return answer({outcome = 'accepted', next = settle(id)})
