/** Starts and ends `tacit lsp` with the window, and gives its commands keys. All that decides anything is in `tacit lsp`. */

import * as vscode from "vscode";

import { explainHere, fixHere } from "./actions";
import { TacitClient } from "./client";
import { Answers } from "./answers";
import { Conversation } from "./conversation";
import { rateBad, rateGood } from "./rating";
import { StatusItem } from "./status";

let client: TacitClient | undefined;

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const log = vscode.window.createOutputChannel("Tacit", { log: true });
  const status = new StatusItem();
  const tacit = new TacitClient(log, status);
  client = tacit;
  const conversation = new Conversation(tacit);
  const answers = new Answers(tacit, conversation);
  tacit.explain = (question) => conversation.explain(question);
  const commands: Record<string, (...args: never[]) => unknown> = {
    "tacit.suggest": () => vscode.commands.executeCommand("editor.action.inlineSuggest.trigger"),
    "tacit.dismiss": () => dismiss(tacit),
    "tacit.rateGood": () => rateGood(tacit),
    "tacit.rateBad": () => rateBad(tacit),
    "tacit.togglePause": () => tacit.togglePause(),
    "tacit.showStatus": () => status.show(tacit.paused),
    "tacit.showLog": () => log.show(),
    "tacit.restart": () => tacit.restart(),
    "tacit.fixHere": () => fixHere(tacit),
    "tacit.explainHere": () => explainHere(conversation),
    "tacit.ask": () => conversation.askMore(),
    "tacit.applyCode": (id?: string, index?: number) => answers.apply(id, index),
    "tacit.rateAnswerGood": (id?: string) => answers.good(id),
    "tacit.rateAnswerBad": (id?: string) => answers.bad(id),
  };
  context.subscriptions.push(
    log,
    status,
    conversation,
    answers,
    ...Object.entries(commands).map(([name, run]) => vscode.commands.registerCommand(name, run)),
    vscode.workspace.onDidChangeConfiguration((event) => tacit.configurationChanged(event)),
  );
  await tacit.start();
}

export async function deactivate(): Promise<void> {
  await client?.stop();
}

/** Esc: away with it, and the language server is told that it was seen and not wanted. */
async function dismiss(tacit: TacitClient): Promise<void> {
  await vscode.commands.executeCommand("editor.action.inlineSuggest.hide");
  await tacit.rejectLast();
}
