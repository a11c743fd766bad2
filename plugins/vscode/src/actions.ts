/** Fix and Explain at the cursor, by a command of their own: the same as the language server's code actions. No logic of its own. */

import * as vscode from "vscode";

import type { TacitClient } from "./client";
import type { Conversation } from "./conversation";
import { asDiagnostics, asRange } from "./diagnostics";

/** What a Fix or Explain is about. */
export interface Question {
  uri: string;
  range: object;
  version?: number;
  diagnostics: object[];
}

export function questionHere(): Question | undefined {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) {
    void vscode.window.showInformationMessage("Open a file, and put the cursor where the problem is.");
    return undefined;
  }
  const { document, selection } = editor;
  const lines = new vscode.Range(selection.start.line, 0, selection.end.line + 1, 0);
  const found = vscode.languages.getDiagnostics(document.uri).filter(({ range }) => range.intersection(lines) !== undefined);
  return { uri: document.uri.toString(), range: asRange(selection), version: document.version, diagnostics: asDiagnostics(found) };
}

export async function fixHere(tacit: TacitClient): Promise<void> {
  const question = questionHere();
  if (question !== undefined) {
    await tacit.request("workspace/executeCommand", { command: "tacit.fix", arguments: [question] });
  }
}

export async function explainHere(conversation: Conversation): Promise<void> {
  const question = questionHere();
  if (question !== undefined) {
    await conversation.explain(question);
  }
}
