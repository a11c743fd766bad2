--- Tacit in Neovim: starts `tacit lsp` for each buffer, and gives its suggestions keys and commands.
--- Everything that decides anything is in the language server.

local accepting = require('tacit.accepting')
local debugging = require('tacit.debugging')
local keys = require('tacit.keys')
local requests = require('tacit.requests')

local M = {}

local REASONS = { 'wrong', 'hallucination', 'insecure', 'unclear' }

--- What setup() was given, over these.
M.options = {
  cmd = { 'tacit', 'lsp' },
  --- The language server's options (see Tacit's README); `learning = 'on'` and so on.
  settings = {},
  --- A buffer's workspace is the folder above it that holds one of these.
  root_markers = { '.tacit.toml', '.git' },
  --- Filetypes in which it is not started.
  excluded_filetypes = { 'help', 'gitcommit', 'gitrebase', 'TelescopePrompt' },
  --- In insert mode; false for none. Where nothing is suggested, a key does what it did before.
  keys = {
    accept = '<Tab>',
    accept_word = '<M-Right>',
    accept_line = '<M-Down>',
    dismiss = '<C-]>',
    suggest = '<M-Bslash>',
  },
  --- In the buffer of the answers, in normal mode; false for none.
  answer_keys = {
    apply = '<CR>',
    rate_answer = 'R',
  },
}

local said = { state = 'off', message = 'It has not been started.', policyVersion = '' }
local told_missing = false

--- Where ghost text comes from: Neovim itself, or our own requests on older versions.
local function source()
  return vim.lsp.inline_completion and require('tacit.native') or require('tacit.ghost')
end

local function client()
  return vim.lsp.get_clients({ name = 'tacit', bufnr = 0 })[1] or vim.lsp.get_clients({ name = 'tacit' })[1]
end

local function tell(message, level)
  vim.notify('Tacit: ' .. message, level or vim.log.levels.INFO)
end

local function execute(command, arguments)
  local to = client()
  if not to then
    return tell('the language server does not run; `:checkhealth tacit` says why.', vim.log.levels.WARN)
  end
  requests.request(to, 'workspace/executeCommand', { command = command, arguments = arguments }, function(failed)
    if failed then
      tell(failed.message, vim.log.levels.WARN)
    end
  end)
end

local function start(bufnr)
  local options = M.options
  local wanted = vim.bo[bufnr].buftype == '' and not vim.tbl_contains(options.excluded_filetypes, vim.bo[bufnr].filetype)
  if not wanted then
    return
  end
  if vim.fn.executable(options.cmd[1]) == 0 then
    local message = ('`%s` is not there. Install Tacit, or name the program: '):format(options.cmd[1])
      .. [[require('tacit').setup({ cmd = { '/path/to/tacit', 'lsp' } })]]
    said = { state = 'unavailable', message = message, policyVersion = '' }
    if not told_missing then
      told_missing = true
      tell(message, vim.log.levels.WARN)
    end
    return
  end
  local settings = next(options.settings) and options.settings or vim.empty_dict()
  if said.state == 'off' then
    said = { state = 'starting', message = 'The language server is being started.', policyVersion = '' }
  end
  vim.lsp.start({
    name = 'tacit',
    cmd = options.cmd,
    root_dir = vim.fs.root(bufnr, options.root_markers),
    init_options = settings,
    settings = { tacit = settings },
    handlers = {
      ['tacit/status'] = function(_, status)
        said = status
        vim.api.nvim_exec_autocmds('User', { pattern = 'TacitStatus' })
      end,
      ['$/progress'] = function(failed, params, ...)
        -- Work-done progress is Neovim's own.
        return debugging.progress(params) or vim.lsp.handlers['$/progress'](failed, params, ...)
      end,
    },
    on_attach = function(attached, buffer)
      debugging.pass_on(attached, buffer)
      source().attach(attached, buffer)
    end,
  }, { bufnr = bufnr })
end

