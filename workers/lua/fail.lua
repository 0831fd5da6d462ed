-- An attempt met a problem: try again while attempts are left, else the job fails with it.
local id, name = args.id, args.unit
local unit = held(id, name, args.token)
if not unit then return answer({outcome = 'lost'}) end
if not args.again then unit.attempt = args.settings.max_attempts end
local what = attempt_lost(id, name, unit, args.problem, now)
return answer({outcome = 'accepted', next = what})
