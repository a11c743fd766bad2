-- The commands. What they do is loaded when one is used.
if vim.g.loaded_tacit then
  return
end
vim.g.loaded_tacit = true

local function command(name, run, options)
  vim.api.nvim_create_user_command(name, run, options)
end

command('TacitSuggest', function()
  require('tacit').suggest()
end, { desc = 'Ask for a suggestion at the cursor' })

command('TacitRate', function(call)
  require('tacit').rate(call.fargs[1], call.fargs[2])
end, {
  nargs = '*',
  desc = 'Rate the last suggestion: good, or bad with a reason',
  complete = function(_, line)
    return require('tacit').complete_rating(line)
  end,
})

command('TacitFix', function()
  require('tacit').fix()
end, { desc = "Fix the problem on the cursor's line" })

command('TacitExplain', function()
  require('tacit').explain()
end, { desc = "Explain the problem on the cursor's line" })

command('TacitAsk', function(call)
  require('tacit').ask(call.args)
end, { nargs = '*', desc = 'Ask about what was explained, or anything' })

command('TacitApply', function(call)
  require('tacit').apply(call.fargs[1])
end, { nargs = '?', desc = 'Put a code block of the answer into the file' })

command('TacitRateAnswer', function()
  require('tacit').rate_answer()
end, { desc = 'Rate, flag or correct an answer' })

command('TacitPause', function()
  require('tacit').pause()
end, { desc = 'Suggest nothing in this Neovim until :TacitResume' })

command('TacitResume', function()
  require('tacit').resume()
end, { desc = 'Suggest again' })

command('TacitStatus', function()
  require('tacit').show_status()
end, { desc = 'Say whether Tacit works, and why nothing is suggested' })
