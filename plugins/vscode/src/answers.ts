/** What can be done with an answer: its code applied, itself rated, flagged or corrected. Above it and its code in the document. */

import * as vscode from "vscode";

import type { TacitClient } from "./client";
import { SCHEME, type Conversation } from "./conversation";
import { asRange } from "./diagnostics";
import { rate, rateBad } from "./rating";

/** One answer in the document; lines from 0, the last one included. */
export interface Said {
  id: string;
  first: number;
  last: number;
  blocks: readonly { first: number; last: number }[];
}

interface Applied {
  applied: boolean;
  message: string;
}

export class Answers implements vscode.CodeLensProvider, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChangeCodeLenses = this.changed.event;
  private readonly heard: vscode.Disposable;
  private readonly registered = vscode.languages.registerCodeLensProvider({ scheme: SCHEME }, this);

  constructor(
    private readonly tacit: TacitClient,
    private readonly conversation: Conversation,
  ) {
    this.heard = conversation.onDidChange(() => this.changed.fire());
  }

  dispose(): void {
    this.registered.dispose();
    this.heard.dispose();
    this.changed.dispose();
  }

  provideCodeLenses(): vscode.CodeLens[] {
    return this.conversation.said.flatMap(({ id, first, blocks }) => [
      lens(first, "Good", "tacit.rateAnswerGood", id),
      lens(first, "Bad…", "tacit.rateAnswerBad", id),
      ...blocks.map((block, index) => lens(block.first, "Apply", "tacit.applyCode", id, index)),
    ]);
  }

  /** The block that is named, else the one at the cursor, else the first of the last answer. */
  async apply(id?: string, index?: number): Promise<void> {
    const editor = vscode.window.activeTextEditor;
    const row = editor?.document.uri.scheme === SCHEME ? editor.selection.active.line : undefined;
    const said = this.named(id, row);
    if (said === undefined) {
      void vscode.window.showInformationMessage("There is no answer yet: “Tacit: Explain” or “Tacit: Ask…” first.");
      return;
    }
    const under = row === undefined ? -1 : said.blocks.findIndex(({ first, last }) => first <= row && row <= last);
    const params = { suggestionId: said.id, block: index ?? Math.max(0, under) };
    // From the file itself, it is meant for that file, and the cursor says where.
    const here = id === undefined && editor?.document.uri.scheme === "file" ? editor : undefined;
    const place = here && { textDocument: { uri: here.document.uri.toString() }, range: asRange(here.selection) };
    const told = await this.tacit.request("tacit/applyBlock", { ...params, ...place });
    const answer = told?.answer as Applied | undefined;
    if (answer?.applied === true) {
      vscode.window.setStatusBarMessage(`Tacit: ${answer.message}`, 5000);
    } else if (answer !== undefined) {
      void vscode.window.showWarningMessage(`Tacit: ${answer.message}`);
    }
  }

  async good(id?: string): Promise<void> {
    const said = this.named(id);
    await rate(this.tacit, said === undefined ? { value: 1 } : { value: 1, suggestionId: said.id });
  }

  async bad(id?: string): Promise<void> {
    await rateBad(this.tacit, this.named(id)?.id);
  }

  private named(id: string | undefined, row?: number): Said | undefined {
    const said = this.conversation.said;
    const editor = vscode.window.activeTextEditor;
    const at = row ?? (editor?.document.uri.scheme === SCHEME ? editor.selection.active.line : undefined);
    return (
      said.find((one) => one.id === id) ??
      said.find(({ first, last }) => at !== undefined && first <= at && at <= last) ??
      said[said.length - 1]
    );
  }
}

function lens(line: number, title: string, command: string, ...args: unknown[]): vscode.CodeLens {
  return new vscode.CodeLens(new vscode.Range(line, 0, line, 0), { title, command, arguments: args });
}
