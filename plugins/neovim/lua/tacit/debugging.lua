--- Fix, Explain and the chat: what other tools report is passed on, answers are streamed into a buffer, where their code can be
--- applied and they can be rated. Decides nothing.

local requests = require('tacit.requests')

local M = {}

local MOST = 200
--- What is in the buffer. said: of each answer its lines (from 1), its suggestion, and the lines of its code blocks.
local answer = { buffer = nil, conversation = nil, said = {} }
local asked = 0

local function tell(message, level)
  vim.notify('Tacit: ' .. message, level or vim.log.levels.INFO)
end

--- Positions of Neovim's diagnostics are bytes; LSP's are in the client's encoding.
local function position(client, bufnr, row, column)
  local line = vim.api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1] or ''
  local before = line:sub(1, column)
  local count = column
  if client.offset_encoding == 'utf-16' then
    count = vim.fn.strutf16len(before)
  elseif client.offset_encoding == 'utf-32' then
    count = vim.fn.strcharlen(before)
  end
  return { line = row, character = count }
end

local function as_lsp(client, bufnr, diagnostics)
  local found = {}
  for _, one in ipairs(diagnostics) do
    if #found == MOST then
      break
    end
    found[#found + 1] = {
      range = {
        start = position(client, bufnr, one.lnum, one.col),
        ['end'] = position(client, bufnr, one.end_lnum or one.lnum, one.end_col or one.col),
      },
      message = one.message,
      severity = one.severity,
      source = one.source,
      code = one.code,
    }
  end
  return found
end

--- Tells the language server of every change of what is reported in this buffer, whoever reports it.
function M.pass_on(client, bufnr)
  local function tell_all()
    if not vim.api.nvim_buf_is_loaded(bufnr) then
      return
    end
    local all = as_lsp(client, bufnr, vim.diagnostic.get(bufnr))
    requests.notify(client, 'tacit/diagnostics', { uri = vim.uri_from_bufnr(bufnr), diagnostics = all })
  end
  vim.api.nvim_create_autocmd('DiagnosticChanged', {
    group = vim.api.nvim_create_augroup('tacit_diagnostics_' .. bufnr, {}),
    buffer = bufnr,
    callback = tell_all,
  })
  -- Other servers may have been quicker.
  if #vim.diagnostic.get(bufnr) > 0 then
    tell_all()
  end
end

local function question(client)
  local bufnr = vim.api.nvim_get_current_buf()
  local row, column = unpack(vim.api.nvim_win_get_cursor(0))
  local here = position(client, bufnr, row - 1, column)
  return {
    uri = vim.uri_from_bufnr(bufnr),
    range = { start = here, ['end'] = here },
    diagnostics = as_lsp(client, bufnr, vim.diagnostic.get(bufnr, { lnum = row - 1 })),
  }
end

function M.fix(client)
  requests.request(client, 'workspace/executeCommand', { command = 'tacit.fix', arguments = { question(client) } }, function(failed)
    if failed then
      tell(failed.message, vim.log.levels.WARN)
    end
  end)
end

local function show()
  if not (answer.buffer and vim.api.nvim_buf_is_valid(answer.buffer)) then
    answer.buffer = vim.api.nvim_create_buf(false, true)
    vim.bo[answer.buffer].syntax = 'markdown'
    vim.api.nvim_buf_set_name(answer.buffer, 'Tacit')
    answer.said = {}
    for name, key in pairs(require('tacit').options.answer_keys) do
      if key then
        vim.keymap.set('n', key, require('tacit')[name], { buffer = answer.buffer, desc = 'Tacit: ' .. name:gsub('_', ' ') })
      end
    end
  end
  if vim.fn.bufwinid(answer.buffer) == -1 then
    local back = vim.api.nvim_get_current_win()
    vim.cmd('botright vsplit')
    vim.api.nvim_win_set_buf(0, answer.buffer)
    vim.api.nvim_set_current_win(back)
  end
end

