/** Fix and Explain: the language server's code actions at the selection, where it offers them. Holds no logic of its own. */

import * as vscode from "vscode";

import type { TacitClient } from "./client";

const KINDS = { fix: "quickfix", explain: "tacit.explain" } as const;

export async function fixOrExplain(tacit: TacitClient, what: keyof typeof KINDS): Promise<void> {
  const offered = tacit.capabilities?.codeActionProvider;
  const kinds = typeof offered === "object" ? (offered.codeActionKinds ?? []) : [];
  const kind = kinds.find((one) => one.startsWith(KINDS[what]));
  if (kind === undefined) {
    const name = what === "fix" ? "fixes" : "explanations";
    void vscode.window.showInformationMessage(`The language server that runs offers no ${name}: a newer Tacit may.`);
    return;
  }
  await vscode.commands.executeCommand("editor.action.codeAction", { kind, apply: "ifSingle" });
}
