/** What all tools report of a document, as LSP has it: passed on to the language server, which is told its own only. */

import * as vscode from "vscode";

const MOST = 200;

export function asRange(range: vscode.Range): object {
  const place = ({ line, character }: vscode.Position) => ({ line, character });
  return { start: place(range.start), end: place(range.end) };
}

export function asDiagnostics(diagnostics: readonly vscode.Diagnostic[]): object[] {
  return diagnostics.slice(0, MOST).map(({ range, message, severity, source, code }) => ({
    range: asRange(range),
    message,
    severity: severity + 1,
    source,
    code: typeof code === "object" ? code.value : code,
  }));
}

/** Tells of every change in an open document. */
export function passOn(tell: (params: object) => void): vscode.Disposable {
  return vscode.languages.onDidChangeDiagnostics(({ uris }) => {
    for (const uri of uris) {
      if (vscode.workspace.textDocuments.some((document) => document.uri.toString() === uri.toString())) {
        tell({ uri: uri.toString(), diagnostics: asDiagnostics(vscode.languages.getDiagnostics(uri)) });
      }
    }
  });
}
