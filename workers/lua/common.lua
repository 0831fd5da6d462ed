-- Shared by all scripts, which are the only writers of job records. ARGV[1] is the key prefix, ARGV[2] the arguments as
-- JSON. Times are milliseconds of the server's clock, so that the workers' clocks do not matter.
local prefix, args = ARGV[1], cjson.decode(ARGV[2])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function key(name) return prefix .. ':' .. name end
local function job_key(id) return prefix .. ':job:' .. id end
local function shards_key(id) return prefix .. ':job:' .. id .. ':shards' end
local function events_key(id) return prefix .. ':job:' .. id .. ':events' end
local function get(id, field) return redis.call('HGET', job_key(id), field) end
local function set(id, ...) redis.call('HSET', job_key(id), ...) end
local function add(id, field, by) if by ~= 0 then redis.call('HINCRBY', job_key(id), field, by) end end
local function number(id, field) return tonumber(get(id, field) or 0) or 0 end
local function exists(id) return redis.call('EXISTS', job_key(id)) == 1 end

local function ended(id)
  local status = get(id, 'status')
  return status ~= 'queued' and status ~= 'running'
end

local function load_unit(id, name)
  local text = redis.call('HGET', shards_key(id), name)
  return text and cjson.decode(text)
end

local function save_unit(id, name, unit) redis.call('HSET', shards_key(id), name, cjson.encode(unit)) end

local function emit(id, kind, data)
  redis.call('XADD', events_key(id), 'MAXLEN', '~', args.settings.history, '*', 'kind', kind, 'data', cjson.encode(data))
end

local function measure(name, by) redis.call('HINCRBYFLOAT', key('metrics'), name, by) end

-- The load that the queue's bounds count, for everyone and for the owner.
local function load_changes(owner, jobs, molecules, evaluations)
  -- adding 0 turns Lua's -0, which Redis does not take for an integer, into 0
  jobs, molecules, evaluations = jobs + 0, molecules + 0, evaluations + 0
  for _, where in ipairs({key('load'), key('load:' .. owner)}) do
    redis.call('HINCRBY', where, 'jobs', jobs)
    redis.call('HINCRBY', where, 'molecules', molecules)
    redis.call('HINCRBY', where, 'evaluations', evaluations)
  end
end

local function unload(id, molecules, evaluations)
  load_changes(get(id, 'owner'), 0, -molecules, -evaluations)
  add(id, 'left_molecules', -molecules)
  add(id, 'left_evaluations', -evaluations)
end

-- `since` is when its message was sent; 0 asks the reconciler to send one at once.
local function queue_unit(id, name, unit, since)
  unit.status = 'queued'
  save_unit(id, name, unit)
  redis.call('ZADD', key('ready'), since, id .. '/' .. name)
end

local function drop_unit(id, name, unit)
  unit.status = 'dropped'
  save_unit(id, name, unit)
  redis.call('ZREM', key('ready'), id .. '/' .. name)
end

local function drop_waiting(id)
  local all = redis.call('HGETALL', shards_key(id))
  for i = 1, #all, 2 do
    local unit = cjson.decode(all[i + 1])
    if unit.status == 'queued' and all[i] ~= 'final' then drop_unit(id, all[i], unit) end
  end
end

local function end_job(id, status)
  local final = load_unit(id, 'final')
  drop_waiting(id)
  if final.status == 'queued' or final.status == 'waiting' then drop_unit(id, 'final', final) end
  load_changes(get(id, 'owner'), -1, -number(id, 'left_molecules'), -number(id, 'left_evaluations'))
  local expires = now + args.settings.retention
  set(id, 'status', status, 'stop', '', 'finished', now, 'expires', expires, 'left_molecules', 0, 'left_evaluations', 0)
  redis.call('ZREM', key('active'), id)
  redis.call('ZREM', key('deadlines'), id)
  redis.call('ZADD', key('retention'), expires, id)
  emit(id, 'status', {status = status})
  local what = get(id, 'family') .. '|' .. get(id, 'capability')
  measure('jobs_total|' .. what .. '|' .. status, 1)
  measure('job_seconds_sum|' .. what, (now - number(id, 'created')) / 1000)
  measure('job_seconds_count|' .. what, 1)
end

-- Decides what comes next after any change of a unit: 'final' (a message for it is due), 'ended' or '' (nothing).
local function settle(id)
  if ended(id) then return 'ended' end
  local final = load_unit(id, 'final')
  if final.status ~= 'waiting' then return '' end
  local stop = get(id, 'stop')
  if stop ~= '' then
    if number(id, 'running') > 0 then return '' end
    if number(id, 'kept') == 0 then
      end_job(id, stop)
      return 'ended'
    end
  elseif number(id, 'open') > 0 then
    return ''
  end
  queue_unit(id, 'final', final, now)
  return 'final'
end

-- No further shard starts; running ones see it at their next look; what is finished is kept.
local function stop_job(id, status, problem)
  if get(id, 'stop') == '' then
    set(id, 'stop', status, 'problem', cjson.encode(problem))
    drop_waiting(id)
    emit(id, 'status', {status = get(id, 'status'), stopping = status})
  end
  return settle(id)
end

local PROGRESS = {'done', 'valid', 'steps', 'steps_total'}

-- The job's counters follow the unit's by differences, so that a repeated attempt counts once.
local function set_progress(id, unit, values)
  for _, field in ipairs(PROGRESS) do
    local value = values[field] or unit[field] or 0
    add(id, field, value - (unit[field] or 0))
    unit[field] = value
  end
end

local function progress_of(id)
  local values = redis.call('HMGET', job_key(id), 'total', 'done', 'valid', 'steps', 'steps_total')
  local function whole(i) return tonumber(values[i] or 0) end
  return {total = whole(1), done = whole(2), valid = whole(3), steps = whole(4), steps_total = whole(5)}
end

local function stop_running(id, name, unit)
  redis.call('ZREM', key('leases'), id .. '/' .. name)
  if name ~= 'final' then add(id, 'running', -1) end
end

-- An attempt ended without a result: `problem` is what the job fails with when no attempt is left.
local function attempt_lost(id, name, unit, problem, since)
  stop_running(id, name, unit)
  set_progress(id, unit, {done = 0, valid = 0, steps = 0, steps_total = 0})
  if unit.attempt >= args.settings.max_attempts then
    drop_unit(id, name, unit)
    if name == 'final' then
      set(id, 'problem', cjson.encode(problem))
      end_job(id, 'failed')
      return 'ended'
    end
    return stop_job(id, 'failed', problem)
  end
  if get(id, 'stop') ~= '' and name ~= 'final' then
    drop_unit(id, name, unit)
    return settle(id)
  end
  add(id, 'redeliveries', 1)
  measure('redeliveries_total', 1)
  queue_unit(id, name, unit, since)
  return 'queued'
end

-- The unit, if the caller still holds it; nil for a late writer.
local function held(id, name, token)
  if not exists(id) then return nil end
  local unit = load_unit(id, name)
  if unit and unit.status == 'running' and unit.token == token then return unit end
  return nil
end

local function answer(values) return cjson.encode(values) end
