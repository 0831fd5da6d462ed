-- The final unit has written the job's files: the job ends as succeeded, or as what it was stopping for.
local id = args.id
local final = held(id, 'final', args.token)
if not final then return answer({outcome = 'lost'}) end
redis.call('ZREM', key('leases'), id .. '/final')
final.status = 'done'
save_unit(id, 'final', final)
set(id, 'files', args.files, 'folder', args.folder, 'accepted', args.accepted)
local stop = get(id, 'stop')
end_job(id, stop ~= '' and stop or 'succeeded')
return answer({outcome = 'accepted', next = 'ended'})
