--- Suggestions by Neovim's own inline completion (0.12): it asks and shows. Taking is ours, since a part can be taken too.

local requests = require('tacit.requests')

local M = {}

function M.attach(client)
  vim.lsp.inline_completion.enable(true, { client_id = client.id })
end

--- act(bufnr, item) is called soon, if something is shown. Returns whether it is.
function M.take(act)
  local bufnr = vim.api.nvim_get_current_buf()
  return vim.lsp.inline_completion.get({
    on_accept = function(item)
      local text = type(item.insert_text) == 'table' and item.insert_text.value or item.insert_text
      local cursor = vim.api.nvim_win_get_cursor(0)
      local row, col, end_row, end_col = cursor[1] - 1, cursor[2], cursor[1] - 1, cursor[2]
      if item.range then
        row, col, end_row, end_col = item.range:to_extmark()
      end
      act(bufnr, {
        text = text,
        row = row,
        col = col,
        replaces = end_row == row and end_col - col or 0,
        command = item.command or {},
        client_id = item.client_id,
      })
    end,
  })
end

--- By hand. Neovim shows only what it has asked for by itself: the answer to its next request is this one's, and comes at once.
function M.request(bufnr)
  for _, client in ipairs(vim.lsp.get_clients({ name = 'tacit', bufnr = bufnr })) do
    requests.ask(client, bufnr, requests.INVOKED, function()
      vim.api.nvim_exec_autocmds('CursorMovedI', { buffer = bufnr })
    end)
  end
end

return M
