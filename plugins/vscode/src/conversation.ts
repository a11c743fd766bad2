/** Explanations and the chat as a text document beside the code, written as the answer comes. Text only: nothing in it is active. */

import * as vscode from "vscode";

import { questionHere, type Question } from "./actions";
import type { Said } from "./answers";
import type { TacitClient } from "./client";

export const SCHEME = "tacit-answer";
/** Not a Markdown file: in one, a model's `[label](command:…)` would be a link that runs the command. */
const PLACE = vscode.Uri.from({ scheme: SCHEME, path: "Tacit.txt" });

interface Answer {
  conversationId: string;
  suggestionId: string;
  text: string;
  blocks: { firstLine: number; lastLine: number }[];
}

export class Conversation implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changed.event;
  private readonly registered = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  private text = "";
  private id: string | undefined;
  /** Its answers, oldest first. */
  said: readonly Said[] = [];

  constructor(private readonly tacit: TacitClient) {}

  provideTextDocumentContent(): string {
    return this.text;
  }

  dispose(): void {
    this.registered.dispose();
    this.changed.dispose();
  }

  /** A new conversation about this. */
  async explain(question: Question): Promise<void> {
    this.text = "";
    this.said = [];
    this.id = undefined;
    const { uri, range, diagnostics } = question;
    await this.ask({ textDocument: { uri }, range, diagnostics });
  }

  /** One more question in the conversation, or the first of one. */
  async askMore(): Promise<void> {
    const message = await vscode.window.showInputBox({ title: "Ask Tacit", prompt: "About what was explained last, or anything" });
    if (message !== undefined && message.trim() !== "") {
      this.text += `\n\n> ${message.trim()}\n\n`;
      await this.ask(this.id === undefined ? { message, ...aboutHere() } : { message, conversationId: this.id });
    }
  }

  private async ask(params: object): Promise<void> {
    const before = this.text;
    const show = (text: string) => {
      this.text = text;
      this.changed.fire(PLACE);
    };
    show(before);
    const document = await vscode.workspace.openTextDocument(PLACE);
    await vscode.window.showTextDocument(document, { viewColumn: vscode.ViewColumn.Beside, preserveFocus: true, preview: false });
    const said = await this.tacit.stream("tacit/chat", params, (piece) => show(this.text + piece));
    const answer = said?.answer as Answer | undefined;
    if (answer === undefined) {
      show(before + "(no answer)\n");
      return;
    }
    this.id = answer.conversationId;
    const above = before.split("\n").length - 1;
    const blocks = answer.blocks.map(({ firstLine, lastLine }) => ({ first: above + firstLine, last: above + lastLine }));
    this.said = [...this.said, { id: answer.suggestionId, first: above, last: above + answer.text.split("\n").length - 1, blocks }];
    show(before + answer.text);
  }
}

/** What a first question is about: the file that is open, if it is one. */
function aboutHere(): object {
  const editor = vscode.window.activeTextEditor;
  if (editor?.document.uri.scheme !== "file") {
    return {};
  }
  const question = questionHere();
  return question === undefined
    ? {}
    : { textDocument: { uri: question.uri }, range: question.range, diagnostics: question.diagnostics };
}
