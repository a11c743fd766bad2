;;; tacit.el --- Inline completions that learn from what you do with them  -*- lexical-binding: t; -*-

;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1") (lsp-mode "10.0.0"))
;; Keywords: convenience, languages
;; SPDX-License-Identifier: Apache-2.0

;;; Commentary:

;; Registers `tacit lsp' with lsp-mode, whose `lsp-inline-completion-mode' shows the suggestions, and gives it commands.  It
;; runs beside the language server of the file's own language.  Everything that decides anything is in `tacit lsp'.
;;
;;   (require 'tacit)
;;   (add-hook 'prog-mode-hook #'lsp-deferred)
;;
;; TAB takes the suggestion that is shown, C-g sends it away.  `tacit-suggest' asks now; `tacit-rate' says whether the last
;; one was good; `tacit-apply-block' puts an explanation's code into the file; `tacit-pause', `tacit-resume', `tacit-status'.

;;; Code:

(require 'lsp-mode)
(require 'lsp-inline-completion)

(defgroup tacit nil
  "Inline completions that learn from what you do with them."
  :group 'lsp-mode)

(defcustom tacit-command '("tacit" "lsp")
  "The program and its arguments."
  :type '(repeat string))

(defcustom tacit-options nil
  "The language server's options; its README lists them.
An example: ((learning . \"on\"))."
  :type '(alist :key-type symbol :value-type sexp))

(defcustom tacit-modes '(prog-mode text-mode conf-mode)
  "Major modes, and what derives from them, in which it is started."
  :type '(repeat symbol))

(defcustom tacit-idle-delay 0.1
  "Seconds without a key before it is asked.
The language server waits longer where that is better."
  :type 'number)

(defvar tacit--said nil
  "State, words and policy version of the last `tacit/status'.")

(defun tacit--wanted-p (&rest _)
  "Whether it is to run in this buffer."
  (apply #'derived-mode-p tacit-modes))

(defun tacit--on-status (_workspace params)
  "Keep PARAMS, what the language server says of itself."
  (setq tacit--said (list (lsp-get params :state) (lsp-get params :message) (lsp-get params :policyVersion)))
  (force-mode-line-update t))

(defun tacit--workspace ()
  "Its workspace for this buffer, or an error that says what to do."
  (or (seq-find (lambda (workspace) (eq (lsp--workspace-server-id workspace) 'tacit)) lsp--buffer-workspaces)
      (user-error "Tacit does not run in this buffer: call `lsp', and see whether `%s' can be run" (car tacit-command))))

(defun tacit--execute (command &rest arguments)
  "Have the language server run COMMAND with ARGUMENTS."
  (with-lsp-workspace (tacit--workspace)
    (lsp-request "workspace/executeCommand" (list :command command :arguments (vconcat arguments)))))

(defun tacit-suggest ()
  "Ask for a suggestion at point, and show it."
  (interactive)
  (tacit--workspace)
  (lsp-inline-completion-display))

(defun tacit-rate (value &optional reason)
  "Rate the last suggestion.
VALUE is `good' or `bad'.  REASON is nil or a string that says why it is bad:
wrong, hallucination, insecure or unclear."
  (interactive
   (let ((value (intern (completing-read "The last suggestion was: " '("good" "bad") nil t))))
     (list value
           (and (eq value 'bad)
                (let ((reason (completing-read "Why (or nothing): " '("wrong" "hallucination" "insecure" "unclear") nil t)))
                  (and (not (string-empty-p reason)) reason))))))
  (with-lsp-workspace (tacit--workspace)
    (message "Tacit: %s"
             (lsp-request "tacit/rate"
                          (append (list :value (if (eq value 'good) 1 -1)) (and reason (list :flag reason)))))))

(defun tacit-apply-block (&optional number)
  "Put a code block of the last explanation into its file, where it belongs.
NUMBER is which one, from 1; the prefix argument."
  (interactive "p")
  (tacit--execute "tacit.applyBlock" (list :block (1- (or number 1)))))

(defun tacit-pause ()
  "Suggest nothing in this Emacs until `tacit-resume'."
  (interactive)
  (tacit--execute "tacit.pause"))

(defun tacit-resume ()
  "Suggest again."
  (interactive)
  (tacit--execute "tacit.resume"))

(defun tacit-status ()
  "Say whether it works, and why nothing is suggested.
And which version of what was learnt the last suggestion came from."
  (interactive)
  (pcase-let ((`(,state ,words ,version) tacit--said))
    (message "Tacit: %s%s"
             (cond ((null state) "it has not been started")
                   ((string-empty-p words) state)
                   (t words))
             (if (member version '(nil "")) "" (format " (last suggestion: %s)" version)))))

;; lsp-mode cancels before any other command too: only the key means that the developer does not want it.
(defun tacit--dismissed ()
  "Tell the language server of a suggestion that was sent away."
  (when-let* (((eq this-command #'lsp-inline-completion-cancel))
              (item (elt lsp-inline-completion--items lsp-inline-completion--current))
              (command (lsp:inline-completion-item-command? item))
              ((equal (lsp:command-command command) "tacit.accepted")))
    (with-lsp-workspace (tacit--workspace)
      (lsp-notify "tacit/didRejectCompletion" (list :suggestionId (elt (lsp:command-arguments? command) 0))))))

(add-hook 'lsp-inline-completion-cancelled-hook #'tacit--dismissed)

(defun tacit--mode-line ()
  "One word for the mode line; nothing where it does not run."
  (when (and tacit--said (tacit--wanted-p) lsp--buffer-workspaces)
    (format " Tacit:%s" (car tacit--said))))

(add-to-list 'minor-mode-alist '(lsp-inline-completion-mode (:eval (tacit--mode-line))))

(define-key lsp-inline-completion-active-map (kbd "TAB") #'lsp-inline-completion-accept)

(defun tacit--configure ()
  "In a buffer that it has been started for."
  (when (seq-some (lambda (workspace) (eq (lsp--workspace-server-id workspace) 'tacit)) lsp--buffer-workspaces)
    (setq-local lsp-inline-completion-idle-delay tacit-idle-delay)))

(add-hook 'lsp-configure-hook #'tacit--configure)

(lsp-register-client
 (make-lsp-client
  :new-connection (lsp-stdio-connection (lambda () tacit-command))
  :activation-fn #'tacit--wanted-p
  :server-id 'tacit
  :priority -10
  :add-on? t
  :multi-root t
  :initialization-options (lambda () (or tacit-options (make-hash-table)))
  :notification-handlers (lsp-ht ("tacit/status" #'tacit--on-status))))

(provide 'tacit)
;;; tacit.el ends here
