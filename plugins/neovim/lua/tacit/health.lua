--- `:checkhealth tacit`: whether everything is there that a suggestion needs, and what to do where it is not.

local M = {}

local function check_program(cmd)
  if vim.fn.executable(cmd[1]) == 0 then
    vim.health.error(('`%s` cannot be run'):format(cmd[1]), {
      'Install Tacit: `make run` in its folder, as its README says.',
      [[Then put `tacit` into PATH, or name it: require('tacit').setup({ cmd = { '/path/to/tacit', 'lsp' } })]],
    })
    return
  end
  vim.health.ok(('`%s` is %s'):format(cmd[1], vim.fn.exepath(cmd[1])))
end

local function check_clients()
  local clients = vim.lsp.get_clients({ name = 'tacit' })
  if #clients == 0 then
    vim.health.warn('the language server does not run', {
      [[Call require('tacit').setup(), and open a file whose filetype is known.]],
      'The log is at ' .. vim.lsp.get_log_path() .. '.',
    })
  end
  for _, client in ipairs(clients) do
    local root = client.config.root_dir
    if root then
      vim.health.ok('the language server runs for ' .. root)
    else
      vim.health.info('the language server runs without a workspace: nothing is recorded there')
    end
  end
end

function M.check()
  local tacit = require('tacit')
  vim.health.start('tacit')
  if vim.fn.has('nvim-0.10') == 0 then
    return vim.health.error('Neovim 0.10 or newer is needed')
  end
  if vim.lsp.inline_completion then
    vim.health.ok("ghost text is Neovim's own inline completion")
  else
    vim.health.info('this Neovim has no inline completion (0.12 has): the plugin asks and shows by itself')
  end
  check_program(tacit.options.cmd)
  check_clients()
  vim.health.info('status: ' .. tacit.status_message())
  for name, key in pairs(tacit.options.keys) do
    local map = key and vim.fn.maparg(key, 'i', false, true) or {}
    if key and not (map.desc or ''):match('^Tacit: ') then
      vim.health.warn(('%s (%s) is mapped by something else'):format(key, name), {
        ('Choose another key: setup({ keys = { %s = … } }).'):format(name),
      })
    end
  end
end

return M
