--[[
Time-of-Click for rspamd 3.4 and later: each mail is rewritten once it has been judged, and its new body and fields go back to
the mail server. Whatever fails is a temporary failure: the sender keeps the mail.

Put this file into /etc/rspamd/plugins.d/, toc.conf's section into /etc/rspamd/rspamd.conf.local, and worker-proxy.inc into
/etc/rspamd/local.d/. rspamd's own signing (dkim_signing, arc) signs what came in, not what leaves: sign behind it.
]]

local rspamd_http = require 'rspamd_http'
local rspamd_logger = require 'rspamd_logger'

local settings = {
  url = 'http://127.0.0.1:8081', -- base URL of the management listener
  key_file = '/etc/toc/api-key', -- an API key of scope rewrite, read once, before privileges are dropped
  timeout = 60, -- seconds
  max_size = 100 * 1024 * 1024, -- bytes of an answer
}
local given = rspamd_config:get_all_opt('toc')
if not given then return end
for name, value in pairs(given) do settings[name] = value end

local file = assert(io.open(settings.key_file), 'toc: cannot read ' .. settings.key_file)
local key = file:read('*l')
file:close()

local WAIT = 'the links of this mail could not be protected now'

-- A message as its fields, each with the line end, and the place where the body starts, the empty line included.
local function split(message)
  local fields, place = {}, 1
  while place <= #message do
    local line_end = message:find('\n', place, true) or #message
    local line = message:sub(place, line_end)
    if line == '\r\n' or line == '\n' then break end
    if line:find('^[ \t]') and #fields > 0 then
      fields[#fields] = fields[#fields] .. line
    else
      fields[#fields + 1] = line
    end
    place = line_end + 1
  end
  return fields, place
end

-- A message as it came over the wire. The milter protocol ends the lines of a folded field by LF alone; only with CRLF can what
-- leaves later be restored to the exact bytes.
local function on_the_wire(message)
  local fields, body = split(message)
  for i, field in ipairs(fields) do fields[i] = field:gsub('\r?\n', '\r\n') end
  return table.concat(fields) .. message:sub(body)
end

-- name → list of values, in order; a value is what follows the colon, without the line's end
local function by_name(fields)
  local names = {}
  for _, field in ipairs(fields) do
    local name, value = field:match('^([^:%s]+):[ \t]?(.-)\r?\n?$')
    if name then
      local lower = name:lower()
      names[lower] = names[lower] or { name = name }
      table.insert(names[lower], value)
    end
  end
  return names
end

local function same(one, other)
  if #one ~= #(other or {}) then return false end
  for i, value in ipairs(one) do
    if value ~= other[i] then return false end
  end
  return true
end

-- What the mail server is to do with the header: every name whose values changed is written anew.
local function header_changes(old, new)
  local before, after, add, remove = by_name(old), by_name(new), {}, {}
  for name, values in pairs(before) do
    if not same(values, after[name]) then remove[values.name] = 0 end
  end
  for name, values in pairs(after) do
    if not same(values, before[name]) then
      add[values.name] = {}
      for _, value in ipairs(values) do
        local folded = value:gsub('\r\n', '\n')
        table.insert(add[values.name], { value = folded, order = 1 })
      end
    end
  end
  return add, remove
end

local function replace(task, raw, rewritten)
  local old, old_body = split(raw)
  local new, new_body = split(rewritten)
  local add, remove = header_changes(old, new)
  if next(add) or next(remove) then
    task:set_milter_reply({ add_headers = add, remove_headers = remove })
  end
  -- rspamd sends what follows the header that it read, so that header stays in front.
  task:set_message(raw:sub(1, old_body - 1) .. rewritten:sub(new_body))
end

local function addresses(list)
  local found = {}
  for _, address in ipairs(list or {}) do table.insert(found, address.addr) end
  return found
end

local function rewrite(task, wait)
  local action = task:get_metric_action('default')
  if action == 'reject' or action == 'soft reject' then return end
  local raw = on_the_wire(tostring(task:get_content()))
  local client = task:get_ip()
  local function answered(err, code, body, headers)
    if err then return wait(err) end
    if headers['toc-disposition'] then return wait('a part could not be read') end
    if code == 204 then return end
    if code ~= 200 then return wait('the answer was ' .. code) end
    replace(task, raw, tostring(body))
  end
  local asked = rspamd_http.request({
    task = task,
    url = settings.url .. '/v1/messages/rewrite',
    method = 'POST',
    mime_type = 'message/rfc822',
    body = raw,
    timeout = tonumber(settings.timeout),
    max_size = tonumber(settings.max_size),
    headers = {
      ['Authorization'] = 'Bearer ' .. key,
      ['Toc-Sender'] = addresses(task:get_from('smtp'))[1] or '',
      ['Toc-Recipient'] = addresses(task:get_recipients('smtp')),
      ['Toc-Client-Address'] = client and client:is_valid() and client:to_string() or '',
      ['Toc-Direction'] = task:get_user() and 'outbound' or 'inbound',
    },
    callback = function(...)
      local fine, problem = pcall(answered, ...)
      if not fine then wait(problem) end
    end,
  })
  if not asked then wait('no request could be made') end
end

-- An error in a script is no reason for rspamd to keep a mail, so it is caught here.
local function guarded(task)
  local function wait(why)
    rspamd_logger.errx(task, 'toc: %s', why)
    task:set_pre_result('soft reject', WAIT, 'toc')
  end
  local fine, problem = pcall(rewrite, task, wait)
  if not fine then wait(problem) end
end

rspamd_config:register_symbol({
  name = 'TOC',
  type = 'postfilter',
  callback = guarded,
  priority = 10,
  -- what another rule lets through at once (a list of the known good) is rewritten all the same
  flags = 'empty,nostat,ignore_passthrough',
})
