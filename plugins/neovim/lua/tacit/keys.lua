--- Keys in insert mode that act on a suggestion, and do what they did before where there is none.

local M = {}

--- What the key does without us: keys for an expression mapping to return.
local function otherwise(before, key)
  if before.callback and before.expr == 1 then
    return before.callback() or ''
  elseif before.callback then
    vim.schedule(before.callback)
    return ''
  elseif (before.rhs or '') == '' then
    return key
  end
  local keys = before.expr == 1 and vim.api.nvim_eval(before.rhs) or before.rhs
  if before.noremap == 1 then
    return keys
  end
  vim.api.nvim_feedkeys(vim.api.nvim_replace_termcodes(keys, true, true, true), 'm', false)
  return ''
end

--- act: returns whether there was something to act on.
function M.map(key, act, description)
  local before = vim.fn.maparg(key, 'i', false, true)
  if before.desc == description then
    return
  end
  vim.keymap.set('i', key, function()
    return act() and '' or otherwise(before, key)
  end, { expr = true, desc = description })
end

return M
