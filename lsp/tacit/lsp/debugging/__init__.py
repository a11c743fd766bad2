"""Fix, Explain and the chat: what the editor is offered at an error, what the model is asked, what becomes of the answer."""
