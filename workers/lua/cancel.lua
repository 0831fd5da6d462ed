-- Asks a job to stop; finished molecules are kept.
local id = args.id
if not exists(id) then return answer({outcome = 'gone'}) end
if ended(id) then return answer({outcome = 'ended'}) end
return answer({outcome = 'accepted', next = stop_job(id, 'canceled', args.problem)})
