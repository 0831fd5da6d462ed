-- The final unit asks for further candidates: new shards, and itself again when they are done.
local id = args.id
local final = held(id, 'final', args.token)
if not final then return answer({outcome = 'lost'}) end
redis.call('ZREM', key('leases'), id .. '/final')
final.status, final.attempt = 'waiting', 0
save_unit(id, 'final', final)
if get(id, 'stop') ~= '' then return answer({outcome = 'stopping', next = settle(id)}) end
local first, molecules = number(id, 'shards'), 0
for i, shard in ipairs(args.shards) do
  shard.attempt, shard.token = 0, 0
  queue_unit(id, tostring(first + i - 1), shard, now)
  molecules = molecules + shard.count
end
add(id, 'shards', #args.shards)
add(id, 'open', #args.shards)
add(id, 'total', molecules)
add(id, 'left_molecules', molecules)
add(id, 'left_evaluations', molecules * args.evaluations)
load_changes(get(id, 'owner'), 0, molecules, molecules * args.evaluations)
emit(id, 'progress', progress_of(id))
return answer({outcome = 'accepted', next = '', first = first})
