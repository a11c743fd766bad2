/** Rating the last suggestion: one key for good, one choice of a reason for bad. The language server keeps it, or says why not. */

import * as vscode from "vscode";

import type { TacitClient } from "./client";

interface Reason extends vscode.QuickPickItem {
  flag: "hallucination" | "wrong" | "insecure" | "unclear" | undefined;
}

const REASONS: readonly Reason[] = [
  { label: "Wrong", description: "it does not do what it should", flag: "wrong" },
  { label: "Hallucination", description: "it uses what does not exist", flag: "hallucination" },
  { label: "Insecure", description: "it would open a hole", flag: "insecure" },
  { label: "Unclear", description: "hard to read or to understand", flag: "unclear" },
  { label: "Another reason", flag: undefined },
];

export async function rateGood(tacit: TacitClient): Promise<void> {
  await rate(tacit, { value: 1 });
}

export async function rateBad(tacit: TacitClient): Promise<void> {
  const reason = await vscode.window.showQuickPick(REASONS, { title: "What was wrong with the last suggestion?" });
  if (reason !== undefined) {
    await rate(tacit, reason.flag === undefined ? { value: -1 } : { value: -1, flag: reason.flag });
  }
}

async function rate(tacit: TacitClient, params: object): Promise<void> {
  const said = await tacit.request("tacit/rate", params);
  if (typeof said?.answer === "string") {
    vscode.window.setStatusBarMessage(`Tacit: ${said.answer}`, 5000);
  }
}