local function write(buffer, text)
  -- It may have been wiped while the answer came.
  if vim.api.nvim_buf_is_valid(buffer) then
    vim.api.nvim_buf_set_lines(buffer, 0, -1, false, vim.split(text, '\n', { plain = true }))
  end
end

--- Sends it and writes what comes under what stands there.
local function send(client, params, before)
  asked = asked + 1
  local token, text = 'tacit-' .. asked, before
  show()
  local buffer = answer.buffer
  write(buffer, text)
  params.partialResultToken = token
  M.streams[token] = function(piece)
    text = text .. piece
    write(buffer, text)
  end
  requests.request(client, 'tacit/chat', params, function(failed, result)
    M.streams[token] = nil
    if failed then
      write(buffer, before .. '(no answer)')
      return tell(failed.message, vim.log.levels.WARN)
    end
    answer.conversation = result.conversationId
    write(buffer, before .. result.text)
    local above = #vim.split(before, '\n', { plain = true })
    local blocks = vim.tbl_map(function(one)
      return { first = above + one.firstLine, last = above + one.lastLine }
    end, result.blocks or {})
    local last = above - 1 + #vim.split(result.text, '\n', { plain = true })
    table.insert(answer.said, { first = above, last = last, id = result.suggestionId, blocks = blocks })
  end)
end

M.streams = {}

--- Returns whether this progress is the text of an answer.
function M.progress(params)
  local stream = M.streams[params.token]
  if stream then
    stream(params.value.text)
  end
  return stream ~= nil
end

function M.explain(client)
  local about = question(client)
  answer.conversation, answer.said = nil, {}
  send(client, { textDocument = { uri = about.uri }, range = about.range, diagnostics = about.diagnostics }, '')
end

--- The answer that the cursor is in, or the last; the line in the answers' buffer, nil in another one.
local function here()
  if vim.api.nvim_get_current_buf() ~= answer.buffer then
    return answer.said[#answer.said], nil
  end
  local row = vim.api.nvim_win_get_cursor(0)[1]
  for _, one in ipairs(answer.said) do
    if one.first <= row and row <= one.last then
      return one, row
    end
  end
  return answer.said[#answer.said], row
end

--- number: which code block of the answer, from 1; nil: the one that the cursor is in, else the first.
function M.apply(client, number)
  local one, row = here()
  if not one then
    return tell('there is no answer yet.', vim.log.levels.WARN)
  end
  local index = number or 1
  for at, block in ipairs(row and not number and one.blocks or {}) do
    if block.first <= row and row <= block.last then
      index = at
    end
  end
  local params = { suggestionId = one.id, block = index - 1 }
  if not row and vim.lsp.buf_is_attached(0, client.id) then
    local about = question(client)
    params.textDocument, params.range = { uri = about.uri }, about.range
  end
  requests.request(client, 'tacit/applyBlock', params, function(failed, result)
    if failed then
      return tell(failed.message, vim.log.levels.WARN)
    end
    tell(result.message, result.applied and vim.log.levels.INFO or vim.log.levels.WARN)
  end)
end

--- Of the answer that the cursor is in, or the last. flag, correction: why it is bad, what it should have been; or nil.
function M.rate(client, value, flag, correction)
  local one = here()
  if not one then
    return tell('there is no answer yet.', vim.log.levels.WARN)
  end
  local params = { suggestionId = one.id, value = value, flag = flag, correction = correction }
  requests.request(client, 'tacit/rate', params, function(failed, said)
    tell(failed and failed.message or said, failed and vim.log.levels.WARN or vim.log.levels.INFO)
  end)
end

function M.ask(client, message)
  local about = vim.lsp.buf_is_attached(0, client.id) and question(client)
  show()
  local before = table.concat(vim.api.nvim_buf_get_lines(answer.buffer, 0, -1, false), '\n')
  local params = { message = message, conversationId = answer.conversation }
  if not answer.conversation and about then
    params.textDocument, params.range, params.diagnostics = { uri = about.uri }, about.range, about.diagnostics
  end
  send(client, params, before .. '\n\n> ' .. message .. '\n\n')
end

return M
