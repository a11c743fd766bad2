--- Ghost text for Neovim 0.10 and 0.11, which have no inline completion: our own requests, shown as extmarks.

local accepting = require('tacit.accepting')
local requests = require('tacit.requests')

local M = {}

local namespace = vim.api.nvim_create_namespace('tacit.inline')
vim.api.nvim_set_hl(0, 'TacitGhost', { default = true, link = 'Comment' })

--- By buffer: item (what is shown), asked ({client, id} of the request under way).
local buffers = {}

local function hide(bufnr)
  if vim.api.nvim_buf_is_valid(bufnr) then
    vim.api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  end
end

local function forget(bufnr)
  local state = buffers[bufnr] or {}
  if state.asked then
    requests.cancel(state.asked.client, state.asked.id)
  end
  buffers[bufnr] = {}
  hide(bufnr)
end

--- What is left of the item at the cursor, after what has been typed of it.
local function show(bufnr)
  hide(bufnr)
  local item = buffers[bufnr].item
  if not item or vim.api.nvim_get_current_buf() ~= bufnr then
    return
  end
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row, col = cursor[1] - 1, cursor[2]
  local rest = accepting.rest(item, vim.api.nvim_get_current_line(), row, col)
  if not rest then
    buffers[bufnr].item = nil
    return
  end
  local lines = vim.tbl_map(function(line)
    return { { line, 'TacitGhost' } }
  end, vim.split(rest, '\n', { plain = true }))
  vim.api.nvim_buf_set_extmark(bufnr, namespace, row, col, {
    virt_text = table.remove(lines, 1),
    virt_text_pos = 'inline',
    virt_lines = lines,
    hl_mode = 'combine',
  })
end

local function bytes_at(bufnr, position, encoding)
  local line = vim.api.nvim_buf_get_lines(bufnr, position.line, position.line + 1, false)[1] or ''
  if encoding == 'utf-8' then
    return math.min(position.character, #line)
  end
  local ok, column = pcall(vim.lsp.util._str_byteindex_enc, line, position.character, encoding)
  return ok and column or #line
end

local function answered(client, bufnr, result)
  local found = result and (result.items or result)[1]
  if not found or not vim.api.nvim_get_mode().mode:match('^i') then
    buffers[bufnr].item = nil
    return hide(bufnr)
  end
  local text = type(found.insertText) == 'table' and found.insertText.value or found.insertText
  local from, to = found.range.start, found.range['end']
  local col = bytes_at(bufnr, from, client.offset_encoding)
  buffers[bufnr].item = {
    text = text,
    row = from.line,
    col = col,
    replaces = to.line == from.line and bytes_at(bufnr, to, client.offset_encoding) - col or 0,
    command = found.command or {},
    client_id = client.id,
  }
  show(bufnr)
end

local function ask(client, bufnr, kind)
  local state = buffers[bufnr]
  if state.asked then
    requests.cancel(state.asked.client, state.asked.id)
  end
  local asked = { client = client }
  asked.id = requests.ask(client, bufnr, kind, function(failed, result)
    if buffers[bufnr] and buffers[bufnr].asked == asked then
      buffers[bufnr].asked = nil
      if not failed then
        answered(client, bufnr, result)
      end
    end
  end)
  state.asked = asked.id and asked or nil
end

function M.attach(client, bufnr)
  buffers[bufnr] = buffers[bufnr] or {}
  local group = vim.api.nvim_create_augroup('tacit.ghost.' .. bufnr, {})
  vim.api.nvim_create_autocmd({ 'InsertEnter', 'CursorMovedI', 'TextChangedP' }, {
    group = group,
    buffer = bufnr,
    callback = function()
      show(bufnr)
      -- The language server knows when to wait and when not to.
      ask(client, bufnr, requests.AUTOMATIC)
    end,
  })
  vim.api.nvim_create_autocmd({ 'InsertLeave', 'BufLeave' }, {
    group = group,
    buffer = bufnr,
    callback = function()
      forget(bufnr)
    end,
  })
  vim.api.nvim_create_autocmd('LspDetach', {
    group = group,
    buffer = bufnr,
    callback = function(event)
      if event.data.client_id == client.id then
        forget(bufnr)
        vim.api.nvim_del_augroup_by_id(group)
      end
    end,
  })
end

--- act(bufnr, item) is called soon, if something is shown. Returns whether it is.
function M.take(act)
  local bufnr = vim.api.nvim_get_current_buf()
  local item = buffers[bufnr] and buffers[bufnr].item
  if not item then
    return false
  end
  -- A key that is an expression may not change the buffer by itself.
  vim.schedule(function()
    forget(bufnr)
    act(bufnr, item)
  end)
  return true
end

--- By hand.
function M.request(bufnr)
  for _, client in ipairs(vim.lsp.get_clients({ name = 'tacit', bufnr = bufnr })) do
    ask(client, bufnr, requests.INVOKED)
  end
end

return M
