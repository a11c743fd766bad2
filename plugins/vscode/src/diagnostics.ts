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

/** Tells of what is reported in open documents, now and at every change. */
export function passOn(tell: (params: object) => void): vscode.Disposable {
  const tellOf = (uri: vscode.Uri) =>
    tell({ uri: uri.toString(), diagnostics: asDiagnostics(vscode.languages.getDiagnostics(uri)) });
  for (const { uri } of vscode.workspace.textDocuments) {
    if (vscode.languages.getDiagnostics(uri).length > 0) {
      tellOf(uri);
    }
  }
  return vscode.languages.onDidChangeDiagnostics(({ uris }) => {
    for (const uri of uris) {
      if (vscode.workspace.textDocuments.some((document) => document.uri.toString() === uri.toString())) {
        tellOf(uri);
      }
    }
  });
}