function M.setup(options)
  if vim.fn.has('nvim-0.10') == 0 then
    return tell('Neovim 0.10 or newer is needed.', vim.log.levels.ERROR)
  end
  M.options = vim.tbl_deep_extend('force', M.options, options or {})
  local group = vim.api.nvim_create_augroup('tacit', {})
  vim.api.nvim_create_autocmd('FileType', {
    group = group,
    callback = function(event)
      start(event.buf)
    end,
  })
  -- Loaded late, by a plugin manager: buffers are open already.
  for _, bufnr in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(bufnr) and vim.bo[bufnr].filetype ~= '' then
      start(bufnr)
    end
  end
  for name, key in pairs(M.options.keys) do
    if key then
      keys.map(key, M[name], 'Tacit: ' .. name:gsub('_', ' '))
    end
  end
end

--- Each returns whether there was a suggestion to act on, so that a key can do something else.

function M.accept()
  return source().take(accepting.all)
end

function M.accept_word()
  return source().take(accepting.word)
end

function M.accept_line()
  return source().take(accepting.line)
end

function M.dismiss()
  return source().take(accepting.none)
end

--- Asks at the cursor, whatever is shown.
function M.suggest()
  source().request(vim.api.nvim_get_current_buf())
  return true
end

--- value: 'good' or 'bad'; nil: asks. reason: why it is bad, or nil.
function M.rate(value, reason)
  if value == nil then
    local choices = { 'good', 'bad' }
    for _, one in ipairs(REASONS) do
      choices[#choices + 1] = 'bad ' .. one
    end
    return vim.ui.select(choices, { prompt = 'The last suggestion was' }, function(chosen)
      if chosen then
        M.rate(unpack(vim.split(chosen, ' ')))
      end
    end)
  end
  if not vim.tbl_contains({ 'good', 'bad' }, value) or (reason and not vim.tbl_contains(REASONS, reason)) then
    local known = table.concat(REASONS, ', ')
    return tell(':TacitRate good, or :TacitRate bad with one of: ' .. known .. '.', vim.log.levels.ERROR)
  end
  execute('tacit.rate', { vim.NIL, value == 'good' and 1 or -1, reason })
end

function M.complete_rating(line)
  return line:match('bad%s') and REASONS or { 'good', 'bad' }
end

--- Each needs the language server; without one it says so.
local function with_client(run)
  local to = client()
  if not to then
    return tell('the language server does not run; `:checkhealth tacit` says why.', vim.log.levels.WARN)
  end
  run(to)
end

--- The problem on the cursor's line.
function M.fix()
  with_client(debugging.fix)
end

function M.explain()
  with_client(debugging.explain)
end

--- message: the question; nil: asks for it.
function M.ask(message)
  if message == nil or message == '' then
    return vim.ui.input({ prompt = 'Ask Tacit: ' }, function(given)
      if given and given ~= '' then
        M.ask(given)
      end
    end)
  end
  with_client(function(to)
    debugging.ask(to, message)
  end)
end

--- A code block of an answer into the file: the one that the cursor is in, or the number-th of the last answer.
function M.apply(number)
  with_client(function(to)
    debugging.apply(to, tonumber(number))
  end)
end

--- Asks what the answer that the cursor is in, or the last, was.
function M.rate_answer()
  local choices = { 'good' }
  for _, one in ipairs(REASONS) do
    choices[#choices + 1] = 'bad ' .. one
  end
  choices[#choices + 1] = 'correct it'
  vim.ui.select(choices, { prompt = 'The answer was' }, function(chosen)
    if chosen == 'correct it' then
      return vim.ui.input({ prompt = 'It should have been: ' }, function(given)
        if given and given ~= '' then
          with_client(function(to)
            debugging.rate(to, -1, nil, given)
          end)
        end
      end)
    end
    if chosen then
      with_client(function(to)
        debugging.rate(to, chosen == 'good' and 1 or -1, chosen:match('^bad (.*)$'))
      end)
    end
  end)
end

function M.pause()
  M.dismiss()
  execute('tacit.pause')
end

function M.resume()
  execute('tacit.resume')
end

--- For a status line: 'ready', 'suggested', 'starting' …
function M.status()
  return said.state
end

--- One sentence: why nothing is suggested, and what the last suggestion came from.
function M.status_message()
  local words = said.message ~= '' and said.message or said.state
  local from = said.policyVersion or ''
  return from ~= '' and ('%s (last suggestion: %s)'):format(words, from) or words
end

function M.show_status()
  tell(M.status_message())
end

return M
