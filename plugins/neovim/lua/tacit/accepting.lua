--- Taking a suggestion, or a part of it: what is inserted, where, and what the language server is told of it.
--- An item: text, row, col (where it begins; bytes, from 0), replaces (bytes after the cursor), command, client_id.

local requests = require('tacit.requests')

local M = {}

local WORD = '[%w_\128-\255]'

--- What is still to be inserted at the cursor; nil: it does not fit there (any more).
function M.rest(item, line, row, col)
  if row ~= item.row or col < item.col then
    return nil
  end
  local typed = line:sub(item.col + 1, col)
  if #typed >= #item.text or item.text:sub(1, #typed) ~= typed then
    return nil
  end
  return item.text:sub(#typed + 1)
end

function M.first_word(text)
  return text:match('^%s*' .. WORD .. '+') or text:match('^%s*[^%w_%s\128-\255]+') or text
end

function M.first_line(text)
  return text:match('^\n*[^\n]*')
end

local function insert(bufnr, item, choose)
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row, col = cursor[1] - 1, cursor[2]
  local line = vim.api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1]
  local rest = M.rest(item, line, row, col)
  if not rest then
    return
  end
  local part = choose(rest)
  local whole = part == rest
  local last = whole and math.min(col + item.replaces, #line) or col
  local lines = vim.split(part, '\n', { plain = true })
  -- A step of its own for undo.
  vim.bo[bufnr].undolevels = vim.bo[bufnr].undolevels
  vim.api.nvim_buf_set_text(bufnr, row, col, row, last, lines)
  vim.api.nvim_win_set_cursor(0, { row + #lines, (#lines == 1 and col or 0) + #lines[#lines] })
  return whole, #item.text - #rest + #part
end

local function take(choose)
  return function(bufnr, item)
    local whole, bytes = insert(bufnr, item, choose)
    local client = vim.lsp.get_client_by_id(item.client_id)
    if whole == nil or not client then
      return
    end
    if whole then
      local command = { command = item.command.command, arguments = item.command.arguments }
      requests.request(client, 'workspace/executeCommand', command, function() end, bufnr)
    else
      requests.notify(client, 'textDocument/didPartiallyAcceptCompletion', {
        item = { insertText = item.text, command = item.command },
        acceptedLength = vim.fn.strutf16len(item.text:sub(1, bytes)),
      })
    end
  end
end

M.all = take(function(text)
  return text
end)
M.word = take(M.first_word)
M.line = take(M.first_line)

--- Away with it.
function M.none(_, item)
  local client = vim.lsp.get_client_by_id(item.client_id)
  if client then
    requests.notify(client, 'tacit/didRejectCompletion', { suggestionId = (item.command.arguments or {})[1] })
  end
end

return M
