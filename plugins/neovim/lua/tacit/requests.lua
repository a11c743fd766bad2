--- What is sent to the language server, in the dialects of Neovim 0.10 and later. Knows no buffer's text and shows nothing.

local M = {}

M.INVOKED, M.AUTOMATIC = 1, 2

local methods = vim.fn.has('nvim-0.11') == 1

function M.request(client, method, params, answer, bufnr)
  if methods then
    return client:request(method, params, answer, bufnr)
  end
  return client.request(method, params, answer, bufnr)
end

function M.notify(client, method, params)
  if methods then
    return client:notify(method, params)
  end
  return client.notify(method, params)
end

function M.cancel(client, id)
  if methods then
    return client:cancel_request(id)
  end
  return client.cancel_request(id)
end

--- Asks for a suggestion at the cursor of the current window; returns the request's id, or nil.
function M.ask(client, bufnr, kind, answer)
  local params = vim.lsp.util.make_position_params(0, client.offset_encoding)
  params.context = { triggerKind = kind }
  local sent, id = M.request(client, 'textDocument/inlineCompletion', params, answer, bufnr)
  return sent and id or nil
end

return M
